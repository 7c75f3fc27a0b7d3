"""Record plans in the database: what is kept of them, who has them, and what goes with whom."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.devices.model import ChannelId, DeviceId
from gateway.errors import ConflictError, NotFoundError, QuotaError
from gateway.paging import Listing, Page
from gateway.record_plans.model import RecordPlan, Week, WeekRange
from gateway.retention.errors import NotRetainedError
from gateway.retention.model import StoreType
from gateway.retention.rules import Wish
from gateway.scope import Scope
from gateway.store import Store, StreamFilter
from tests.gateway.store.samples import NOW, PROJECT
from tests.gateway.store.test_strategies import NVR
from tests.gateway.store.test_strategies import channels as channels  # noqa: PLC0414  (a fixture)

SCOPE = Scope(PROJECT)
PLAN = RecordPlan(
    plan_id="plan-0000000000000001",
    project_id=PROJECT,
    name="nights",
    zone="GMT+08:00",
    ranges=(WeekRange(0, 0, 360), WeekRange(6, 1320, 1440)),
    created_at=NOW,
    updated_at=NOW,
)
KEPT = Wish(zone_hours=8, hours=24, store_type=StoreType.LOCAL)


@pytest.fixture
async def names(store: Store, channels: Sequence[ChannelId]) -> list[str]:
    """Streams of channels; all but the last have a retention, which is not active."""
    found = await store.streams.list(SCOPE, StreamFilter(), None)
    names = [stream.name for stream in found.entries][:4]
    assert len(names) == 4
    for name in names[:-1]:
        await store.retention.set(PROJECT, name, KEPT, NOW)
    return names


async def having(store: Store, plan_id: str = PLAN.plan_id) -> list[str]:
    return [one.stream_name for one in (await store.record_plans.streams(SCOPE, [plan_id])).entries]


async def test_what_is_kept_is_read_back_and_changed(store: Store) -> None:
    await store.record_plans.add(PLAN, most=2)
    assert await store.record_plans.get(PROJECT, PLAN.plan_id) == PLAN
    assert await store.record_plans.list(PROJECT) == Listing(1, [PLAN])
    assert await store.record_plans.every() == {PLAN.plan_id: PLAN}
    with pytest.raises(NotFoundError):
        await store.record_plans.get("b" * 32, PLAN.plan_id)
    await store.record_plans.change(PROJECT, PLAN.plan_id, lambda plan: replace(plan, zone="Europe/Berlin"), at=NOW)
    assert (await store.record_plans.get(PROJECT, PLAN.plan_id)).zone == "Europe/Berlin"
    await store.record_plans.delete(PROJECT, PLAN.plan_id)
    assert await store.record_plans.list(PROJECT) == Listing(0, [])


async def test_names_are_the_projects_own_and_their_number_is_bounded(store: Store) -> None:
    await store.record_plans.add(PLAN, most=2)
    with pytest.raises(ConflictError, match="nights"):
        await store.record_plans.add(replace(PLAN, plan_id="plan-2"), most=2)
    other = replace(PLAN, plan_id="plan-3", name="days")
    await store.record_plans.add(other, most=2)
    with pytest.raises(QuotaError):
        await store.record_plans.add(replace(PLAN, plan_id="plan-4", name="more"), most=2)
    with pytest.raises(ConflictError, match="nights"):
        await store.record_plans.change(PROJECT, "plan-3", lambda plan: replace(plan, name="nights"), at=NOW)
    assert (await store.record_plans.get(PROJECT, "plan-3")).name == "days"


async def test_plans_are_given_to_streams_and_taken_from_them(store: Store, names: list[str]) -> None:
    other = replace(PLAN, plan_id="plan-2", name="days")
    await store.record_plans.add(PLAN, most=9)
    await store.record_plans.add(other, most=9)
    await store.record_plans.assign(SCOPE, PLAN.plan_id, add=[*names[:2], names[0]], remove=[])
    assert await having(store) == sorted(names[:2])
    assert (await store.record_plans.get(PROJECT, PLAN.plan_id)).streams == 2
    await store.record_plans.assign(SCOPE, "plan-2", add=names[1:3], remove=[names[0], "nobody"])
    assert (await having(store), await having(store, "plan-2")) == ([names[0]], sorted(names[1:3]))
    (one,) = [found async for found in store.record_plans.assigned() if found.plan_id == PLAN.plan_id]
    assert (one.device_id, one.retained.name, one.retained.active) == (NVR, names[0], False)
    with pytest.raises(ConflictError, match="in use"):
        await store.record_plans.delete(PROJECT, PLAN.plan_id)


async def test_of_a_refused_change_nothing_remains(store: Store, names: list[str]) -> None:
    await store.record_plans.add(PLAN, most=9)
    await store.record_plans.assign(SCOPE, PLAN.plan_id, add=names[:1], remove=[])
    for bad, error in ((names[3], NotRetainedError), ("nobody", NotFoundError)):
        with pytest.raises(error, match=bad):
            await store.record_plans.assign(SCOPE, PLAN.plan_id, add=[names[1], bad], remove=[names[0]])
        assert await having(store) == names[:1]
    with pytest.raises(NotFoundError, match="record plan"):
        await store.record_plans.assign(SCOPE, "plan-9", add=names[:1], remove=[])
    nobody = Scope(PROJECT, frozenset())
    with pytest.raises(NotFoundError, match="stream"):
        await store.record_plans.assign(nobody, PLAN.plan_id, add=names[:1], remove=[])
    assert await store.record_plans.streams(nobody, [PLAN.plan_id]) == Listing(0, [])


async def test_streams_of_plans_come_by_pages_and_name(store: Store, names: list[str]) -> None:
    other = replace(PLAN, plan_id="plan-0000000000000002", name="days")
    for plan in (PLAN, other):
        await store.record_plans.add(plan, most=9)
    await store.record_plans.assign(SCOPE, PLAN.plan_id, add=names[:2], remove=[])
    await store.record_plans.assign(SCOPE, other.plan_id, add=names[2:3], remove=[])
    both, page = {PLAN.plan_id, other.plan_id}, Page(offset=1, limit=1)
    found = await store.record_plans.streams(SCOPE, both)
    assert [(one.stream_name, one.plan_name) for one in found.entries] == sorted(
        [(names[0], "nights"), (names[1], "nights"), (names[2], "days")]
    )
    assert await store.record_plans.streams(SCOPE, both, page) == Listing(3, found.entries[1:2])
    assert (await store.record_plans.streams(SCOPE, {other.plan_id}, page)) == Listing(1, [])
    assert await store.record_plans.streams(SCOPE, set()) == Listing(0, [])
    assert await store.record_plans.list(PROJECT, page) == Listing(2, [replace(PLAN, streams=2)])
    assert await store.record_plans.weeks(PROJECT) == dict.fromkeys(both, Week(PLAN.zone, PLAN.ranges))


async def test_a_plan_that_is_deleted_while_it_is_given_is_one_or_the_other(store: Store, names: list[str]) -> None:
    await store.record_plans.add(PLAN, most=9)
    done = await asyncio.gather(
        store.record_plans.assign(SCOPE, PLAN.plan_id, add=names[:2], remove=[]),
        store.record_plans.delete(PROJECT, PLAN.plan_id),
        return_exceptions=True,
    )
    given, deleted = (found is None for found in done)
    assert given is not deleted
    left = len(await having(store)), (await store.record_plans.list(PROJECT)).total
    assert left == ((2, 1) if given else (0, 0))


async def test_calls_are_remembered_until_the_channel_goes(store: Store, channels: Sequence[ChannelId]) -> None:
    first, second = (NVR, channels[0]), (NVR, channels[1])
    for key in (first, second, first, (NVR, ChannelId("nobody")), (DeviceId("nobody"), channels[0])):
        await store.record_plans.set_called(key, True)
    assert await store.record_plans.called() == {first, second}
    await store.record_plans.set_called(second, False)
    assert await store.record_plans.called() == {first}
    assert await store.channels.delete(NVR, channels[0], NOW)
    assert await store.record_plans.called() == set()
