"""Devices go through the lists of operation statistics, and the gateway is killed in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.simulator.clip import ClipSpec
from gateway.simulator.misbehaviour import Misbehaviour
from tests.e2e.cameras import cameras, ipc
from tests.e2e.running import RunningGateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLIP = ClipSpec(width=640, height=360, fps=25, gop=25, bitrate_bps=2_000_000)
ENOUGH = 600
"""Packets of which 1 % are lost: surely some, and the seed is fixed."""


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    settings = {
        "GATEWAY_STATISTICS__INTERVAL": "0.5",
        "GATEWAY_SIP__TIMERS__KEEPALIVE_INTERVAL": "5",
        "GATEWAY_SIP__TIMERS__KEEPALIVE_COUNT": "1",
        "GATEWAY_SIP__TIMERS__KEEPALIVE_GRACE": "1",
    }
    running = RunningGateway(tmp_path, settings)
    try:
        yield await running.start()
    finally:
        await running.close()


async def listed(gateway: RunningGateway, name: str) -> set[str]:
    return {device["device_id"] for device in await gateway.call("GET", f"operation/{name}")}


async def rates(gateway: RunningGateway) -> dict[str, tuple[int, int]]:
    """Received and expected packets of each device's only channel."""
    found: list[dict[str, Any]] = await gateway.call("GET", "operation/todayPacketReceivedRateDeviceList")
    assert all(entry["channel_id"] == entry["device_id"] for entry in found)
    return {
        entry["device_id"]: (
            int(entry["packet_received_rate"].split("/")[0]),
            int(entry["packet_received_rate"].split("/")[1]),
        )
        for entry in found
    }


async def counted(gateway: RunningGateway, ids: list[str], least: int) -> dict[str, tuple[int, int]]:
    """Waits until so many packets of each device are counted."""
    found: dict[str, tuple[int, int]] = {}
    for _ in range(600):
        found = await rates(gateway)
        if all(found.get(code, (0, 0))[1] >= least for code in ids):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(found)


async def test_devices_in_the_lists(gateway: RunningGateway) -> None:
    clean, lossy, never = ids = await gateway.provision("IPC", 3)
    assert await listed(gateway, "pastOnlineDeviceList") == set()
    manners = {"clip": CLIP, "keepalive_s": 2.0}
    async with AsyncExitStack() as stack:
        silent = Misbehaviour(no_unregister=True)
        good = await stack.enter_async_context(cameras(gateway, [ipc(clean)], **manners, misbehaviour=silent))
        bad = Misbehaviour(loss=0.01, seed=7, no_unregister=True)
        poor = await stack.enter_async_context(cameras(gateway, [ipc(lossy)], **manners, misbehaviour=bad))
        channels = [await gateway.wait_for(code, "ONLINE") for code in (clean, lossy)]
        assert await listed(gateway, "todayNewOnlineDeviceList") == {clean, lossy}
        assert await listed(gateway, "notSendDataDeviceList") == {clean, lossy}
        assert await rates(gateway) == {}

        for channel in channels:
            assert (await gateway.set_state(channel, "ACTIVE")).is_success
        found = await counted(gateway, [clean, lossy], ENOUGH)
        assert found[clean][0] == found[clean][1]
        assert 0.95 < found[lossy][0] / found[lossy][1] < 1
        assert await listed(gateway, "notSendDataDeviceList") == set()

        gateway.kill()
        await gateway.start()
        after = await rates(gateway)
        assert all(after[code][1] >= found[code][1] for code in (clean, lossy)), "what was written is there"
        await counted(gateway, [clean, lossy], max(one[1] for one in after.values()) + ENOUGH)
        for code in (clean, lossy):
            channel = await gateway.wait_for(code, "INVITE_SUCCESS")
            assert (await gateway.set_state(channel, "STOPPED")).is_success
            await gateway.wait_for(code, "ONLINE")
        last = await rates(gateway)
        for fleet, code in ((good, clean), (poor, lossy)):
            made = sum(stream.link.offered for stream in fleet.figures.streams)
            assert len(fleet.figures.streams) == 2
            assert last[code][0] <= last[code][1] <= made, "nothing is counted twice"
        assert await listed(gateway, "todayDroppedDeviceList") == set()

    for code in (clean, lossy):
        await gateway.device_is(code, "OFFLINE")
    assert await listed(gateway, "todayDroppedDeviceList") == {clean, lossy}
    assert await listed(gateway, "shortTermOfflineDeviceList") == {clean, lossy}
    assert await listed(gateway, "longTermOfflineDeviceList") == set()
    await gateway.stop()
    await gateway.start()
    assert await rates(gateway) == last
    assert await listed(gateway, "todayNewOnlineDeviceList") == {clean, lossy} == set(ids) - {never}
    assert await listed(gateway, "todayDroppedDeviceList") == {clean, lossy}
