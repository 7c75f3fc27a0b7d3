"""§4.3.4: access strategies of channels, and where they show."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.devices.model import ChannelId, DeviceId
from gateway.scope import Scope
from gateway.store import SliceFilter
from tests.api.conftest import Client, Opener
from tests.api.world import World

NVR = "34020000001180000001"
CHANNEL = "34020000001310000001"
OTHER = "34020000001310000002"
FIRST = {"start_time": "10:00", "end_time": "18:00", "total_length": 120}


@pytest.fixture
async def channel(client: Client, world: World, credential: str) -> str:
    """The path of one of two channels of a registered NVR."""
    await client.ok("POST", "devices", {"type": "NVR", "username": credential})
    await world.register(NVR, client.project_id, channels=2)
    return f"devices/{NVR}/channels/{CHANNEL}"


async def shown(client: Client, channel_id: str = CHANNEL) -> Any:
    """What the device's list of channels tells of the strategy."""
    channels = (await client.ok("GET", f"devices/{NVR}"))["channels"]
    (found,) = [channel for channel in channels if channel["channel_id"] == channel_id]
    return found.get("access_strategy")


async def today(world: World, client: Client) -> list[tuple[int, int, str]]:
    """The slices of the day: 2026-03-01, which world.now is in."""
    wanted = SliceFilter(day=datetime(2026, 3, 1, tzinfo=UTC).date(), device_id=DeviceId(NVR))
    listing = await world.store.slices.list(Scope(client.project_id), wanted, offset=0, limit=100)
    return [(found.span.start, found.span.end, found.state.value) for found in listing.entries]


async def test_a_strategy_is_set_with_its_defaults_and_shown_in_both_lists(client: Client, channel: str) -> None:
    assert await shown(client) is None
    assert await client.ok("PUT", f"{channel}/access-strategy", FIRST) == {"result": "success"}
    expected = {**FIRST, "random_strategy": "RANDOM", "periodicity": "DAY", "state": "STOPPED"}
    assert await shown(client) == expected
    (device,) = await client.ok("GET", "devices")
    assert [found.get("access_strategy") for found in device["channels"]] == [expected, None]


async def test_words_are_read_in_any_case_and_numbers_in_quotes(client: Client, channel: str) -> None:
    body = {**FIRST, "random_strategy": "Consecutive", "periodicity": "once", "state": "active", "total_length": "120"}
    await client.ok("PUT", f"{channel}/access-strategy", body)
    found = await shown(client)
    assert (found["random_strategy"], found["periodicity"], found["state"]) == ("CONSECUTIVE", "ONCE", "ACTIVE")
    assert found["total_length"] == 120


async def test_the_first_time_times_are_needed_later_they_may_be_left_out(client: Client, channel: str) -> None:
    path = f"{channel}/access-strategy"
    for missing in ("start_time", "end_time", "total_length"):
        body = {name: value for name, value in FIRST.items() if name != missing}
        assert missing in await client.refused("VIS.0005", "PUT", path, body)
        assert missing in await client.refused("VIS.0005", "PUT", path, {**body, missing: None})
    assert await shown(client) is None
    consecutive = {"random_strategy": "CONSECUTIVE", "start_time": "22:00", "total_length": 120}
    await client.ok("PUT", path, consecutive)
    assert (await shown(client))["end_time"] == ""
    assert "end_time" in await client.refused("VIS.0005", "PUT", path, {"random_strategy": "RANDOM"})
    await client.ok("PUT", path, {"random_strategy": "RANDOM", "start_time": "20:00", "end_time": "22:00"})
    await client.ok("PUT", path, {"total_length": 30})
    await client.ok("PUT", path, {"end_time": "23:50"})
    await client.ok("PUT", path, {})
    assert await shown(client) == {
        "random_strategy": "RANDOM",
        "start_time": "20:00",
        "end_time": "23:50",
        "total_length": 30,
        "periodicity": "DAY",
        "state": "STOPPED",
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"start_time": "00:00"}, "start_time"),
        ({"start_time": "23:50", "end_time": "23:50"}, "start_time"),
        ({"start_time": "10:05"}, "start_time"),
        ({"start_time": "9:00"}, "start_time"),
        ({"start_time": "24:00"}, "start_time"),
        ({"start_time": "10:60"}, "start_time"),
        ({"start_time": "１0:00"}, "start_time"),
        ({"start_time": "10:00:00"}, "start_time"),
        ({"start_time": 1000}, "start_time"),
        ({"end_time": "24:00"}, "end_time"),
        ({"end_time": "10:00"}, "end_time"),
        ({"end_time": "09:50"}, "end_time"),
        ({"end_time": "18:01"}, "end_time"),
        ({"total_length": 0}, "total_length"),
        ({"total_length": -10}, "total_length"),
        ({"total_length": 15}, "total_length"),
        ({"total_length": 10.5}, "total_length"),
        ({"total_length": "ten"}, "total_length"),
        ({"total_length": "٣٠"}, "total_length"),
        ({"total_length": 10**30}, "total_length"),
        ({"total_length": 490}, "total_length"),
        ({"end_time": "11:50"}, "total_length"),
        ({"random_strategy": "CONSECUTIVE", "start_time": "22:10"}, "total_length"),
        ({"random_strategy": "SOMETIMES"}, "random_strategy"),
        ({"periodicity": "WEEK"}, "periodicity"),
        ({"state": "STARTED"}, "state"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_kept(
    client: Client, channel: str, change: dict[str, Any], named: str
) -> None:
    assert named in await client.refused("VIS.0005", "PUT", f"{channel}/access-strategy", {**FIRST, **change})
    assert await shown(client) is None


async def test_unknown_devices_and_channels(client: Client, channel: str) -> None:
    await client.refused("VIS.0304", "PUT", f"devices/{NVR}/channels/nobody/access-strategy", FIRST)
    await client.refused("VIS.0302", "PUT", f"devices/nobody/channels/{CHANNEL}/access-strategy", FIRST)


async def test_a_strategy_may_not_want_more_than_the_quota_even_if_stopped(opened: Opener) -> None:
    world, client = await opened(quotas={"random_access_time": 100, "consecutive_access_time": 50})
    path = await _nvr(client, world, 1)
    await client.refused("VIS.0014", "PUT", path.format(CHANNEL), {**FIRST, "total_length": 110})
    await client.ok("PUT", path.format(CHANNEL), {**FIRST, "total_length": 100})
    await client.refused("VIS.0014", "PUT", path.format(CHANNEL), {"random_strategy": "CONSECUTIVE"})


async def _nvr(client: Client, world: World, channels: int) -> str:
    """The path of a strategy, with a hole for the channel."""
    await client.ok("POST", "credentials/codes", {"username": "0100", "password": "Secret-1234"})
    await client.ok("POST", "devices", {"type": "NVR", "username": "0100"})
    await world.register(NVR, client.project_id, channels=channels)
    return f"devices/{NVR}/channels/{{}}/access-strategy"


async def test_active_strategies_share_the_quota_of_minutes(opened: Opener) -> None:
    world, client = await opened(quotas={"random_access_time": 150})
    path = await _nvr(client, world, 2)

    async def used() -> tuple[int, int]:
        quota = (await client.ok("GET", "subscription"))["quota"]
        assert quota["random_access_time"]["total"] == 150
        return quota["random_access_time"]["used"], quota["consecutive_access_time"]["used"]

    await client.ok("PUT", path.format(CHANNEL), {**FIRST, "total_length": 100, "state": "ACTIVE"})
    await client.ok("PUT", path.format(OTHER), {**FIRST, "total_length": 60})
    assert await used() == (100, 0)
    await client.refused("VIS.0014", "PUT", path.format(OTHER), {"state": "ACTIVE"})
    assert (await shown(client, OTHER))["state"] == "STOPPED"
    await client.ok("PUT", path.format(OTHER), {"state": "ACTIVE", "total_length": 50})
    assert await used() == (150, 0)
    await client.refused("VIS.0014", "PUT", path.format(CHANNEL), {"total_length": 110})
    await client.ok("PUT", path.format(CHANNEL), {"random_strategy": "CONSECUTIVE"})
    assert await used() == (50, 100)
    await client.ok("PUT", path.format(OTHER), {"state": "STOPPED"})
    assert await used() == (0, 100)


async def test_concurrent_activations_never_exceed_the_quota(opened: Opener) -> None:
    world, client = await opened(quotas={"random_access_time": 100})
    path = await _nvr(client, world, 20)
    ids = [f"{CHANNEL[:-2]}{number:02d}" for number in range(1, 21)]
    body = {**FIRST, "total_length": 10, "state": "ACTIVE"}
    answers = await asyncio.gather(*(client("PUT", path.format(code), body) for code in ids))
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [400] * 10
    quota = (await client.ok("GET", "subscription"))["quota"]["random_access_time"]
    assert quota == {"total": 100, "used": 100}
    assert {answer.json()["error_code"] for answer in answers if answer.status_code != 200} == {"VIS.0014"}


async def test_an_active_strategy_refuses_invitations_and_cancellations_by_hand(
    client: Client, world: World, channel: str
) -> None:
    await client.ok("PUT", f"{channel}/access-strategy", {**FIRST, "state": "ACTIVE"})
    await client.refused("VIS.0310", "PUT", channel, {"state": "ACTIVE"})
    await client.refused("VIS.0310", "PUT", channel, {"state": "STOPPED"})
    await client.refused("VIS.0310", "PUT", channel, {"state": "STOPPED", "suffix": "x"})
    await client.ok("PUT", channel, {"suffix": "y"})
    await client.ok("PUT", f"{channel}/access-strategy", {"state": "STOPPED"})
    await client.ok("PUT", channel, {"state": "ACTIVE"})


async def test_today_is_planned_when_a_strategy_becomes_active_and_when_it_changes(
    client: Client, world: World, channel: str
) -> None:
    """It is 16:00 in UTC+8: what would have begun is skipped."""
    path = f"{channel}/access-strategy"
    await client.ok("PUT", path, FIRST)
    assert await today(world, client) == []
    await client.ok("PUT", path, {"state": "ACTIVE"})
    first = await today(world, client)
    assert sum(end - start for start, end, _ in first) == 120
    assert all(state == ("SKIPPED" if start <= 16 * 60 else "PLANNED") for start, _, state in first)
    await client.ok("PUT", path, {"state": "ACTIVE", "total_length": 120})
    assert await today(world, client) == first
    await client.ok("PUT", path, {"start_time": "17:00", "end_time": "23:00"})
    second = [found for found in await today(world, client) if found not in first]
    assert {state for _, _, state in second} == {"PLANNED"}
    assert sum(end - start for start, end, _ in second) == 120
    assert [found for found in await today(world, client) if found[2] == "PLANNED"] == second
    await client.ok("PUT", path, {"state": "STOPPED"})
    assert "PLANNED" not in {state for _, _, state in await today(world, client)}


async def test_a_once_whose_times_are_past_runs_tomorrow(client: Client, world: World, channel: str) -> None:
    await client.ok(
        "PUT",
        f"{channel}/access-strategy",
        {"start_time": "10:00", "end_time": "12:00", "total_length": 60, "periodicity": "ONCE", "state": "ACTIVE"},
    )
    assert await today(world, client) == []
    day = world.now.date()
    assert await world.store.strategies.plan(day, limit=10) == 0
    assert await world.store.strategies.plan(day + timedelta(days=1), limit=10) == 1
    found = await world.store.channels.get(DeviceId(NVR), ChannelId(CHANNEL))
    assert found is not None
    assert found.strategy is not None
    assert (found.strategy.planned_day, found.strategy.plan_from) == (day + timedelta(days=1), None)


async def test_a_deleted_device_takes_its_strategies_along(client: Client, world: World, channel: str) -> None:
    await client.ok("PUT", f"{channel}/access-strategy", {**FIRST, "state": "ACTIVE"})
    await world.lose(NVR, client.project_id)
    await client.ok("DELETE", f"devices/{NVR}")
    assert await today(world, client) == []
    assert (await client.ok("GET", "subscription"))["quota"]["random_access_time"]["used"] == 0
