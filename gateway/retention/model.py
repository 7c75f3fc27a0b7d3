"""Retention as values: what is asked for, one recording of a stream, the slices it was cut into."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import StrEnum

from gateway.streams.model import StreamState


class StoreType(StrEnum):
    """Where slices are kept: in an S3-compatible bucket, or in a directory of the gateway's machine."""

    OBS = "OBS"
    LOCAL = "LOCAL"


class SliceState(StrEnum):
    """PENDING in the spool, UPLOADED to where it is kept, EXPIRING while it is deleted there, then EXPIRED.

    MISSING: its file was gone from the spool before it could be stored.
    """

    PENDING = "PENDING"
    UPLOADED = "UPLOADED"
    EXPIRING = "EXPIRING"
    EXPIRED = "EXPIRED"
    MISSING = "MISSING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is kept of a stream, and where (§4.2.4)."""

    state: StreamState
    hours: float
    """How long; counts only unless `forever`."""
    forever: bool
    store_type: StoreType
    bucket: str
    """Empty for LOCAL."""
    path: str
    """Empty, or normalised, with a slash at its end alone."""
    slice_minutes: int
    zone_hours: int
    """Whole hours east of UTC."""

    @property
    def zone(self) -> timezone:
        """The zone that directories are named in."""
        return timezone(timedelta(hours=self.zone_hours))

    @property
    def keep(self) -> timedelta | None:
        """How long slices are kept; None is for ever."""
        return None if self.forever else timedelta(hours=self.hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """A stream with its retention."""

    stream_id: str
    project_id: str
    app: str
    """The project's name: with `name` the stream's address in the relay."""
    name: str
    active: bool
    """The stream itself is ACTIVE: video is expected."""
    retention: Retention


class RecordingForm(StrEnum):
    """What recordings are written as. Sound alone is always written as with AUTO."""

    AUTO = "auto"
    """FLV for H.264, fragmented MP4 for H.265 and for what has Opus."""
    FMP4 = "fmp4"
    FLV = "flv"
    """H.265 and Opus in the enhanced form."""
    HLS = "hls"
    """Fragmented MP4, and beside each slice a playlist over it that any server of files can give out."""

    @property
    def container(self) -> str | None:
        """The form of the files, as the relay calls it; None: what fits the coding."""
        return {RecordingForm.AUTO: None, RecordingForm.HLS: "fmp4"}.get(self, self.value)

    def has_playlist(self, suffix: str) -> bool:
        """Whether a playlist belongs beside a file that ends so: sound alone, but Opus, is FLV, which has none."""
        return self is RecordingForm.HLS and suffix == ".mp4"


FormOf = Callable[[str, str], RecordingForm]
"""What a stream, by app and name, is to be recorded as from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One uninterrupted recording of a stream with one retention; its slices are in a spool directory of its own."""

    recording_id: str
    """32 hexadecimal digits; also the directory's name."""
    stream_id: str
    project_id: str
    app: str
    name: str
    store_type: StoreType
    bucket: str
    path: str
    slice_minutes: int
    zone_hours: int
    started_at: datetime
    ended_at: datetime | None = None
    form: RecordingForm = RecordingForm.AUTO

    @property
    def zone(self) -> timezone:
        return timezone(timedelta(hours=self.zone_hours))

    @property
    def destination(self) -> str:
        """Names the bucket or local root among all: backlog, back-off and uniqueness of keys go by it."""
        return f"OBS/{self.bucket}" if self.store_type is StoreType.OBS else f"LOCAL/{self.project_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A closed part of a recording: one file."""

    slice_id: str
    """32 hexadecimal digits drawn from recording and file name: the same file is never two slices."""
    recording_id: str
    stream_id: str
    destination: str
    file: str
    """Its name in the recording's spool directory."""
    directory: str
    """The hour's directory it is stored in, without a slash at the end."""
    key: str
    """Where it is stored: object key, or path below the local root."""
    start_at: datetime
    end_at: datetime
    """When its last frame came."""
    size_bytes: int
    frames: int
    """0 if unknown: it was salvaged without being counted."""
    lost: int
    """Frames that could not be written."""
    video: str
    """H264 or H265."""
    reason: str
    """Why it ended: cut, stopped, ended, broken (the source), tracks_changed, failed, salvaged."""
    playlist: bool = False
    """An HLS playlist is stored beside it (`names.playlist_key`)."""
    state: SliceState = SliceState.PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class HourDirectory:
    """What is in one hour's directory of one stream, as far as expiry asks."""

    stream_id: str
    destination: str
    directory: str
    newest_end_at: datetime
    slices: int
    unstored: int
    """Slices that are still in the spool."""


class MarkKind(StrEnum):
    """What the history of recording is made of; the gap report reads it."""

    EXPECTED = "EXPECTED"
    """Retention and stream are ACTIVE from here on, or the stream's record plan wants it."""
    UNEXPECTED = "UNEXPECTED"
    FLOWING = "FLOWING"
    """The first packet came."""
    ABSENT = "ABSENT"
    """The stream is not in the relay any more."""
    SILENT = "SILENT"
    RESUMED = "RESUMED"
    RECORDING = "RECORDING"
    FAILED = "FAILED"
    """Recording could not go on; the detail says why."""
    SPOOL_FULL = "SPOOL_FULL"
    SPOOL_FREE = "SPOOL_FREE"
    DOWN = "DOWN"
    """The gateway ran last."""
    UP = "UP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One entry of the history; without a stream it is for all."""

    at: datetime
    kind: MarkKind
    stream_id: str = ""
    detail: str = ""
