"""Record plans as values.

Times of day are minutes since midnight in the plan's own zone; 1440 is the midnight that ends the day.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from gateway.devices.model import ChannelId, DeviceId
from gateway.retention.model import Retained

DAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
"""By their number: Monday is 0, as in `date.weekday`."""


class WeekRange(NamedTuple):
    """From `start` until `end` on one day of the week."""

    day: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPlan:
    """When the streams that share it are to be recorded."""

    plan_id: str
    """plan- and 16 hexadecimal digits."""
    project_id: str
    name: str
    zone: str
    """`GMT+08:00`, or a name of the IANA database."""
    ranges: tuple[WeekRange, ...]
    """In order, apart from each other within a day."""
    created_at: datetime
    updated_at: datetime
    streams: int = 0
    """How many share it."""


class Week(NamedTuple):
    """What of a plan says when it wants to record."""

    zone: str
    ranges: tuple[WeekRange, ...]


class Planned(NamedTuple):
    """A stream of a plan, by names."""

    app: str
    stream_name: str
    plan_id: str
    plan_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """A stream that has a plan, with what is kept of it and where."""

    plan_id: str
    retained: Retained
    device_id: DeviceId | None
    """Of the channel whose video it is; None if it is no channel's."""
    channel_id: ChannelId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A stream of a plan, at one moment."""

    plan_id: str
    plan_name: str
    stream_name: str
    wanted: bool
    """The plan wants it recorded now."""
    recording_since: datetime | None
    """When the slice that is being written began; None if none is."""
