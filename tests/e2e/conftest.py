"""Two gateways that most tests share: each test brings devices of its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.running import RunningGateway


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    running = RunningGateway(tmp_path_factory.mktemp("gateway"))
    try:
        yield await running.start()
    finally:
        await running.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def impatient(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    """A gateway that waits seconds where the standard waits longer, and connects to devices that prefer TCP."""
    settings = {
        "GATEWAY_SIP__TIMERS__INVITE": "4",
        "GATEWAY_SIP__TIMERS__MEDIA": "4",
        "GATEWAY_SIP__TIMERS__KEEPALIVE_INTERVAL": "5",
        "GATEWAY_SIP__TIMERS__KEEPALIVE_COUNT": "2",
        "GATEWAY_SIP__TIMERS__KEEPALIVE_GRACE": "1",
        "GATEWAY_RTP__SILENCE": "2",
        "GATEWAY_RTP__TCP_ORDER": '["TCP_ACTIVE"]',
    }
    running = RunningGateway(tmp_path_factory.mktemp("impatient"), settings)
    try:
        yield await running.start()
    finally:
        await running.close()
