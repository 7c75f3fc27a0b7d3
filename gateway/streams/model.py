"""Streams as values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AccessType(StrEnum):
    """Where a stream's video comes from."""

    RTMP = "RTMP"
    HTTP_FLV = "HTTP-FLV"
    GB28181 = "GB28181"


class ShareType(StrEnum):
    """PRIVATE streams play only with a signed address or the owner's token."""

    PRIVATE = "PRIVATE"
    PUBLIC = "PUBLIC"


class StreamState(StrEnum):
    """Whether the stream is meant to run."""

    ACTIVE = "ACTIVE"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """A stream as it is stored; what flows now is in the relay."""

    stream_id: str
    """stream- and 8 letters or digits."""
    project_id: str
    app: str
    """First part of its play addresses: the project's name."""
    name: str
    access_type: AccessType
    share_type: ShareType
    state: StreamState
    description: str
    encode_type: str
    """H264 or H265 as last seen, empty before."""
    device_id: str | None
    channel_id: str | None
    tcp_priority: bool
    """Its channel prefers TCP."""
    created_at: datetime
    updated_at: datetime
