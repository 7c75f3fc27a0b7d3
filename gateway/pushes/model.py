"""Pushes as values."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRecord:
    """One server that a stream is sent to while it flows."""

    push_id: str
    """push- and 16 hexadecimal digits."""
    stream_id: str
    app: str
    stream_name: str
    url: str
    """It mostly carries a key, so it is sealed at rest, and only its beginning is ever shown."""
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PushView:
    """A push, and how it stands."""

    record: PushRecord
    state: str
    """STOPPED (the stream is not open), WAITING (it does not flow), CONNECTING, PUSHING, RETRYING."""
    bytes_out: int
    failures: int
    reason: str
    """Of the last failure since the gateway started; empty: none."""
    cause: str
    failed_at: datetime | None
