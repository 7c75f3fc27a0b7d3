"""One slice of a day's plan: its machine and what became of it. No socket, no clock."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from enum import Enum, StrEnum, auto
from typing import Final

from gateway.access.model import Span
from gateway.clock import BEIJING
from gateway.devices.model import ChannelId, DeviceId
from gateway.errors import IllegalTransitionError


class SliceState(StrEnum):
    """Where a slice stands. FAILED before its end means that another try follows."""

    PLANNED = "PLANNED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class SliceCause(Enum):
    """What may happen to a slice."""

    DUE = auto()
    FAILURE = auto()
    """The channel could not be called, or its call ended and is not made again by itself."""
    RETRY = auto()
    OVER = auto()
    """Its time is over, or it was withdrawn, and there was video."""
    OVER_EMPTY = auto()
    """Its time is over, and there was none."""
    MISSED = auto()
    """Its time was over before it was taken up: the gateway was not running."""
    WITHDRAWN = auto()
    """The strategy was changed or stopped before there was video."""


S = SliceState
C = SliceCause

TRANSITIONS: Final = {
    (S.PLANNED, C.DUE): S.RUNNING,
    (S.PLANNED, C.MISSED): S.FAILED,
    (S.PLANNED, C.WITHDRAWN): S.SKIPPED,
    (S.RUNNING, C.FAILURE): S.FAILED,
    (S.RUNNING, C.RETRY): S.RUNNING,  # after a restart, or when the channel came back by itself
    (S.RUNNING, C.OVER): S.DONE,
    (S.RUNNING, C.OVER_EMPTY): S.FAILED,
    (S.RUNNING, C.WITHDRAWN): S.SKIPPED,
    (S.FAILED, C.FAILURE): S.FAILED,
    (S.FAILED, C.RETRY): S.RUNNING,
    (S.FAILED, C.OVER): S.DONE,
    (S.FAILED, C.OVER_EMPTY): S.FAILED,
    (S.FAILED, C.WITHDRAWN): S.SKIPPED,
}


def after(state: SliceState, cause: SliceCause) -> SliceState:
    """Where a slice stands then; IllegalTransitionError if the cause may not come."""
    try:
        return TRANSITIONS[state, cause]
    except KeyError:
        raise IllegalTransitionError(state, cause) from None


def moment_of(day: date, minute: int) -> datetime:
    """The moment of that minute of the day, UTC+8; minute 1440 is the next midnight."""
    return datetime.combine(day, time_of_day(tzinfo=BEIJING)) + timedelta(minutes=minute)


def day_of(at: datetime) -> date:
    """The day in UTC+8."""
    return at.astimezone(BEIJING).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSlice:
    """A slice as it was planned, and what became of it so far."""

    slice_id: int
    project_id: str
    device_id: DeviceId
    channel_id: ChannelId
    day: date
    span: Span
    state: SliceState
    reason: str = ""
    """Why there is no video, or why it ended early; of the last failure if it is over."""
    attempts: int = 0
    """How often the channel was called for it; tries that a lost call makes by itself are not counted."""
    video_from: datetime | None = None
    video_until: datetime | None = None
    """First and last moment of video; `received` may be less than what lies between."""
    flowing_since: datetime | None = None
    """Video flows since then; None if none does."""
    received: float = 0.0
    """Seconds of video, without those since `flowing_since`."""

    @property
    def key(self) -> tuple[DeviceId, ChannelId]:
        """The channel."""
        return self.device_id, self.channel_id

    @property
    def starts_at(self) -> datetime:
        """When it begins."""
        return moment_of(self.day, self.span.start)

    @property
    def ends_at(self) -> datetime:
        """When it ends."""
        return moment_of(self.day, self.span.end)


def recovered(record: AccessSlice, alive: datetime | None) -> AccessSlice:
    """A slice as a crash left it: its video is known to have flowed until `alive`, when that was written last."""
    if record.flowing_since is None:
        return record
    until = max(record.flowing_since, min(alive or record.flowing_since, record.ends_at))
    seconds = (until - record.flowing_since).total_seconds()
    return replace(record, flowing_since=None, video_until=until, received=record.received + seconds)
