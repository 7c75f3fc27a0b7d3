"""Two endpoints, and the loops that the shells run on: the standard library's and the gateway's."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from tests.sip.endpoints import Pair, listening


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Which loops an asynchronous test runs on."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=["UDP", "TCP"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    async with listening(request.param, user_agent="platform/1") as platform, listening(request.param) as device:
        yield platform, device
