"""An access strategy in a gateway that runs as users run it: a real camera, the real clock, and a power cut."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.access.model import RandomStrategy, StrategyState
from gateway.access.rules import StrategyChange, settle
from gateway.access.slices import day_of, moment_of
from gateway.clock import BEIJING, utc_now
from gateway.devices.model import ChannelId, DeviceId
from gateway.store import SecretBox, Store
from tests.e2e.cameras import cameras, ipc
from tests.e2e.playing import flv, until
from tests.e2e.running import Channel, RunningGateway

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def set_yesterday(folder: Path, channel: Channel) -> None:
    """A strategy made yesterday: every day from 00:10 until 24:00, so that today's slice contains now."""
    change = StrategyChange(kind=RandomStrategy.CONSECUTIVE, start=10, total=1430, state=StrategyState.ACTIVE)
    at = moment_of(day_of(utc_now()) - timedelta(days=1), 5)
    secrets = SecretBox.load(folder / "secret.key")
    async with Store.open(f"sqlite:///{folder / 'gateway.db'}", secrets=secrets) as store:
        await store.strategies.settle(
            DeviceId(channel.device_id),
            ChannelId(channel.channel_id),
            lambda before: settle(before, change, at, "seed"),
            at=at,
            quotas={"consecutive_access_time": 1440},
        )


async def plan_of(gateway: RunningGateway, channel: Channel, **query: str) -> dict[str, Any]:
    path = f"{gateway.url}/gb/v1/channels/{channel.device_id}/{channel.channel_id}/access-plan"
    answer = await gateway.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def slice_is(gateway: RunningGateway, channel: Channel, state: str, received: float = 0.0) -> dict[str, Any]:
    """Today's only slice, once it is so."""
    async with asyncio.timeout(30.0):
        while True:
            (found,) = (await plan_of(gateway, channel))["slices"]
            if found["state"] == state and found["received_minutes"] >= received:
                assert isinstance(found, dict)
                return found
            await asyncio.sleep(0.2)


@pytest.mark.timeout(240)
async def test_a_slice_runs_through_a_power_cut_until_its_strategy_is_stopped(tmp_path: Path) -> None:
    now = utc_now().astimezone(BEIJING)
    if not 10 <= now.hour * 60 + now.minute < 23 * 60 + 55:
        pytest.skip("slices begin at 00:10 and end at 24:00, UTC+8")
    gateway = await RunningGateway(tmp_path).start()
    try:
        (code,) = await gateway.provision("IPC", 1)
        async with cameras(gateway, [ipc(code)], keepalive_s=2.0) as running:
            channel = await gateway.wait_for(code, "ONLINE", seconds=40)
            await gateway.stop()
            await set_yesterday(tmp_path, channel)
            await gateway.start()
            flowing = await gateway.wait_for(code, "INVITE_SUCCESS", seconds=60)
            refused = await gateway.set_state(channel, "STOPPED")
            assert (refused.status_code, refused.json()["error_code"]) == (400, "VIS.0310")
            assert flowing.play is not None
            assert (await flv(flowing.play["http_flv"], 2)).startswith(b"FLV")
            before = await slice_is(gateway, channel, "RUNNING", received=0.1)
            assert (before["start_time"], before["end_time"], before["attempts"]) == ("00:10", "24:00", 1)

            await asyncio.sleep(1.5)  # how it stands is written behind
            gateway.kill()
            await gateway.start()
            await gateway.wait_for(code, "INVITE_SUCCESS", seconds=60)
            await until(lambda: running.figures.streaming == 1)
            after = await slice_is(gateway, channel, "RUNNING", received=before["received_minutes"])
            assert (after["attempts"], after["video_from"]) == (1, before["video_from"])
            assert len([stream for stream in running.figures.streams if stream.running]) == 1

            yesterday = await plan_of(gateway, channel, day=str(now.date() - timedelta(days=1)))
            assert [(found["state"], found["reason"]) for found in yesterday["slices"]] == [
                ("FAILED", "the gateway was not running")
            ]
            strategy = f"devices/{code}/channels/{channel.channel_id}/access-strategy"
            await gateway.call("PUT", strategy, {"state": "STOPPED", "total_length": 60})
            await gateway.wait_for(code, "ONLINE")
            await until(lambda: running.figures.streaming == 0)
            assert (await slice_is(gateway, channel, "DONE"))["reason"] == "the strategy was changed"
    finally:
        await gateway.close()
