"""Whether a plan wants to record at a moment, and when that changes next. Pure.

A plan goes by the clock on the wall. Where that is put forward, minutes that do not come are not recorded; where it is
put back, those that come twice are recorded both times.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from gateway.record_plans.model import WeekRange
from gateway.retention.rules import check_zone

AHEAD_DAYS: Final = 15
"""A week, and another one: a range may lie whole within an hour that is skipped."""
_DAY: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)
_PRECISION: Final = timedelta(seconds=1)


class Wanted(NamedTuple):
    """What a plan says at a moment."""

    now: bool
    changes_at: datetime | None
    """When it will say otherwise, in UTC; None: not within two weeks, which is never."""


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """The zone of a plan; ZoneInfoNotFoundError if this machine does not know it."""
    if name.startswith("GMT") and name[3:4] in {"+", "-"}:
        return timezone(timedelta(hours=check_zone(name)))
    return ZoneInfo(name)


def wants(ranges: Sequence[WeekRange], zone: tzinfo, at: datetime) -> bool:
    """Whether `at`, which is aware, lies in one of the ranges."""
    local = at.astimezone(zone)
    day, minute = local.weekday(), local.hour * 60 + local.minute
    return any(one.day == day and one.start <= minute < one.end for one in ranges)


def wanted(ranges: Sequence[WeekRange], zone: tzinfo, at: datetime) -> Wanted:
    """What the ranges say at `at`, and until when."""
    now = wants(ranges, zone, at)
    later = (moment for moment in _changes(ranges, zone, at) if wants(ranges, zone, moment) is not now)
    return Wanted(now, next(later, None))


def changes(
    ranges: Sequence[WeekRange], zone: tzinfo, begin: datetime, end: datetime
) -> Iterator[tuple[datetime, bool]]:
    """Each moment after `begin` and before `end` at which the plan changes its mind, with what it then wants."""
    found = wanted(ranges, zone, begin)
    while found.changes_at is not None and found.changes_at < end:
        at = found.changes_at
        found = wanted(ranges, zone, at)
        yield at, found.now


def _changes(ranges: Sequence[WeekRange], zone: tzinfo, at: datetime) -> Iterator[datetime]:
    """Moments after `at` at which what is wanted may change, in order: at the ends of ranges, and where the clock is
    put forward or back. Most often the nearest days are enough, so they are looked at first."""
    seen = at
    for days in (2, AHEAD_DAYS):
        until = at + (days - 1) * _DAY
        moments = sorted(moment for moment in _moments(ranges, zone, at, days) if seen < moment <= until)
        yield from moments
        seen = until


def _moments(ranges: Sequence[WeekRange], zone: tzinfo, at: datetime, days: int) -> set[datetime]:
    """All of the day before `at`, of its own and of so many after it. They are put in order only together: where the
    clock is put back over midnight, a day's minutes come after some of the next day's."""
    first = at.astimezone(zone).date()
    found = set(_shifts(zone, at - _DAY, at + days * _DAY))
    for day in (first + number * _DAY for number in range(-1, days + 1)):
        minutes = {minute for one in ranges if one.day == day.weekday() for minute in one[1:]}
        walls = [datetime.combine(day, time()) + minute * _MINUTE for minute in minutes]
        found |= {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for wall in walls for fold in (0, 1)}
    return found


def _shifts(zone: tzinfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Moments at which the offset changes; two within six hours would be missed, and there are none such."""
    step = _DAY / 4
    while begin < end:
        after = min(begin + step, end)
        if _offset(zone, begin) != _offset(zone, after):
            low, high = begin, after
            while high - low > _PRECISION:
                middle = low + (high - low) / 2
                low, high = (middle, high) if _offset(zone, middle) == _offset(zone, low) else (low, middle)
            yield high.replace(microsecond=0)
        begin = after


def _offset(zone: tzinfo, at: datetime) -> timedelta | None:
    return at.astimezone(zone).utcoffset()
