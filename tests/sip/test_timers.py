from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from sip.timers import Deadlines, Expiry, Timers


@dataclass(eq=False)
class Alarm:
    due: float | None
    armed_at: float | None = None

    def next_timeout(self) -> float | None:
        return self.due


def test_the_durations_of_rfc_3261_table_4() -> None:
    timers = Timers()
    assert (timers.t1, timers.t2, timers.t4, timers.timeout) == (0.5, 4.0, 5.0, 32.0)
    assert timers.linger_invite_failure(reliable=False) == 32.0
    assert timers.linger(reliable=False) == 5.0
    assert timers.remember(reliable=False) == 32.0
    assert timers.linger_invite_failure(reliable=True) == 0
    assert timers.linger(reliable=True) == timers.remember(reliable=True) == 0


def test_timer_d_is_at_least_32_seconds_on_udp() -> None:
    assert Timers(t1=0.1).linger_invite_failure(reliable=False) == 32.0


@given(st.lists(st.floats(0, 3), max_size=60))
def test_an_item_expires_after_its_delay_and_at_most_a_grain_later(gaps: list[float]) -> None:
    expiry: Expiry[tuple[float, int]] = Expiry(delay=4.0, grain=0.5)
    now, out = 0.0, []
    for number, gap in enumerate(gaps):
        now += gap
        for added, which in expiry.pop(now):
            assert added + 4.0 <= now
            out.append(which)
        due = expiry.next_timeout()
        assert due is None or due > now
        expiry.add(now, (now, number))
    out += [which for _, which in expiry.pop(now + 4.5)]
    assert out == list(range(len(gaps)))
    assert expiry.next_timeout() is None


def test_the_oldest_can_be_forgotten_before_its_time() -> None:
    expiry: Expiry[str] = Expiry(delay=4.0)
    assert expiry.pop_oldest() is None
    for now, item in ((0.0, "a"), (2.0, "b"), (3.0, "c")):
        expiry.add(now, item)
    assert expiry.pop_oldest() == "a"
    assert list(expiry.pop(6.5)) == ["b"]
    assert expiry.pop_oldest() == "c"
    assert expiry.next_timeout() is None


@given(st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.floats(0, 50))), max_size=80))
def test_deadlines_name_each_thing_that_is_due_and_no_other(moves: list[tuple[int, float | None]]) -> None:
    alarms = [Alarm(None) for _ in range(5)]
    deadlines: Deadlines[Alarm] = Deadlines()
    for now, (which, due) in enumerate(moves):
        alarms[which].due = due
        deadlines.arm(alarms[which])
        rung = list(deadlines.pop(now))
        wanted = [alarm for alarm in alarms if alarm.due is not None and alarm.due <= now]
        assert sorted(map(id, rung)) == sorted(map(id, wanted))
        for alarm in rung:
            alarm.due = None
        first = min((alarm.due for alarm in alarms if alarm.due is not None), default=None)
        told = deadlines.next_timeout()
        assert first is None or (told is not None and told <= first)
    assert len(deadlines) <= len(moves) * 2


def test_a_deadline_that_only_moves_later_takes_no_room() -> None:
    alarm, deadlines = Alarm(10.0), Deadlines[Alarm]()
    deadlines.arm(alarm)
    for due in range(11, 1000):
        alarm.due = float(due)
        deadlines.arm(alarm)
    assert len(deadlines) == 1
    assert list(deadlines.pop(500.0)) == []
    assert deadlines.next_timeout() == 999.0
