"""Record plans end to end: simulated cameras, SIP, relay, recordings and the store, on a calendar that is set."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from gateway.access.errors import StrategyActiveError
from gateway.access.model import RandomStrategy, StrategyState
from gateway.access.rules import StrategyChange
from gateway.clock import utc_now
from gateway.devices.model import Channel, InvitationStatus
from gateway.record_plans.history import missed
from gateway.record_plans.model import Standing, WeekRange
from gateway.retention.gaps import Cause, gaps
from gateway.retention.model import MarkKind, StoreType
from gateway.retention.rules import Wish
from gateway.scope import Scope
from gateway.store import StreamFilter
from tests.gateway.access.conftest import DAY, AccessWorld, Calendar, OpenWorld

I = InvitationStatus  # noqa: E741
KEPT = Wish(zone_hours=8, hours=24, store_type=StoreType.LOCAL, slice_minutes=1)
TEN_TO_TWELVE = [WeekRange(day, 600, 720) for day in range(7)]


async def until(good: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not good():  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.05)


async def plan(world: AccessWorld) -> str:
    """Gives the only stream a plan, and a retention that is not active by itself; the stream's name."""
    scope, app = Scope(world.project.project_id), world.app
    (stream,) = (await app.store.streams.list(scope, StreamFilter(), None)).entries
    await app.retentions.set(world.project, scope, stream.name, KEPT, utc_now())
    made = await app.record_plans.add(scope.project_id, "mornings", "GMT+08:00", TEN_TO_TWELVE, utc_now())
    await app.record_plans.assign(scope, made.plan_id, add=[stream.name], remove=[])
    return stream.name


async def set_to(world: AccessWorld, minute: int, seconds: float = 0.0) -> None:
    """Sets the calendar, and lets the keeper look at once, as it does every half minute."""
    world.calendar.set(DAY, minute, seconds)
    (found,) = (await world.app.record_plans.list(world.project.project_id)).entries
    await world.app.record_plans.change(world.project.project_id, found.plan_id, utc_now())


async def standing(world: AccessWorld) -> Standing:
    scope = Scope(world.project.project_id)
    (planned,) = (await world.app.record_plans.list(scope.project_id)).entries
    (found,) = (await world.app.record_plans.streams(scope, planned.plan_id, world.calendar())).entries
    return found


def records(world: AccessWorld, stream: str) -> bool:
    return world.app.retention_works.recorder.running_since(world.project.name, stream) is not None


async def test_a_channel_is_called_recorded_and_let_go_of_as_planned_over_a_restart(
    open_world: OpenWorld, calendar: Calendar
) -> None:
    calendar.set(DAY, 598)
    begin = utc_now()
    async with open_world("media.no_viewers=1") as first:
        ids = await first.provision(1)
        async with first.fleet(ids) as fleet:
            channel = await first.channel(ids[0])
            stream = await plan(first)
            await set_to(first, 599, 58)  # the last seconds pass by themselves
            assert not (await standing(first)).wanted
            assert fleet.figures.invitations == 0
            await first.until(channel, I.INVITE_SUCCESS)
            assert first.calendar() >= datetime(DAY.year, DAY.month, DAY.day, 2, tzinfo=UTC)
            await until(lambda: records(first, stream))
            with pytest.raises(StrategyActiveError, match="plan"):
                await first.app.invitations.cancel(channel)
            now = await standing(first)
            assert (now.wanted, now.stream_name, now.recording_since is not None) == (True, stream, True)
            await asyncio.sleep(2)  # nobody watches, and that is no reason to end it
            assert first.status(channel) is I.INVITE_SUCCESS
    calendar.set(DAY, 650)
    async with open_world() as second, second.fleet(ids) as fleet:
        await second.until(channel, I.INVITE_SUCCESS)
        await until(lambda: records(second, stream))
        await asyncio.sleep(1.5)
        await set_to(second, 719, 59)
        await second.until(channel, I.ONLINE)
        await until(lambda: not records(second, stream))
        await second.nothing_is_held()
        assert fleet.figures.invitations == 1
        found = await second.app.store.channels.get(channel.device_id, channel.channel_id)
        assert found is not None
        assert not found.wanted
        assert await second.app.store.record_plans.called() == set()
        assert not (await standing(second)).wanted
        await asyncio.sleep(1.5)  # not wanted: what is missing now is no gap
        end = utc_now()
        stream_id = channel.stream_id
        slices = await second.app.store.retention.slices(stream_id, begin, end, limit=99)
        assert len({one.recording_id for one in slices}) == 2  # each may be cut where a minute of the real clock ends
        marks = await second.app.store.retention.history(stream_id, begin, end)
        report = gaps(marks, slices, begin, end, running_since=None)
        wanted_from = next(mark.at for mark in marks if mark.kind is MarkKind.EXPECTED)
        wanted_until = next(mark.at for mark in reversed(marks) if mark.kind is MarkKind.UNEXPECTED)
        assert all(wanted_from <= gap.begin and gap.end <= wanted_until for gap in report)
        assert {gap.cause for gap in report} <= {Cause.GATEWAY_DOWN, Cause.STREAM_ABSENT, Cause.UNKNOWN}


async def test_what_somebody_else_wants_goes_on_after_the_plan(open_world: OpenWorld, calendar: Calendar) -> None:
    """First a call that was made by hand, then a strategy's slice, which the plan outlives, and which outlives it."""
    calendar.set(DAY, 590)
    async with open_world() as world:
        ids = await world.provision(1)
        async with world.fleet(ids) as fleet:
            channel = await world.channel(ids[0])
            await world.app.invitations.invite(channel)
            await world.until(channel, I.INVITE_SUCCESS)
            stream = await plan(world)
            await set_to(world, 600)
            await until(lambda: records(world, stream))
            await set_to(world, 720)
            await until(lambda: not records(world, stream))
            await asyncio.sleep(1)
            assert world.status(channel) is I.INVITE_SUCCESS
            await world.app.invitations.cancel(channel)
            await world.until(channel, I.ONLINE)
            await set_to(world, 690)
            await until(lambda: records(world, stream))
            change = StrategyChange(kind=RandomStrategy.CONSECUTIVE, start=700, total=30, state=StrategyState.ACTIVE)
            await world.strategy(channel, change)
            await set_to(world, 701)
            await until(lambda: world.app.runner.counts["flowing"] == 1)
            await set_to(world, 720)
            await until(lambda: not records(world, stream))
            await asyncio.sleep(1)
            assert world.status(channel) is I.INVITE_SUCCESS  # the slice lasts until 730
            await set_to(world, 731)
            await world.until(channel, I.ONLINE)
            assert fleet.figures.invitations == 2


async def test_a_plan_takes_over_what_a_slice_leaves(open_world: OpenWorld, calendar: Calendar) -> None:
    calendar.set(DAY, 580)
    async with open_world() as world:
        ids = await world.provision(1)
        async with world.fleet(ids) as fleet:
            channel = await world.channel(ids[0])
            stream = await plan(world)
            change = StrategyChange(kind=RandomStrategy.CONSECUTIVE, start=590, total=20, state=StrategyState.ACTIVE)
            await world.strategy(channel, change)
            await set_to(world, 591)
            await until(lambda: world.app.runner.counts["flowing"] == 1)
            assert not records(world, stream)
            await set_to(world, 601)
            await until(lambda: records(world, stream))
            await set_to(world, 611)  # the slice is over
            await until(lambda: world.app.runner.counts["open"] == 0)
            await asyncio.sleep(1)
            assert world.status(channel) is I.INVITE_SUCCESS
            assert records(world, stream)
            await set_to(world, 720)
            await world.until(channel, I.ONLINE)
            assert fleet.figures.invitations == 1


async def test_an_absence_is_told_of_as_it_was_planned(open_world: OpenWorld, calendar: Calendar) -> None:
    calendar.set(DAY, 500)
    async with open_world() as world:
        ids = await world.provision(1)
        async with world.fleet(ids):
            channel: Channel = await world.channel(ids[0])
            await plan(world)
        midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) - timedelta(hours=8)
        found = await missed(world.app.store, midnight + timedelta(hours=11), midnight + timedelta(hours=35))
        assert [(mark.kind, (mark.at - midnight).total_seconds() / 3600) for mark in found] == [
            (MarkKind.UNEXPECTED, 12),
            (MarkKind.EXPECTED, 34),
        ]
        assert {mark.stream_id for mark in found} == {channel.stream_id}
        long = await missed(world.app.store, midnight - timedelta(days=300), midnight)
        kinds: Sequence[MarkKind] = [mark.kind for mark in long]
        assert kinds == [MarkKind.UNEXPECTED, *[MarkKind.EXPECTED, MarkKind.UNEXPECTED] * 8]
