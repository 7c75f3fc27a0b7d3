"""`gateway.access.agenda` in simulated time: what begins, is tried again and ends, and what is kept of it."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest

from gateway.access import agenda
from gateway.access.agenda import LOOK_AGAIN, Agenda, Begin, End, Moment
from gateway.access.model import Span
from gateway.access.pace import BACK_OFF, BURST
from gateway.access.slices import TRANSITIONS, AccessSlice, SliceCause, SliceState, after, moment_of, recovered
from gateway.devices.model import ChannelId, DeviceId, InvitationStatus
from gateway.errors import IllegalTransitionError

TODAY = date(2026, 3, 1)
TEN = moment_of(TODAY, 600)
S = SliceState
I = InvitationStatus  # noqa: E741
PLENTY = 10_000


def planned(number: int, start: int = 600, end: int = 620, channel: int | None = None) -> AccessSlice:
    return AccessSlice(
        slice_id=number,
        project_id="p",
        device_id=DeviceId(f"device{number if channel is None else channel}"),
        channel_id=ChannelId("channel"),
        day=TODAY,
        span=Span(start, end),
        state=S.PLANNED,
    )


class World:
    """An agenda and both clocks."""

    def __init__(self, rate: float = 200.0, at: datetime = TEN - timedelta(minutes=5)) -> None:
        self.agenda = Agenda(rate)
        self.now = 1000.0
        self.at = at
        self.kept: dict[int, AccessSlice] = {}

    @property
    def moment(self) -> Moment:
        return Moment(self.now, self.at)

    def turn(self, room: int = PLENTY) -> list[agenda.Action]:
        """What is to be done now."""
        self.agenda.handle_timeout(self.moment, room)
        actions: list[agenda.Action] = []
        while (action := self.agenda.poll_action()) is not None:
            actions.append(action)
        self.kept |= {record.slice_id: record for record in self.agenda.take_changed()}
        return actions

    def wait(self, seconds: float, room: int = PLENTY) -> list[agenda.Action]:
        """What is to be done from now on for so long."""
        until, actions = self.now + seconds, self.turn(room)
        while self.now < until:
            step = min(max(self.agenda.next_timeout(self.moment), self.now + 0.02), until) - self.now
            self.now += step
            self.at += timedelta(seconds=step)
            actions += self.turn(room)
        return actions

    def go_to(self, minute: float) -> list[agenda.Action]:
        return self.wait((moment_of(TODAY, 0) + timedelta(minutes=minute) - self.at).total_seconds())

    def status(self, record: AccessSlice, before: I, after_: I, detail: str = "") -> None:
        self.agenda.handle_status(self.moment, record.key, before, after_, detail)

    def flow(self, record: AccessSlice) -> None:
        self.agenda.called(record)
        self.status(record, I.ONLINE, I.INVITING)
        self.status(record, I.INVITING, I.INVITE_SUCCESS)


def kinds(actions: Sequence[agenda.Action]) -> list[tuple[type, int]]:
    return [(type(action), action.slice.slice_id) for action in actions]


def test_a_slice_begins_ends_and_counts_its_video() -> None:
    world, record = World(), planned(1)
    world.agenda.add([record])
    assert world.go_to(599.99) == []
    assert kinds(world.go_to(600.01)) == [(Begin, 1)]
    assert world.kept[1].state is S.RUNNING
    world.flow(record)
    assert kinds(world.go_to(619.9)) == []
    assert kinds(world.go_to(620.1)) == [(End, 1)]
    done = world.kept[1]
    assert (done.state, done.reason, done.attempts) == (S.DONE, "", 1)
    assert done.received == pytest.approx(20 * 60, abs=1.0)
    assert done.video_from is not None
    assert done.flowing_since is None
    assert world.agenda.counts == {"planned": 0, "waiting": 0, "open": 0, "flowing": 0}


def test_what_it_knows_is_left_as_it_is() -> None:
    world, record = World(), planned(1)
    world.agenda.add([record, record])
    assert kinds(world.go_to(600.1)) == [(Begin, 1)]
    world.agenda.add([record])
    assert world.go_to(610) == []


def test_a_device_that_comes_online_late_is_called_then() -> None:
    world, record = World(), planned(1)
    world.agenda.add([record])
    world.go_to(600.1)
    world.agenda.failed(world.moment, record, "the device is offline", again=False)
    assert world.go_to(609) == []
    assert (world.kept[1].state, world.kept[1].reason) == (S.FAILED, "the device is offline")
    world.status(record, I.OFFLINE, I.ONLINE)
    assert kinds(world.go_to(609.1)) == [(Begin, 1)]
    world.flow(record)
    world.go_to(621)
    assert world.kept[1].state is S.DONE
    assert world.kept[1].received == pytest.approx(11 * 60, abs=10)


def test_failures_are_tried_again_later_and_later_until_the_slice_is_over() -> None:
    world, record = World(), planned(1, 600, 640)
    world.agenda.add([record])
    world.go_to(599.9)
    begins: list[float] = []
    while world.at < moment_of(TODAY, 641):
        for action in world.wait(1.0):
            if isinstance(action, Begin):
                begins.append(world.now)
                world.agenda.called(record)
                world.status(record, I.ONLINE, I.INVITING)
                world.status(record, I.INVITING, I.ONLINE, "invite: refused 486")
                world.agenda.failed(world.moment, record, "invite: refused 486 Busy Here")
            else:
                assert isinstance(action, End)
    gaps = [later - earlier for earlier, later in pairwise(begins)]
    assert gaps[: len(BACK_OFF)] == pytest.approx(list(BACK_OFF), abs=1.1)
    assert gaps[len(BACK_OFF) :] == pytest.approx([BACK_OFF[-1]] * (len(gaps) - len(BACK_OFF)), abs=1.1)
    assert world.kept[1].attempts == len(begins)
    assert (world.kept[1].state, world.kept[1].reason) == (S.FAILED, "invite: refused 486 Busy Here")


def test_the_device_coming_back_beats_the_back_off() -> None:
    world, record = World(), planned(1)
    world.agenda.add([record])
    world.go_to(600.1)
    world.agenda.failed(world.moment, record, "busy")
    world.status(record, I.ONLINE, I.OFFLINE)
    assert world.wait(60) == []
    world.status(record, I.OFFLINE, I.ONLINE)
    assert kinds(world.wait(60)) == [(Begin, 1)]


def test_a_lost_call_is_left_to_the_invitation_and_its_gap_is_not_counted() -> None:
    world, record = World(), planned(1)
    world.agenda.add([record])
    world.go_to(600)
    world.flow(record)
    world.wait(100)
    world.status(record, I.INVITE_SUCCESS, I.TEMPORARY_OFFLINE, "media: lost")
    assert world.wait(200) == []
    assert (world.kept[1].state, world.kept[1].reason) == (S.RUNNING, "media: lost")
    world.status(record, I.TEMPORARY_OFFLINE, I.INVITING)
    world.status(record, I.INVITING, I.INVITE_SUCCESS)
    world.go_to(621)
    assert (world.kept[1].state, world.kept[1].reason) == (S.DONE, "")
    assert world.kept[1].received == pytest.approx(1000, abs=2)


def test_ten_thousand_slices_of_one_minute_are_spread_and_keep_their_lengths() -> None:
    world = World(rate=200)
    records = [planned(number) for number in range(10_000)]
    world.agenda.add(records)
    begun = dict[int, float]()
    while world.at < TEN + timedelta(seconds=60):
        for action in world.wait(0.05):
            begun[action.slice.slice_id] = world.now
            world.agenda.flows(world.moment, action.slice.key)
    per_second = Counter(int(when) for when in begun.values())
    assert len(begun) == 10_000
    assert max(per_second.values()) <= 200 + 200 * BURST + 1
    assert max(begun.values()) - min(begun.values()) == pytest.approx(50, abs=1)
    world.go_to(621)
    assert {record.state for record in world.kept.values()} == {S.DONE}
    assert all(record.received == pytest.approx(1200, abs=3) for record in world.kept.values())


def test_the_order_is_another_each_day() -> None:
    def order(day: date) -> list[int]:
        world = World(at=moment_of(day, 599))
        world.agenda.add(replace(planned(number), day=day) for number in range(50))
        return [action.slice.slice_id for action in world.wait(120)]

    first, second = order(TODAY), order(TODAY + timedelta(days=1))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert order(TODAY) == first


def test_no_more_calls_are_under_way_than_there_is_room_for() -> None:
    world = World()
    world.agenda.add(planned(number) for number in range(100))
    world.at = TEN
    assert len(world.turn(room=7)) <= 7
    assert world.wait(5, room=0) == []
    assert len(world.wait(5)) > 90


def test_after_a_restart_inside_a_slice_it_goes_on() -> None:
    world = World(at=TEN + timedelta(minutes=5))
    flowing = replace(
        planned(1), state=S.RUNNING, attempts=1, video_from=TEN, flowing_since=TEN + timedelta(minutes=1), received=30.0
    )
    record = recovered(flowing, TEN + timedelta(minutes=4))
    assert (record.received, record.flowing_since) == (210.0, None)
    failed = replace(planned(2), state=S.FAILED, reason="busy")
    over = replace(planned(3, 580, 600), state=S.RUNNING, video_from=TEN, received=7.0)
    world.agenda.add([record, failed, over])
    assert sorted(kinds(world.wait(1)), key=lambda kind: kind[1]) == [(Begin, 1), (Begin, 2), (End, 3)]
    world.agenda.flows(world.moment, record.key)
    world.go_to(621)
    assert world.kept[1].state is S.DONE
    assert world.kept[1].attempts == 1
    assert world.kept[1].received == pytest.approx(210 + 900, abs=2)
    assert (world.kept[2].state, world.kept[3].state) == (S.FAILED, S.DONE)


@pytest.mark.parametrize(
    ("alive", "received"), [(None, 30.0), (TEN - timedelta(1), 30.0), (TEN + timedelta(1), 1230.0)]
)
def test_what_a_crash_left_flowing_is_counted_as_far_as_it_is_known(alive: datetime | None, received: float) -> None:
    assert recovered(replace(planned(1), flowing_since=TEN, received=30.0), alive).received == received


def test_a_slice_that_was_slept_through_failed_and_a_late_start_runs_what_is_left() -> None:
    world = World(at=TEN + timedelta(minutes=15))
    world.agenda.add([planned(1, 580, 610), planned(2, 600, 620)])
    assert kinds(world.turn()) == [(Begin, 2)]
    assert (world.kept[1].state, world.kept[1].reason) == (S.FAILED, agenda.MISSED)


def test_a_changed_strategy_ends_what_runs_and_drops_what_was_planned() -> None:
    world = World()
    flowing, silent, later = planned(1), planned(2), planned(3, 640, 660, channel=1)
    world.agenda.add([flowing, silent, later])
    world.go_to(600.1)
    world.flow(flowing)
    world.wait(60)
    for record in (flowing, silent):
        world.agenda.withdraw(world.moment, record.key, "changed")
    assert world.go_to(700) == []
    assert [(record.state, record.reason) for _, record in sorted(world.kept.items())] == [
        (S.DONE, "changed"),
        (S.SKIPPED, "changed"),
        (S.SKIPPED, "changed"),
    ]
    assert world.kept[1].received == pytest.approx(60, abs=1)
    world.agenda.withdraw(world.moment, flowing.key, "changed")
    assert world.agenda.take_changed() == []


def test_a_deleted_device_is_forgotten() -> None:
    world = World()
    world.agenda.add([planned(1), planned(2, 610, 620, channel=1), planned(3)])
    world.go_to(600.1)
    world.agenda.forget(planned(1).device_id)
    assert kinds(world.go_to(700)) == [(End, 3)]


def test_a_deleted_channel_is_forgotten_alone() -> None:
    world = World()
    gone = replace(planned(2), device_id=planned(1).device_id, channel_id=ChannelId("gone"))
    world.agenda.add([planned(1), gone])
    assert len(world.go_to(600.1)) == 2
    world.agenda.forget(*gone.key)
    assert kinds(world.go_to(700)) == [(End, 1)]


def test_an_end_that_waits_still_does_not_hang_up_on_the_next_slice() -> None:
    """At one in five minutes, the last of six ends at 610 has its turn at 635: but its channel has one at 620."""
    records = [planned(number, 590, 610) for number in range(6)]
    quick = World(at=moment_of(TODAY, 589))
    quick.agenda.add(records)
    last = quick.go_to(591)[-1].slice
    world = World(rate=1 / 300, at=moment_of(TODAY, 589))
    following = planned(9, 620, 680, channel=last.slice_id)
    world.agenda.add([*records, following])
    world.go_to(619.9)
    assert last.slice_id not in {action.slice.slice_id for action in world.go_to(620.1) if isinstance(action, End)}
    assert world.kept[last.slice_id].state is S.FAILED
    assert world.agenda.is_open(following)
    assert last.key not in {action.slice.key for action in world.go_to(679) if isinstance(action, End)}


def test_clocks_that_are_set_neither_begin_twice_nor_lose_anything() -> None:
    world, record = World(), planned(1)
    world.agenda.add([record, planned(2, 660, 680)])
    world.go_to(600.1)
    world.flow(record)
    world.wait(60)
    world.at -= timedelta(hours=2)
    assert world.wait(600) == []
    world.at += timedelta(hours=3)
    assert world.agenda.next_timeout(world.moment) <= world.now + LOOK_AGAIN
    assert (Begin, 2) in kinds(world.wait(LOOK_AGAIN))
    assert world.kept[1].state is S.DONE
    assert world.kept[1].received == pytest.approx(660, abs=LOOK_AGAIN)  # by the clock that was not set


def test_what_could_not_be_kept_is_given_again_unless_it_changed() -> None:
    world, first, second = World(), planned(1), planned(2)
    world.agenda.add([first, second])
    world.at = TEN
    world.agenda.handle_timeout(world.moment, PLENTY)
    lost = world.agenda.take_changed()
    world.agenda.failed(world.moment, second, "busy")
    world.agenda.put_back(lost)
    assert sorted((record.slice_id, record.state) for record in world.agenda.take_changed()) == [
        (1, S.RUNNING),
        (2, S.FAILED),
    ]


def test_a_stop_counts_what_flows() -> None:
    world, record = World(), planned(1)
    world.agenda.add([record])
    world.go_to(600.1)
    world.flow(record)
    world.wait(30)
    assert world.agenda.look(record, world.moment).received == pytest.approx(30)
    world.agenda.pause(world.moment)
    (kept,) = world.agenda.take_changed()
    assert (kept.state, kept.flowing_since) == (S.RUNNING, None)
    assert kept.received == pytest.approx(30)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_every_slice_comes_to_an_end_by_the_table(seed: int) -> None:
    """Random statuses, failures, changes of strategies and of clocks; each record seen follows from the one before."""
    dice = random.Random(seed)
    world = World(rate=dice.choice([0.2, 5.0, 200.0]))
    records = [
        planned(number, start, start + 10 * dice.randint(1, 3), channel=number % 10)
        for number, start in enumerate(dice.choice([600, 610, 640, 650]) for _ in range(10))
    ]
    world.agenda.add(records)
    reachable = {(before, result) for (before, _), result in TRANSITIONS.items()}
    status = {record.key: I.ONLINE for record in records}
    while world.at < moment_of(TODAY, 690):
        before = dict(world.kept)
        for action in world.wait(dice.choice([0.5, 5.0, 40.0])):
            key = action.slice.key
            if isinstance(action, Begin) and status[key] is I.ONLINE:
                world.agenda.called(action.slice)
                status[key] = I.INVITING
        for number, record in world.kept.items():
            earlier = before.get(number, records[number]).state
            assert earlier is record.state or _path(earlier, record.state, reachable)
        record = dice.choice(records)
        new = dice.choice([I.ONLINE, I.INVITING, I.INVITE_SUCCESS, I.TEMPORARY_OFFLINE, I.OFFLINE, I.CANCELING])
        world.status(record, status[record.key], new, "by chance")
        status[record.key] = new
        if dice.random() < 0.1:
            world.agenda.failed(world.moment, record, "by chance", again=dice.random() < 0.5)
        if dice.random() < 0.03:
            world.agenda.withdraw(world.moment, record.key, "changed")
    world.wait(120)
    assert world.agenda.counts["open"] == 0 or world.agenda.counts["waiting"] > 0
    if world.agenda.counts["open"] == 0:
        assert all(world.kept[record.slice_id].state not in {S.PLANNED, S.RUNNING} for record in records)


def _path(before: S, result: S, reachable: set[tuple[S, S]]) -> bool:
    found = {before}
    for _ in S:
        found |= {later for earlier, later in reachable if earlier in found}
    return result in found


def test_causes_that_may_not_come_are_refused() -> None:
    for state in S:
        for cause in SliceCause:
            if (state, cause) in TRANSITIONS:
                assert after(state, cause) is TRANSITIONS[state, cause]
            else:
                with pytest.raises(IllegalTransitionError):
                    after(state, cause)
