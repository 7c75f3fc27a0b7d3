"""Without a camera in the house: the devices of the demonstration."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.running import RunningGateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHANNELS = 5
WITHIN_S = 30.0


async def all_flow(gateway: RunningGateway) -> float:
    """Seconds until every channel shows pictures."""
    started = time.perf_counter()
    flowing = []
    try:
        async with asyncio.timeout(WITHIN_S):
            while len(flowing) < CHANNELS:
                flowing = [
                    one
                    for one in await gateway.channels()
                    if one.status == "INVITE_SUCCESS" and one.stream is not None and one.stream["video_codec"]
                ]
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{await gateway.channels()}\n{gateway.log[-4000:]}") from None
    return round(time.perf_counter() - started, 1)


async def test_the_demonstration_runs_and_runs_again(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    gateway = RunningGateway(tmp_path, {"GATEWAY_DEMO": "1"})
    try:
        await gateway.start()
        record_property("flowing_after_s", await all_flow(gateway))
        await gateway.stop()
        await gateway.start()
        record_property("flowing_again_after_s", await all_flow(gateway))
        assert len(await gateway.channels()) == CHANNELS
    finally:
        await gateway.close()
