"""Packet sums by day: nothing is counted twice, or in a day that was not."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.statistics.model import ChannelDay, Sums
from gateway.statistics.packets import PacketBook, split

NOON = datetime(2026, 3, 1, 4, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 1, 16, tzinfo=UTC)
TODAY, TOMORROW = date(2026, 3, 1), date(2026, 3, 2)
CAMERA = ("camera", "channel")


def book(*days: date) -> PacketBook:
    """With one receiver, 1, open since 0 s, and these days taken up."""
    made = PacketBook()
    made.open(0.0, 1, *CAMERA)
    for day in days:
        made.take_up(day, [])
    return made


def test_readings_are_totals() -> None:
    made = book(TODAY)
    for now, shown in ((60, Sums(1000, 990)), (120, Sums(2000, 1990)), (120, Sums(2000, 1990))):
        made.handle(now, NOON + timedelta(seconds=now), 1, shown)
    assert made.day(TODAY) == {CAMERA: Sums(2000, 1990)}
    assert str(made.day(TODAY)[CAMERA]) == "1990/2000"


def test_calls_of_a_day_add_up() -> None:
    made = book(TODAY)
    made.close(10, NOON, 1, Sums(100, 100))
    made.open(20, 2, *CAMERA)
    made.close(30, NOON, 2, Sums(50, 40))
    made.handle(40, NOON, 2, Sums(500, 500))  # closed already
    assert made.day(TODAY) == {CAMERA: Sums(150, 140)}


def test_a_call_over_midnight_counts_on_both_sides() -> None:
    made = book()
    made.handle(60, MIDNIGHT, 1, Sums(600, 600))
    made.handle(120, MIDNIGHT + timedelta(seconds=60), 1, Sums(1000, 999))
    assert made.day(TODAY) == {CAMERA: Sums(600, 600)}
    assert made.day(TOMORROW) == {CAMERA: Sums(400, 399)}


def test_a_late_reading_is_shared_out() -> None:
    made = book()
    made.handle(60, MIDNIGHT + timedelta(seconds=15), 1, Sums(600, 600))
    assert made.day(TODAY) == {CAMERA: Sums(450, 450)}
    assert made.day(TOMORROW) == {CAMERA: Sums(150, 150)}


def test_a_clock_that_is_set_moves_nothing_into_days_that_were_not() -> None:
    made = book()
    made.handle(60, NOON, 1, Sums(600, 600))
    made.handle(120, NOON + timedelta(days=5), 1, Sums(1200, 1200))
    made.handle(180, NOON - timedelta(hours=1), 1, Sums(1800, 1800))
    assert made.day(TODAY) == {CAMERA: Sums(1200, 1200)}
    assert made.day(TODAY + timedelta(days=5)) == {CAMERA: Sums(600, 600)}
    assert not made.day(TODAY + timedelta(days=3))


def test_counters_that_begin_again_are_never_negative() -> None:
    made = book()
    made.handle(60, NOON, 1, Sums(600, 590))
    made.handle(120, NOON, 1, Sums(10, 10))
    assert made.day(TODAY) == {CAMERA: Sums(610, 600)}


def test_what_was_written_before_a_restart_is_taken_up() -> None:
    made = book()
    made.handle(60, NOON, 1, Sums(600, 590))
    assert made.unread_days() == {TODAY}
    assert made.take_unwritten() == {}  # it would write over what is there
    made.take_up(TODAY, [(ChannelDay(TODAY, *CAMERA), Sums(1000, 1000)), (ChannelDay(TODAY, "b", "c"), Sums(1, 1))])
    made.take_up(TODAY, [(ChannelDay(TODAY, *CAMERA), Sums(1000, 1000))])  # a second reader came late
    assert made.take_unwritten() == {ChannelDay(TODAY, *CAMERA): Sums(1600, 1590)}
    assert made.take_unwritten() == {}
    assert made.day(TODAY) == {CAMERA: Sums(1600, 1590), ("b", "c"): Sums(1, 1)}


def test_what_cannot_be_written_is_kept_and_days_that_are_over_are_not() -> None:
    made = book(TODAY, TOMORROW)
    made.handle(60, NOON, 1, Sums(600, 590))
    unwritten = made.take_unwritten()
    made.put_back(unwritten)
    made.forget(TOMORROW)
    assert made.take_unwritten() == unwritten
    made.forget(TOMORROW)
    assert not made.day(TODAY)
    assert made.has(TOMORROW)


@given(
    st.integers(0, 30 * 86_400 * 10**6).map(lambda microseconds: NOON + timedelta(microseconds=microseconds)),
    st.integers(0, 3 * 86_400 * 10**6),
    st.integers(0, 10**7),
    st.data(),
)
def test_shares_add_up(began: datetime, microseconds: int, expected: int, data: st.DataObject) -> None:
    received = data.draw(st.integers(0, expected))
    at = began + timedelta(microseconds=microseconds)
    parts = split(began, at, Sums(expected, received))
    days = [day for day, _ in parts]
    assert days == sorted(set(days))
    assert sum(part.expected for _, part in parts) == expected
    assert sum(part.received for _, part in parts) == received
    assert all(0 <= part.received <= part.expected for _, part in parts)


READINGS = st.lists(
    st.tuples(
        st.floats(0, 200),  # seconds since the last one
        st.integers(-4 * 86_400, 4 * 86_400),  # how far off the clock is
        st.integers(0, 1000),
        st.integers(0, 1000),
    ),
    max_size=20,
)


@given(READINGS)
def test_whatever_the_clock_does_each_packet_counts_once(
    readings: list[tuple[float, int, int, int]],
) -> None:
    made, now, expected, received = book(), 0.0, 0, 0
    for wait, off, came, lost in readings:
        now += wait
        expected += came + lost
        received += came
        made.handle(now, NOON + timedelta(seconds=now + off), 1, Sums(expected, received))
    sums = [made.day(day).get(CAMERA, Sums(0, 0)) for day in made.unread_days()]
    assert sum(one.expected for one in sums) == expected
    assert sum(one.received for one in sums) == received
    assert all(one.expected >= 0 and one.received >= 0 for one in sums)
