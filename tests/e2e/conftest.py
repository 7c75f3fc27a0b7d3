"""One gateway that most tests share: each brings devices of its own."""

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
