"""Times as MANSCDP and the SIP Date header write them: UTC+8 without a zone (GB/T 28181-2016 §9.10.1).

One shape goes out. In come the shapes seen from devices: without leading zeros, with a blank instead of T, with
fractions of a second, with `Z` or an offset.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from gateway.clock import BEIJING

_SHAPE: Final = re.compile(
    r"\s*(\d{4})[-/](\d{1,2})[-/](\d{1,2})[T ]\s*(\d{1,2}):(\d{1,2}):(\d{1,2})"
    r"(?:[.:](\d{1,6}))?\s*(Z|[+-]\d{2}:?\d{2})?\s*",
    re.ASCII | re.IGNORECASE,
)
_FIRST_YEAR, _LAST_YEAR = 1970, 2100


class DateError(ValueError):
    """The text is not a time between 1970 and 2100."""


def parse_time(text: str) -> datetime:
    """Reads a time; without a zone it is UTC+8, and it is given back in UTC+8. Raises DateError."""
    match = _SHAPE.fullmatch(text[:64])
    if match is None:
        raise DateError(f"{text[:64]!r} is not a time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    microsecond = int((match[7] or "0").ljust(6, "0"))
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise DateError(f"year {year} is outside {_FIRST_YEAR}..{_LAST_YEAR}")
    try:
        zone = _zone(match[8])
        moment = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=zone)
        return moment.astimezone(BEIJING)
    except (ValueError, OverflowError) as error:
        raise DateError(f"{text[:64]!r} is not a time: {error}") from None


def _zone(text: str | None) -> tzinfo:
    if text is None:
        return BEIJING
    if text in "Zz":
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def format_time(moment: datetime) -> str:
    """A time in XML: `2026-03-05T08:00:00`."""
    return moment.astimezone(BEIJING).strftime("%Y-%m-%dT%H:%M:%S")


def format_date_header(moment: datetime) -> str:
    """The Date of a 200 to REGISTER: `2026-03-05T08:00:00.000`, not the form of RFC 3261 §20.17."""
    local = moment.astimezone(BEIJING)
    return f"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond // 1000:03d}"
