"""`gateway.access.runner` and `day_plans` with real cameras, SIP, relay and store, on a calendar that is set."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from gateway.access import day_plans
from gateway.access.errors import StrategyActiveError
from gateway.access.model import Periodicity, RandomStrategy, StrategyState
from gateway.access.rules import StrategyChange
from gateway.access.slices import AccessSlice, SliceState
from gateway.devices.model import Channel, InvitationStatus
from gateway.scope import Scope
from gateway.simulator.misbehaviour import parse_misbehaviour
from tests.gateway.access.conftest import DAY, AccessWorld, Calendar, OpenWorld

I = InvitationStatus  # noqa: E741
TEN_MINUTES = StrategyChange(kind=RandomStrategy.CONSECUTIVE, start=600, total=10, state=StrategyState.ACTIVE)
"""From 10:00 until 10:10."""


async def slice_of(
    world: AccessWorld, channel: Channel, wanted: Callable[[AccessSlice], bool], seconds: float = 30.0
) -> AccessSlice:
    """The channel's last slice of the day, once it is as wanted."""
    found: AccessSlice | None = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = (await world.slices(channel))[-1]
                if wanted(found):
                    return found
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"still {found}") from None


def is_in(*states: SliceState) -> Callable[[AccessSlice], bool]:
    return lambda found: found.state in states


async def one_camera(world: AccessWorld) -> tuple[str, Channel]:
    ids = await world.provision(1)
    async with world.fleet(ids):
        channel = await world.channel(ids[0])
    await world.until(channel, I.OFFLINE)
    return ids[0], channel


async def test_a_channel_is_invited_at_the_start_and_hung_up_at_the_end(
    open_world: OpenWorld, calendar: Calendar
) -> None:
    calendar.set(DAY, 580)
    async with open_world("media.no_viewers=1") as world:
        ids = await world.provision(1)
        async with world.fleet(ids) as fleet:
            channel = await world.channel(ids[0])
            await world.strategy(channel, TEN_MINUTES)
            with pytest.raises(StrategyActiveError):
                await world.app.invitations.invite(channel)
            assert fleet.figures.invitations == 0
            calendar.set(DAY, 600)
            await world.until(channel, I.INVITE_SUCCESS)
            await asyncio.sleep(3)  # nobody watches, and that is no reason to end it
            assert world.status(channel) is I.INVITE_SUCCESS
            with pytest.raises(StrategyActiveError):
                await world.app.invitations.cancel(channel)
            running = await slice_of(world, channel, is_in(SliceState.RUNNING))
            assert running.received >= 2
            calendar.set(DAY, 610)
            done = await slice_of(world, channel, is_in(SliceState.DONE))
            await world.until(channel, I.ONLINE)
            await world.nothing_is_held()
            assert fleet.figures.invitations == 1
            assert (done.attempts, done.reason) == (1, "")
            assert 2 <= done.received < 60


async def test_a_camera_that_comes_late_is_called_when_it_does(open_world: OpenWorld, calendar: Calendar) -> None:
    calendar.set(DAY, 500)
    async with open_world() as world:
        device_id, channel = await one_camera(world)
        await world.strategy(channel, TEN_MINUTES)
        calendar.set(DAY, 600)
        failed = await slice_of(world, channel, is_in(SliceState.FAILED))
        assert (failed.attempts, failed.reason) == (0, "the device is offline")
        async with world.fleet([channel.device_id]):
            await world.until(channel, I.INVITE_SUCCESS)
            calendar.set(DAY, 610)
            assert (await slice_of(world, channel, is_in(SliceState.DONE))).attempts == 1
        assert device_id == channel.device_id


async def test_a_camera_that_never_comes_leaves_a_failed_slice(open_world: OpenWorld, calendar: Calendar) -> None:
    calendar.set(DAY, 500)
    async with open_world() as world:
        _, channel = await one_camera(world)
        await world.strategy(channel, TEN_MINUTES)
        calendar.set(DAY, 600)
        await slice_of(world, channel, is_in(SliceState.FAILED))
        calendar.set(DAY, 611)
        await asyncio.sleep(1.5)
        assert world.app.runner.counts["open"] == 0
        (failed,) = await world.slices(channel)
        assert (failed.state, failed.received) == (SliceState.FAILED, 0.0)


async def test_a_gateway_that_is_opened_again_takes_up_its_slices(open_world: OpenWorld, calendar: Calendar) -> None:
    calendar.set(DAY, 580)
    async with open_world() as first:
        ids = await first.provision(2)
        fleet = first.fleet(ids)
        async with fleet:
            channels = [await first.channel(code) for code in ids]
        for channel in channels:
            await first.until(channel, I.OFFLINE)
        await first.strategy(channels[0], TEN_MINUTES)
        await first.strategy(channels[1], TEN_MINUTES)
        calendar.set(DAY, 600)
        await slice_of(first, channels[1], is_in(SliceState.FAILED))
    calendar.set(DAY, 603)
    async with open_world() as second, second.fleet(ids) as fleet:
        for channel in channels:
            await second.until(channel, I.INVITE_SUCCESS)
            await slice_of(second, channel, lambda found: found.received > 1)
        assert fleet.figures.invitations == 2
    calendar.set(DAY, 606)
    async with open_world() as third, third.fleet(ids) as fleet:
        for channel in channels:
            await third.until(channel, I.INVITE_SUCCESS)
        await asyncio.sleep(2)
        assert fleet.figures.invitations == 2
        running = [(await third.slices(channel))[-1] for channel in channels]
        assert [(found.state, found.received > 2) for found in running] == [(SliceState.RUNNING, True)] * 2
        calendar.set(DAY, 610)
        for channel in channels:
            await slice_of(third, channel, is_in(SliceState.DONE))
            await third.until(channel, I.ONLINE)
        await third.nothing_is_held()


async def test_what_ended_while_the_gateway_was_away_is_not_called_again(
    open_world: OpenWorld, calendar: Calendar
) -> None:
    calendar.set(DAY, 580)
    async with open_world() as first:
        ids = await first.provision(1)
        async with first.fleet(ids):
            channel = await first.channel(ids[0])
            await first.strategy(channel, TEN_MINUTES)
            calendar.set(DAY, 600)
            await first.until(channel, I.INVITE_SUCCESS)
            await slice_of(first, channel, lambda found: found.received > 1)
    calendar.set(DAY, 700)
    async with open_world() as second, second.fleet(ids) as fleet:
        done = await slice_of(second, channel, is_in(SliceState.DONE))
        assert 1 < done.received < 60
        await second.until(channel, I.ONLINE)
        await asyncio.sleep(1)
        assert fleet.figures.invitations == 0
        found = await second.app.store.channels.get(channel.device_id, channel.channel_id)
        assert found is not None
        assert not found.wanted


@pytest.mark.parametrize(
    "change", [StrategyChange(state=StrategyState.STOPPED), StrategyChange(start=590), StrategyChange(start=620)]
)
async def test_a_change_in_mid_slice_ends_it(open_world: OpenWorld, calendar: Calendar, change: StrategyChange) -> None:
    calendar.set(DAY, 580)
    async with open_world() as world:
        ids = await world.provision(1)
        async with world.fleet(ids):
            channel = await world.channel(ids[0])
            await world.strategy(channel, TEN_MINUTES)
            calendar.set(DAY, 600)
            await world.until(channel, I.INVITE_SUCCESS)
            await world.strategy(channel, change)
            await world.until(channel, I.ONLINE)
            await world.nothing_is_held()
            await asyncio.sleep(1.5)
            states = {found.span.start: found.state for found in await world.slices(channel) if found.attempts == 0}
            expected = {590: SliceState.SKIPPED, 620: SliceState.PLANNED}.get(change.start or 0)
            assert states == ({} if expected is None else {change.start: expected})
            (ended,) = [found for found in await world.slices(channel) if found.attempts]
            assert (ended.state, ended.reason) == (SliceState.DONE, "the strategy was changed")
            if change.start == 620:
                calendar.set(DAY, 620)
                await world.until(channel, I.INVITE_SUCCESS)


async def test_a_call_made_by_hand_ends_when_the_strategy_takes_over(open_world: OpenWorld, calendar: Calendar) -> None:
    calendar.set(DAY, 500)
    async with open_world() as world:
        ids = await world.provision(1)
        async with world.fleet(ids):
            channel = await world.channel(ids[0])
            await world.app.invitations.invite(channel)
            await world.strategy(channel, TEN_MINUTES)
            await world.until(channel, I.ONLINE)
            await world.strategy(channel, StrategyChange(state=StrategyState.STOPPED))
            await world.app.invitations.invite(channel)
            await world.until(channel, I.INVITE_SUCCESS)
            await world.strategy(channel, StrategyChange(total=20))
            assert world.status(channel) is I.INVITE_SUCCESS


async def test_a_slice_over_the_quota_fails_and_is_tried_until_there_is_room(
    open_world: OpenWorld, calendar: Calendar
) -> None:
    calendar.set(DAY, 500)
    async with open_world('accounts.quotas={"active_stream": 1}') as world:
        ids = await world.provision(2)
        async with world.fleet(ids):
            channels = [await world.channel(code) for code in ids]
            await world.app.invitations.invite(channels[0], quota=1)
            await world.strategy(channels[1], TEN_MINUTES)
            calendar.set(DAY, 600)
            failed = await slice_of(world, channels[1], is_in(SliceState.FAILED))
            assert "active_stream" in failed.reason
            await world.app.invitations.cancel(channels[0])
            await world.until(channels[1], I.INVITE_SUCCESS)
            running = await slice_of(world, channels[1], is_in(SliceState.RUNNING))
            assert running.attempts >= 2
            assert running.reason == ""


async def test_a_camera_that_refuses_is_asked_again_and_leaves_its_reason(
    open_world: OpenWorld, calendar: Calendar
) -> None:
    calendar.set(DAY, 580)
    async with open_world() as world:
        ids = await world.provision(1)
        async with world.fleet(ids, parse_misbehaviour("refuse=486")):
            channel = await world.channel(ids[0])
            await world.strategy(channel, TEN_MINUTES)
            calendar.set(DAY, 600)
            again = await slice_of(
                world, channel, lambda found: found.attempts >= 2 and found.state is SliceState.FAILED
            )
            assert "486" in again.reason
            calendar.set(DAY, 610)
            await _until(lambda: _is(world.app.runner.counts["open"] == 0))
            failed = await slice_of(world, channel, is_in(SliceState.FAILED))
            assert "486" in failed.reason
            assert failed.video_from is None


async def test_midnight_ends_the_day_and_plans_the_next(
    open_world: OpenWorld, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice until 24:00; a ONCE that is over; and the next day's slice, which begins at 00:10."""
    monkeypatch.setattr(day_plans, "LOOK_EVERY", 0.5)  # this clock jumps, which the gateway sees when it looks
    late = StrategyChange(kind=RandomStrategy.CONSECUTIVE, start=1420, total=20, state=StrategyState.ACTIVE)
    calendar.set(DAY, 1410)
    async with open_world() as world:
        ids = await world.provision(2)
        async with world.fleet(ids):
            daily, once = [await world.channel(code) for code in ids]
            await world.strategy(daily, StrategyChange(kind=RandomStrategy.CONSECUTIVE, start=10, total=10))
            await world.strategy(daily, StrategyChange(state=StrategyState.ACTIVE, periodicity=Periodicity.DAY))
            await world.strategy(once, StrategyChange(**{**_fields(late), "periodicity": Periodicity.ONCE}))
            assert [found.state for found in await world.slices(daily)] == [SliceState.SKIPPED]
            calendar.set(DAY, 1420)
            await world.until(once, I.INVITE_SUCCESS)
            evening = await world.slices(once)
            calendar.set(DAY, 1440, -3)
            await _until(lambda: _planned(world, daily))
            await world.until(once, I.ONLINE)
            listing = await world.app.strategies.day(once, DAY)
            assert [found.state for found in listing.entries] == [SliceState.DONE]
            assert [found.span for found in listing.entries] == [found.span for found in evening]
            await _until(lambda: _stopped(world, once))
            await world.app.invitations.invite(once)
            tomorrow = DAY + timedelta(days=1)
            calendar.set(tomorrow, 10)
            await world.until(daily, I.INVITE_SUCCESS)


def _fields(change: StrategyChange) -> dict[str, object]:
    return {name: getattr(change, name) for name in change.__slots__}


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _is(value: bool) -> bool:
    return value


async def _planned(world: AccessWorld, channel: Channel) -> bool:
    found = await world.app.strategies.day(channel, DAY + timedelta(days=1))
    return [one.state for one in found.entries] == [SliceState.PLANNED]


async def _stopped(world: AccessWorld, channel: Channel) -> bool:
    found = await world.app.store.channels.get(channel.device_id, channel.channel_id)
    assert found is not None
    assert found.strategy is not None
    return found.strategy.state is StrategyState.STOPPED


async def test_a_deleted_device_takes_its_slice_along(open_world: OpenWorld, calendar: Calendar) -> None:
    calendar.set(DAY, 500)
    async with open_world() as world:
        _, channel = await one_camera(world)
        await world.strategy(channel, TEN_MINUTES)
        calendar.set(DAY, 600)
        await slice_of(world, channel, is_in(SliceState.FAILED))
        assert world.app.runner.counts["open"] == 1
        await world.app.devices.delete(Scope(channel.project_id), channel.device_id, calendar())
        assert world.app.runner.counts["open"] == 0
