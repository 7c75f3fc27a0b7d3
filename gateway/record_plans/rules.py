"""What a record plan may be. Pure."""

import re
from collections.abc import Iterable
from typing import Final
from zoneinfo import available_timezones

from gateway.errors import InvalidError
from gateway.record_plans.model import DAYS, WeekRange
from gateway.retention.rules import check_zone, zone_text

DAY_MINUTES: Final = 24 * 60
NAME_MAX: Final = 64
ZONE: Final = "GMT+08:00"
RANGES_MAX: Final = 336
"""As given: one for each half hour of the week."""
PLANS_OF_PROJECT_MAX: Final = 1000
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00", re.ASCII)


def check_name(name: str) -> str:
    """1 to 64 printable characters, without spaces at its ends; InvalidError."""
    if not 1 <= len(name) <= NAME_MAX or not name.isprintable() or name != name.strip():
        raise InvalidError(
            "name", f"1 to {NAME_MAX} printable characters, no spaces at its ends", code="plan.name", most=NAME_MAX
        )
    return name


def check_zone_name(text: str) -> str:
    """`GMT+8:00` as `GMT+08:00`, or a name of the IANA database as it is; InvalidError."""
    if text.upper().startswith("GMT") and text[3:4] in {"+", "-"}:
        return zone_text(check_zone(text))
    if text not in available_timezones():
        raise InvalidError(
            "timezone", "GMT+HH:00, GMT-HH:00, or a name of the IANA database such as Europe/Berlin", code="plan.zone"
        )
    return text


def read_clock(text: str, field: str) -> int:
    """HH:MM, 24:00 too, as minutes since midnight; InvalidError."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise InvalidError(field, "a time as HH:MM, from 00:00 to 24:00", code="plan.clock")
    return DAY_MINUTES if found[1] is None else int(found[1]) * 60 + int(found[2])


def read_day(text: str) -> int:
    """MON to SUN as 0 to 6; InvalidError."""
    try:
        return DAYS.index(text)
    except ValueError:
        raise InvalidError("days", f"some of {', '.join(DAYS)}") from None


def settle(given: Iterable[WeekRange]) -> tuple[WeekRange, ...]:
    """The ranges as they are kept: in order, those that overlap or touch on one day as one.

    InvalidError if one does not end after it begins (over midnight there are two), or there are too many.
    """
    ranges = sorted(given)
    if len(ranges) > RANGES_MAX:
        raise InvalidError(
            "week", f"at most {RANGES_MAX} ranges, those of each day counted", code="plan.ranges", most=RANGES_MAX
        )
    settled: list[WeekRange] = []
    for one in ranges:
        if not 0 <= one.start < one.end <= DAY_MINUTES:
            raise InvalidError(
                "week", "a range ends after it begins, on the same day; over midnight there are two", code="plan.range"
            )
        last = settled[-1] if settled else None
        if last is not None and last.day == one.day and one.start <= last.end:
            settled[-1] = last._replace(end=max(last.end, one.end))
        else:
            settled.append(one)
    return tuple(settled)
