"""Strategies and slices in the database: a day is planned once, quotas hold, what became of slices is kept."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from gateway.access.model import AccessStrategy, Periodicity, Span, StrategyState
from gateway.access.rules import Settled, StrategyChange, settle, times_of
from gateway.access.slices import AccessSlice, SliceState, moment_of
from gateway.devices.model import CatalogueEntry, ChannelId, DeviceId, DeviceType
from gateway.errors import InvalidError, NotFoundError, QuotaError
from gateway.scope import Scope
from gateway.store import NewDevices, SliceFilter, Store
from tests.gateway.store.samples import NOW, PROJECT

NVR = DeviceId("34020000001180000001")
SCOPE = Scope(PROJECT)
TODAY = date(2026, 3, 1)
MORNING = moment_of(TODAY, 480)
QUOTAS = {"random_access_time": 1000, "consecutive_access_time": 100}
CHANGE = StrategyChange(start=600, end=1080, total=100, state=StrategyState.ACTIVE)


@pytest.fixture
async def channels(store: Store) -> Sequence[ChannelId]:
    """Channels of one NVR."""
    new = NewDevices(project_id=PROJECT, type=DeviceType.NVR, credential="0100", suffix="", description="", at=NOW)
    await store.devices.add(new, [NVR], quota=10)
    ids = [f"3402000000131{number:07d}" for number in range(1, 31)]
    entries = [CatalogueEntry(node_id=code, name="", video=True, reported_on=True) for code in ids]
    await store.channels.upsert_catalogue(NVR, entries, complete=True, at=NOW)
    return [ChannelId(code) for code in ids]


async def put(
    store: Store, channel: ChannelId, change: StrategyChange = CHANGE, at: datetime = MORNING
) -> tuple[Settled, Sequence[AccessSlice]]:
    return await store.strategies.settle(
        NVR, channel, lambda before: settle(before, change, at, channel), at=at, quotas=QUOTAS
    )


async def strategy(store: Store, channel: ChannelId) -> AccessStrategy:
    found = await store.channels.get(NVR, channel)
    assert found is not None
    assert found.strategy is not None
    return found.strategy


async def of_day(store: Store, day: date, state: SliceState | None = None) -> Sequence[AccessSlice]:
    return (await store.slices.list(SCOPE, SliceFilter(day=day, state=state), offset=0, limit=10_000)).entries


async def test_what_was_settled_is_read_back(store: Store, channels: Sequence[ChannelId]) -> None:
    settled, today = await put(store, channels[0])
    assert await strategy(store, channels[0]) == settled.strategy
    assert [found.span for found in today] == list(settled.today)
    assert list(await of_day(store, TODAY)) == list(today)
    assert {found.state for found in today} == {SliceState.PLANNED}
    others = await store.channels.of_devices([NVR])
    assert [channel.strategy is not None for channel in others[NVR]] == [True] + [False] * 29


async def test_an_unknown_channel_and_a_refused_change_leave_nothing(
    store: Store, channels: Sequence[ChannelId]
) -> None:
    with pytest.raises(NotFoundError):
        await put(store, ChannelId("nobody"))
    with pytest.raises(InvalidError):
        await put(store, channels[0], replace(CHANGE, end=610))
    assert await of_day(store, TODAY) == []


async def test_a_day_is_planned_once_in_batches(store: Store, channels: Sequence[ChannelId]) -> None:
    for channel in channels[:9]:
        await put(store, channel)
    await put(store, channels[9], replace(CHANGE, state=None))
    day = TODAY + timedelta(days=1)
    assert await store.strategies.plan(TODAY, limit=100) == 0
    assert [await store.strategies.plan(day, limit=4) for _ in range(4)] == [4, 4, 1, 0]
    planned = await of_day(store, day)
    for channel in channels[:9]:
        expected = times_of(await strategy(store, channel), day)
        assert [found.span for found in planned if found.channel_id == channel] == list(expected)
    assert len({found.key for found in planned}) == 9
    assert await store.strategies.plan(day, limit=100) == 0


async def test_planning_and_changing_at_once_plans_each_day_once(store: Store, channels: Sequence[ChannelId]) -> None:
    for channel in channels:
        await put(store, channel, replace(CHANGE, total=20))
    day = TODAY + timedelta(days=1)
    midnight = moment_of(day, 0)
    change = StrategyChange(total=30)
    await asyncio.gather(
        *(store.strategies.plan(day, limit=7) for _ in range(8)),
        *(put(store, channel, change, midnight) for channel in channels[::2]),
    )
    while await store.strategies.plan(day, limit=7):
        pass
    planned = await of_day(store, day)
    for number, channel in enumerate(channels):
        spans = [found.span for found in planned if found.channel_id == channel]
        assert sum(span.length for span in spans) == (20 if number % 2 else 30)
        assert spans == list(times_of(await strategy(store, channel), day))


async def test_a_change_replaces_what_did_not_begin(store: Store, channels: Sequence[ChannelId]) -> None:
    settled, before = await put(store, channels[0])
    noon = moment_of(TODAY, 840)
    begun = [replace(found, state=SliceState.DONE, received=60.0) for found in before if found.starts_at <= noon]
    await store.slices.save(begun)
    _, today = await put(store, channels[0], StrategyChange(total=200), noon)
    assert [found.state for found in today] == [
        SliceState.SKIPPED if found.starts_at <= noon else SliceState.PLANNED for found in today
    ]
    kept = [found for found in await of_day(store, TODAY) if found not in today]
    assert kept == begun
    assert all(found.reason for found in today if found.state is SliceState.SKIPPED)
    assert times_of(settled.strategy, TODAY) == tuple(found.span for found in before)


async def test_quotas_count_active_strategies_of_a_kind(store: Store, channels: Sequence[ChannelId]) -> None:
    for channel in channels[:10]:
        await put(store, channel)
    with pytest.raises(QuotaError):
        await put(store, channels[10])
    await put(store, channels[10], replace(CHANGE, state=None))
    assert await store.strategies.used(PROJECT) == {"random_access_time": 1000}
    await put(store, channels[0], StrategyChange(state=StrategyState.STOPPED))
    results = await asyncio.gather(*(put(store, channel) for channel in channels[10:20]), return_exceptions=True)
    assert sum(isinstance(result, QuotaError) for result in results) == 9
    assert await store.strategies.used(PROJECT) == {"random_access_time": 1000}


async def test_a_once_is_stopped_after_its_day(store: Store, channels: Sequence[ChannelId]) -> None:
    await put(store, channels[0], replace(CHANGE, periodicity=Periodicity.ONCE))
    await put(store, channels[1])
    late = moment_of(TODAY, 1300)
    await put(store, channels[2], replace(CHANGE, periodicity=Periodicity.ONCE), late)
    tomorrow = TODAY + timedelta(days=1)
    assert await store.strategies.stop_finished(TODAY, at=late) == []
    assert await store.strategies.stop_finished(tomorrow, at=late) == [(NVR, channels[0])]
    assert (await strategy(store, channels[0])).state is StrategyState.STOPPED
    assert await store.strategies.plan(tomorrow, limit=10) == 2
    assert {found.channel_id for found in await of_day(store, tomorrow)} == {channels[1], channels[2]}
    later = tomorrow + timedelta(days=3)
    assert await store.strategies.stop_finished(later, at=late) == [(NVR, channels[2])]


async def test_a_once_whose_day_was_slept_through_gets_another(store: Store, channels: Sequence[ChannelId]) -> None:
    await put(store, channels[0], replace(CHANGE, periodicity=Periodicity.ONCE), moment_of(TODAY, 1300))
    day = TODAY + timedelta(days=5)
    assert await store.strategies.stop_finished(day, at=MORNING) == []
    assert await store.strategies.plan(day, limit=10) == 1


async def test_slices_are_found_when_due_and_after_a_restart(store: Store, channels: Sequence[ChannelId]) -> None:
    timing = replace(CHANGE, start=600, end=620, total=20)
    for channel in channels[:5]:
        await put(store, channel, timing)
    due = await store.slices.due(moment_of(TODAY, 600))
    assert [found.channel_id for found in due] == list(channels[:5])
    assert await store.slices.due(moment_of(TODAY, 599)) == []
    states = (SliceState.RUNNING, SliceState.FAILED, SliceState.DONE, SliceState.SKIPPED, SliceState.PLANNED)
    changed = [
        replace(found, state=state, attempts=3, reason="a\x00b", video_from=MORNING, flowing_since=NOW, received=1.5)
        for found, state in zip(due, states, strict=True)
    ]
    await store.slices.save(changed)
    assert list(await of_day(store, TODAY)) == [replace(found, reason="ab") for found in changed]
    inside, past = moment_of(TODAY, 610), moment_of(TODAY, 620)
    assert [(found.state, valid) for found, valid in await store.slices.unfinished(TODAY, inside)] == [
        (SliceState.RUNNING, True),
        (SliceState.FAILED, True),
    ]
    await put(store, channels[0], StrategyChange(state=StrategyState.STOPPED), inside)
    assert [(found.state, valid) for found, valid in await store.slices.unfinished(TODAY, past)] == [
        (SliceState.RUNNING, False)
    ]
    assert [found.state for found in await store.slices.due(past)] == [SliceState.PLANNED]


async def test_lists_are_narrowed_and_paged(store: Store, channels: Sequence[ChannelId]) -> None:
    for channel in channels[:6]:
        await put(store, channel, replace(CHANGE, start=600, end=620, total=20))
    await store.slices.save([replace(found, state=SliceState.DONE) for found in (await of_day(store, TODAY))[:2]])

    async def found(wanted: SliceFilter, offset: int = 0, limit: int = 100) -> tuple[int, list[ChannelId]]:
        listing = await store.slices.list(SCOPE, wanted, offset=offset, limit=limit)
        return listing.total, [entry.channel_id for entry in listing.entries]

    everything = SliceFilter(day=TODAY)
    assert await found(everything, 4, 2) == (6, list(channels[4:6]))
    assert await found(everything, 9) == (6, [])
    assert await found(replace(everything, state=SliceState.DONE)) == (2, list(channels[:2]))
    assert await found(replace(everything, device_id=NVR, channel_id=channels[3])) == (1, [channels[3]])
    assert await found(replace(everything, device_id=DeviceId("nobody"))) == (0, [])
    assert await found(SliceFilter(day=TODAY + timedelta(days=1))) == (0, [])
    assert (await store.slices.list(Scope("b" * 32), everything, offset=0, limit=10)).total == 0


async def test_old_slices_are_deleted_in_parts(store: Store, channels: Sequence[ChannelId]) -> None:
    for channel in channels[:6]:
        await put(store, channel, replace(CHANGE, start=600, end=620, total=20))
    assert await store.slices.delete_before(PROJECT, TODAY, limit=10) == 0
    tomorrow = TODAY + timedelta(days=1)
    assert [await store.slices.delete_before(PROJECT, tomorrow, limit=4) for _ in range(3)] == [4, 2, 0]


async def test_a_deleted_device_takes_strategies_and_slices_along(store: Store, channels: Sequence[ChannelId]) -> None:
    _, today = await put(store, channels[0])
    assert await store.devices.delete(NVR, NOW)
    assert await of_day(store, TODAY) == []
    await store.slices.save(today)
    assert await of_day(store, TODAY) == []


async def test_the_time_seen_last_is_kept(store: Store) -> None:
    assert await store.slices.alive() is None
    for at in (NOW, datetime(2026, 3, 2, tzinfo=UTC)):
        await store.slices.mark_alive(at)
        assert await store.slices.alive() == at


def test_slices_know_their_moments() -> None:
    assert moment_of(TODAY, 1440) == moment_of(TODAY + timedelta(days=1), 0)
    assert Span(600, 640).length == 40


async def test_a_change_between_a_start_and_its_being_taken_up_makes_the_slice_void(
    store: Store, channels: Sequence[ChannelId]
) -> None:
    await put(store, channels[0], replace(CHANGE, start=600, end=620, total=20))
    await put(store, channels[0], StrategyChange(start=700, end=720), moment_of(TODAY, 605))
    assert [(found.span.start, found.state) for found in await of_day(store, TODAY)] == [
        (600, SliceState.SKIPPED),
        (700, SliceState.PLANNED),
    ]
    assert [found.span.start for found in await store.slices.due(moment_of(TODAY, 1000))] == [700]


async def test_several_channels_are_read_at_once(store: Store, channels: Sequence[ChannelId]) -> None:
    keys = [(NVR, channels[3]), (NVR, ChannelId("nobody")), (DeviceId("nobody"), channels[4]), (NVR, channels[5])]
    assert {found.channel_id for found in await store.channels.several(keys)} == {channels[3], channels[5]}
    assert await store.channels.several([]) == []
