"""`gateway.record_plans.week`: what is told ahead is what a look at every minute finds, in every zone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.record_plans.model import WeekRange
from gateway.record_plans.rules import DAY_MINUTES, settle
from gateway.record_plans.week import Wanted, changes, wanted, wants, zone_of

MINUTE = timedelta(minutes=1)
ZONES = (
    "GMT+08:00", "GMT-03:00", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
    "Africa/Casablanca", "America/Havana", "America/Scoresbysund", "Asia/Kathmandu", "Pacific/Apia",
)  # fmt: skip
"""Half an hour of summer time, winter time in Ramadan, clocks put back over midnight, a quarter of an hour."""
SHIFTS = tuple(
    datetime.fromisoformat(text)
    for text in (
        "2026-03-29T01:00+00:00",
        "2026-10-25T01:00+00:00",
        "2026-11-01T05:00+00:00",
        "2026-04-04T15:00+00:00",
        "2024-03-31T00:00+00:00",
        "2027-10-31T01:00+00:00",
    )
)
"""Moments at which some of these zones put their clocks forward or back."""

ranges = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, DAY_MINUTES - 1), st.integers(1, DAY_MINUTES)).filter(
        lambda one: one[1] < one[2]
    ),
    max_size=8,
).map(lambda found: settle(WeekRange(*one) for one in found))
moments = st.one_of(
    st.datetimes(datetime(2019, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.tuples(st.sampled_from(SHIFTS), st.integers(-3000, 3000)).map(lambda near: near[0] + near[1] * MINUTE),
)


def by_looking(found: Sequence[WeekRange], zone: str, at: datetime, minutes: int) -> datetime | None:
    """The first moment at which it changes, by a look at each minute; the clocks of our zones shift at whole ones."""
    where = ZoneInfo(zone) if "/" in zone else zone_of(zone)
    minute_set = {(one.day, minute) for one in found for minute in range(one.start, one.end)}

    def holds(moment: datetime) -> bool:
        local = moment.astimezone(where)
        return (local.weekday(), local.hour * 60 + local.minute) in minute_set

    now, moment = holds(at), at.replace(second=0, microsecond=0)
    for _ in range(minutes):
        moment += MINUTE
        if holds(moment) is not now:
            return moment
    return None


@settings(deadline=None, max_examples=150)
@given(ranges, st.sampled_from(ZONES), moments)
def test_the_next_change_is_the_one_that_a_look_at_every_minute_finds(
    found: Sequence[WeekRange], zone: str, at: datetime
) -> None:
    told = wanted(found, zone_of(zone), at)
    assert told.now is wants(found, zone_of(zone), at)
    seen = by_looking(found, zone, at, 2 * DAY_MINUTES)
    if seen is not None:
        assert told.changes_at == seen
    else:
        assert told.changes_at is None or told.changes_at > at + timedelta(days=2) - MINUTE


@settings(deadline=None, max_examples=100)
@given(ranges, st.sampled_from(ZONES), moments)
def test_only_what_is_always_or_never_wanted_does_not_change(
    found: Sequence[WeekRange], zone: str, at: datetime
) -> None:
    minutes = sum(one.end - one.start for one in found)
    told = wanted(found, zone_of(zone), at)
    if minutes in {0, 7 * DAY_MINUTES}:
        assert told == Wanted(minutes > 0, None)
    elif told.changes_at is None:  # short, and always in an hour that is skipped: that happens on one day a year
        assert minutes <= 60
    else:
        assert at < told.changes_at <= at + timedelta(days=15)
        assert wants(found, zone_of(zone), told.changes_at) is not told.now


@settings(deadline=None, max_examples=60)
@given(ranges, st.sampled_from(ZONES), moments, st.integers(1, 20))
def test_times_between_changes_add_up_to_the_time_that_is_wanted(
    found: Sequence[WeekRange], zone: str, at: datetime, hours: int
) -> None:
    """The history of an absence is made of them."""
    where, begin = zone_of(zone), at.replace(second=0, microsecond=0)
    end = begin + timedelta(hours=hours)
    total, now, last = timedelta(), wants(found, where, begin), begin
    for moment, holds in changes(found, where, begin, end):
        assert last < moment < end or moment > begin
        assert holds is not now
        total += (moment - last) if now else timedelta()
        now, last = holds, moment
    total += (end - last) if now else timedelta()
    assert total == MINUTE * sum(wants(found, where, begin + number * MINUTE) for number in range(hours * 60))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1439), st.integers(1, 1440)), max_size=20))
@example([(0, 60, 120), (0, 120, 180), (0, 200, 210), (1, 0, 1440), (0, 60, 90)])
def test_merged_ranges_hold_the_same_minutes_and_lie_apart(given_: list[tuple[int, int, int]]) -> None:
    usable = [WeekRange(*one) for one in given_ if one[1] < one[2]]
    merged = settle(usable)
    minutes = lambda found: {(one.day, minute) for one in found for minute in range(one.start, one.end)}  # noqa: E731
    assert minutes(merged) == minutes(usable)
    assert list(merged) == sorted(merged)
    assert all(a.day != b.day or a.end < b.start for a, b in pairwise(merged))
    assert settle(merged) == merged


NIGHT = settle([WeekRange(6, 120, 180)])
"""Sunday, 02:00 to 03:00: in Berlin that hour comes not at all once a year, and twice once."""


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2026-03-28T12:00+00:00", Wanted(False, datetime(2026, 4, 5, 0, 0, tzinfo=UTC))),  # skipped on the 29th
        ("2026-10-24T12:00+00:00", Wanted(False, datetime(2026, 10, 25, 0, 0, tzinfo=UTC))),
        ("2026-10-25T00:30+00:00", Wanted(True, datetime(2026, 10, 25, 2, 0, tzinfo=UTC))),  # two hours long
    ],
)
def test_hours_that_are_skipped_or_come_twice(at: str, told: Wanted) -> None:
    assert wanted(NIGHT, zone_of("Europe/Berlin"), datetime.fromisoformat(at)) == told


def test_two_ranges_that_meet_at_midnight_are_one_time() -> None:
    found = settle([WeekRange(6, 1320, 1440), WeekRange(0, 0, 360)])
    at = datetime(2026, 11, 22, 15, tzinfo=UTC)  # Sunday, 23:00 in UTC+8
    assert wanted(found, zone_of("GMT+08:00"), at) == Wanted(True, datetime(2026, 11, 22, 22, tzinfo=UTC))
