"""Streams as values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


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


class Tag(NamedTuple):
    """What a user files a stream under."""

    key: str
    value: str


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
    """H264 or H265 as last seen; before, as it was created with: of a channel's stream, empty."""
    url: str | None
    """Where an HTTP-FLV stream is pulled from; it may carry a password, so it is sealed at rest and never logged."""
    access_key: str | None
    """Of the key that an RTMP stream is pushed with; None: anybody may push."""
    tags: tuple[Tag, ...]
    generation: int
    """Play addresses of earlier generations are void."""
    device_id: str | None
    channel_id: str | None
    tcp_priority: bool
    """Its channel prefers TCP."""
    created_at: datetime
    updated_at: datetime

    @property
    def automatic(self) -> bool:
        """It is a channel's, and comes and goes with it."""
        return self.access_type is AccessType.GB28181

    @property
    def private(self) -> bool:
        """It plays only with the owner's token or a signed address."""
        return self.share_type is ShareType.PRIVATE


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """A step of the source of a stream that is pushed or pulled; the words are those of `source`."""

    at: datetime
    project_id: str
    stream_name: str
    before: str
    after: str
    cause: str
    detail: str
    reason_code: str = ""
    """Where `detail` is a reason: the word for it that does not change, of at most 32 characters."""
