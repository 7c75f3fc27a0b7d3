"""`/gb/v1`: the plan of a day and what became of its slices."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.access.slices import SliceState
from gateway.devices.model import DeviceId
from gateway.scope import Scope
from gateway.store import SliceFilter
from tests.api.conftest import Client
from tests.api.world import World

NVR = "34020000001180000001"
CHANNEL = "34020000001310000001"
OTHER = "34020000001310000002"
EVENING = {"start_time": "20:00", "end_time": "22:00", "total_length": 60, "state": "ACTIVE"}
PLAN = f"/gb/v1/channels/{NVR}/{CHANNEL}/access-plan"
TODAY = "2026-03-01"


@pytest.fixture
async def planned(client: Client, world: World, credential: str) -> None:
    """Two channels of an NVR with active strategies; it is 16:00 in UTC+8."""
    await client.ok("POST", "devices", {"type": "NVR", "username": credential})
    await world.register(NVR, client.project_id, channels=2)
    for channel in (CHANNEL, OTHER):
        await client.ok("PUT", f"devices/{NVR}/channels/{channel}/access-strategy", EVENING)


@pytest.mark.usefixtures("planned")
async def test_the_plan_of_a_channel_and_what_became_of_it(client: Client, world: World) -> None:
    plan = await client.ok("GET", PLAN)
    assert (plan["day"], plan["planned_minutes"], plan["received_minutes"]) == (TODAY, 60, 0.0)
    assert plan["access_strategy"]["state"] == "ACTIVE"
    assert sum(found["length_minutes"] for found in plan["slices"]) == 60
    wanted = SliceFilter(day=world.now.date(), device_id=DeviceId(NVR))
    first = (await world.store.slices.list(Scope(client.project_id), wanted, offset=0, limit=1)).entries[0]
    done = replace(first, state=SliceState.DONE, attempts=2, received=601.0, video_from=world.now)
    await world.store.slices.save([done])
    path = PLAN.replace(CHANNEL, first.channel_id)
    shown = (await client.ok("GET", path, day=TODAY))["slices"][0]
    assert (shown["state"], shown["attempts"], shown["received_minutes"]) == ("DONE", 2, 10.0)
    assert (shown["video_from"], shown["video_until"]) == ("2026-03-01T08:00:00Z", None)
    assert (shown["device_id"], shown["channel_id"], shown["day"]) == (NVR, first.channel_id, TODAY)
    tomorrow = await client.ok("GET", PLAN, day=str(world.now.date() + timedelta(days=1)))
    assert (tomorrow["slices"], tomorrow["planned_minutes"]) == ([], 0)


@pytest.mark.usefixtures("planned")
async def test_slices_of_the_project_are_narrowed_and_paged(client: Client) -> None:
    everything = await client.ok("GET", "/gb/v1/access-slices")
    total = everything["total"]
    starts = [found["start_time"] for found in everything["slices"]]
    assert len(starts) == total >= 4
    assert starts == sorted(starts)
    one = await client.ok("GET", "/gb/v1/access-slices", device_id=NVR, channel_id=OTHER, state="planned")
    assert 2 <= one["total"] < total
    assert {found["channel_id"] for found in one["slices"]} == {OTHER}
    page = await client.ok("GET", "/gb/v1/access-slices", offset=1, limit=2, day=TODAY)
    assert page == {"total": total, "slices": everything["slices"][1:3]}
    for query in ({"state": "DONE"}, {"day": "2026-02-28"}, {"device_id": "nobody"}):
        assert await client.ok("GET", "/gb/v1/access-slices", **query) == {"total": 0, "slices": []}


@pytest.mark.usefixtures("planned")
async def test_wrong_questions(client: Client) -> None:
    for query in ({"day": "today"}, {"day": "2026-02-30"}, {"state": "OVER"}, {"limit": 0}, {"offset": -1}):
        assert (await client("GET", "/gb/v1/access-slices", **query)).status_code == 400
    assert (await client("GET", PLAN, day="1.3.2026")).status_code == 400
    assert (await client("GET", PLAN.replace(CHANNEL, "nobody"))).status_code == 404
    assert (await client("GET", PLAN.replace(NVR, "nobody"))).status_code == 404


async def test_a_channel_without_a_strategy_has_an_empty_plan(client: Client, world: World, credential: str) -> None:
    await client.ok("POST", "devices", {"type": "NVR", "username": credential})
    await world.register(NVR, client.project_id)
    plan = await client.ok("GET", PLAN)
    assert (plan["access_strategy"], plan["slices"]) == (None, [])
