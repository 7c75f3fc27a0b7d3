"""What a power cut and an orderly stop leave behind."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.simulator.events import EventKind
from tests.e2e.cameras import Cameras, cameras, ipc
from tests.e2e.playing import flv, until
from tests.e2e.running import Channel, RunningGateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEVICES = 20
STREAMS = 10
BACK_WITHIN_S = 30.0


async def devices(gateway: RunningGateway) -> dict[str, str]:
    listed = await gateway.call("GET", "devices")
    entries = listed["entries"] if isinstance(listed, dict) else listed
    return {entry["device_id"]: entry["state"] for entry in entries}


async def settled(gateway: RunningGateway, wanted: set[str], running: Cameras) -> list[Channel]:
    """All that are wanted flow, the others are online, and no device sends more than it should."""
    while True:
        channels = await gateway.channels()
        flowing = {one.device_id for one in channels if one.status == "INVITE_SUCCESS"}
        online = {one.device_id for one in channels if one.status == "ONLINE"}
        if flowing == wanted and len(online) == len(channels) - len(wanted) and running.figures.streaming == STREAMS:
            return channels
        await asyncio.sleep(0.1)


async def test_killed_under_load_and_started_again(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    gateway = await RunningGateway(tmp_path).start()
    try:
        ids = await gateway.provision("IPC", DEVICES)
        wanted = set(ids[:STREAMS])
        async with cameras(gateway, [ipc(code) for code in ids], keepalive_s=5.0) as running:
            for code in ids:
                await gateway.wait_for(code, "ONLINE", seconds=40)
            channels = {one.device_id: one for one in await gateway.channels()}
            answers = await asyncio.gather(*(gateway.set_state(channels[code], "ACTIVE") for code in sorted(wanted)))
            assert all(answer.is_success for answer in answers)
            async with asyncio.timeout(BACK_WITHIN_S):
                await settled(gateway, wanted, running)
            old_calls = {stream.call_id for stream in running.figures.streams}

            gateway.kill()
            await gateway.start()
            ready = time.perf_counter()
            assert await devices(gateway) == dict.fromkeys(ids, "ONLINE"), "nobody has to register again"
            async with asyncio.timeout(BACK_WITHIN_S):
                again = await settled(gateway, wanted, running)
            record_property("calls_back_after_s", round(time.perf_counter() - ready, 1))

            assert running.count(EventKind.REGISTERED) == DEVICES
            assert {one.device_id: one.stream_name for one in again} == {
                code: channel.stream_name for code, channel in channels.items()
            }
            streams = [stream for stream in running.figures.streams if stream.running]
            assert {stream.device_id for stream in streams} == wanted
            assert not {stream.call_id for stream in streams} & old_calls, "each old call was ended, and made anew"
            play = next(one.play for one in again if one.device_id in wanted)
            assert play is not None
            assert (await flv(play["http_flv"], 2)).startswith(b"FLV")

            invited = running.figures.invitations
            await gateway.stop()
            assert gateway.process is not None
            assert gateway.process.returncode == 0
            await until(lambda: running.figures.streaming == 0)  # each has got its BYE
            assert running.figures.invitations == invited
    finally:
        await gateway.close()
