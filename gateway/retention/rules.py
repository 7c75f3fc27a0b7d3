"""The rules of the retention call (§4.2.4): what may be asked for, first and later. Pure."""

import re
from dataclasses import dataclass, replace
from typing import Final

from gateway.errors import InvalidError
from gateway.retention.errors import PathError, RetainingError
from gateway.retention.model import Retention, StoreType
from gateway.streams.model import StreamState

HOURS_MAX: Final = 87_600
SLICE_MINUTES_MAX: Final = 60
SLICE_MINUTES: Final = 5
PATH_BYTES_MAX: Final = 512
"""With stream name, date and file name a key stays below the 1024 bytes that object storage allows."""
SEGMENT_BYTES_MAX: Final = 255
_ZONE: Final = re.compile(r"GMT([+-])(\d{1,2})(?::00)?", re.IGNORECASE | re.ASCII)
ZONE_EAST_MAX: Final = 14
ZONE_WEST_MAX: Final = 12
_BUCKET: Final = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NOT_IN_PATHS: Final = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a call asks for, checked one by one; None was left out."""

    zone_hours: int
    hours: float | None = None
    forever: bool | None = None
    store_type: StoreType | None = None
    bucket: str | None = None
    path: str | None = None
    slice_minutes: int | None = None
    state: StreamState | None = None


def settle(present: Retention | None, wish: Wish) -> Retention:
    """The retention after the call.

    The first call must say how long (or for ever) and where; later ones say what changes. While it is ACTIVE, it can
    only be stopped: RetainingError for anything else. InvalidError names what is missing.
    """
    if present is None:
        return _first(wish)
    if present.state is StreamState.ACTIVE:
        return _stop(present, wish)
    return _complete(_changed(present, wish))


def _first(wish: Wish) -> Retention:
    if wish.hours is None and not wish.forever:
        raise InvalidError("retention_in_hour", "required at first, unless retention_forever is true")
    if wish.store_type is None:
        raise InvalidError("store_type", "required at first")
    return _complete(
        Retention(
            state=wish.state or StreamState.STOPPED,
            hours=wish.hours or 0,
            forever=bool(wish.forever),
            store_type=wish.store_type,
            bucket=_wanted(wish, "bucket", wish.bucket),
            path=_wanted(wish, "path", wish.path),
            slice_minutes=wish.slice_minutes or SLICE_MINUTES,
            zone_hours=wish.zone_hours,
        )
    )


def _wanted(wish: Wish, field: str, value: str | None) -> str:
    if value is None and wish.store_type is StoreType.OBS:
        raise InvalidError(field, "required where store_type is obs", code="required")
    return value or ""


def _stop(present: Retention, wish: Wish) -> Retention:
    stopped = _complete(_changed(present, replace(wish, state=StreamState.STOPPED)))
    if wish.state is not StreamState.STOPPED or stopped != replace(present, state=StreamState.STOPPED):
        raise RetainingError("the stream is being retained: stop that before it is changed")
    return stopped


def _changed(present: Retention, wish: Wish) -> Retention:
    def either(new: "float | str | bool | None", old: "float | str | bool") -> "float | str | bool":
        return old if new is None else new

    hours, forever = present.hours, present.forever
    if wish.hours is not None:
        hours, forever = wish.hours, False
    if wish.forever is not None:
        forever = wish.forever
        if present.forever and not forever and wish.hours is None:
            raise InvalidError("retention_in_hour", "required where retention_forever is false")
    return Retention(
        state=wish.state or present.state,
        hours=hours,
        forever=forever,
        store_type=wish.store_type or present.store_type,
        bucket=str(either(wish.bucket, present.bucket)),
        path=str(either(wish.path, present.path)),
        slice_minutes=wish.slice_minutes or present.slice_minutes,
        zone_hours=wish.zone_hours,
    )


def _complete(retention: Retention) -> Retention:
    if retention.store_type is StoreType.LOCAL:
        return replace(retention, bucket="")
    if not retention.bucket:
        raise InvalidError("bucket", "required where store_type is obs", code="required")
    return retention


def check_hours(given: float | str) -> float:
    """0 to 87600 hours (10 years), as a number or its text; InvalidError."""
    text = str(given)
    if isinstance(given, bool) or not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        raise InvalidError("retention_in_hour", f"0 to {HOURS_MAX}", code="range", low=0, high=HOURS_MAX)
    if float(text) > HOURS_MAX:
        raise InvalidError("retention_in_hour", f"0 to {HOURS_MAX}", code="range", low=0, high=HOURS_MAX)
    return float(text)


def check_slice(given: float | str) -> int:
    """1 to 60 whole minutes; InvalidError."""
    text = str(given)
    if isinstance(given, bool) or not re.fullmatch(r"\d{1,2}(\.0{1,9})?", text, re.ASCII):
        raise InvalidError("slice_in_minute", f"1 to {SLICE_MINUTES_MAX}")
    minutes = int(float(text))
    if not 1 <= minutes <= SLICE_MINUTES_MAX:
        raise InvalidError("slice_in_minute", f"1 to {SLICE_MINUTES_MAX}")
    return minutes


def check_zone(text: str) -> int:
    """`GMT+8:00`, also with a leading zero or without minutes: whole hours east of UTC, -12 to 14; InvalidError."""
    found = _ZONE.fullmatch(text)
    hours = int(found[1] + found[2]) if found else ZONE_EAST_MAX + 1
    if not -ZONE_WEST_MAX <= hours <= ZONE_EAST_MAX:
        raise InvalidError("timezone", "GMT+HH:00 or GMT-HH:00, such as GMT+08:00", code="plan.zone")
    return hours


def zone_text(hours: int) -> str:
    """As `GMT+08:00`."""
    return f"GMT{'-' if hours < 0 else '+'}{abs(hours):02}:00"


def check_bucket(name: str) -> str:
    """3 to 63 lower-case letters, digits, dots and hyphens; InvalidError."""
    if not _BUCKET.fullmatch(name):
        raise InvalidError("bucket", "3 to 63 lower-case letters, digits, . and -", code="bucket.characters")
    return name


def check_path(given: str) -> str:
    """The path as it is used: no slash at its start, one between names, one at its end; empty is the root.

    PathError for `.` and `..`, characters that files and objects cannot all have, and what is too long.
    """
    names = [name for name in given.split("/") if name]
    path = "".join(f"{name}/" for name in names)
    if any(name.strip() in {"", ".", ".."} or name != name.strip() for name in names):
        raise PathError(f"path: no name in it may be . or .., or begin or end with a space: {given[:80]!r}")
    if _NOT_IN_PATHS.search(given) or not _encodable(given):
        raise PathError('path: no control characters and none of \\ : * ? " < > |')
    if len(path.encode()) > PATH_BYTES_MAX or any(len(name.encode()) > SEGMENT_BYTES_MAX for name in names):
        raise PathError(f"path: at most {PATH_BYTES_MAX} bytes, {SEGMENT_BYTES_MAX} a name")
    return path


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
