"""What can be chosen for each stream: the forms it is given out and recorded in, its sound, what is kept for whom.
No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final, Self

from gateway.errors import InvalidError
from gateway.retention.model import RecordingForm

GOP_BYTES_MAX: Final = 256 << 20
NO_VIEWERS_MAX: Final = 86_400.0
VIEWERS_MAX: Final = 2**32 - 1


class Form(StrEnum):
    """How viewers get a stream."""

    FLV = "flv"
    """Over HTTP and WebSocket, as the next two."""
    TS = "ts"
    FMP4 = "fmp4"
    HLS = "hls"
    LL_HLS = "ll-hls"
    RTMP = "rtmp"
    RTSP = "rtsp"
    WEBRTC = "webrtc"


class Segments(StrEnum):
    """What segments of HLS are made of; `ll`: fMP4 in parts, of low latency."""

    TS = "ts"
    FMP4 = "fmp4"
    LL = "ll"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """What counts for a stream."""

    forms: tuple[Form, ...] = tuple(Form)
    audio: bool = True
    """Whether its sound is given out, recorded or sent at all."""
    gop_bytes_max: int = 16_777_216
    """Kept since the last key frame, so that viewers begin at once; 0: nothing."""
    from_gop: bool = True
    """Viewers begin with what is kept; else with the next key frame. HLS is behind anyway."""
    viewers_max: int = 0
    """0: any number."""
    no_viewers: float = 0.0
    """Seconds that nobody watched, after which a channel that was invited is let go; 0: never."""
    hls_segment: float = 2.0
    """Seconds."""
    hls_segments: int = 6
    hls_always: tuple[Segments, ...] = ()
    """Segments that are cut before anybody asks for them."""
    merge_write: float = 0.0
    """What comes within so many seconds goes to a viewer with one write."""
    recording_form: RecordingForm = RecordingForm.AUTO
    """What it is recorded as from now on."""

    def values(self) -> dict[str, Any]:
        """All of them by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnOptions:
    """What was chosen for one stream; None: the default counts."""

    forms: tuple[Form, ...] | None = None
    audio: bool | None = None
    gop_bytes_max: int | None = None
    from_gop: bool | None = None
    viewers_max: int | None = None
    no_viewers: float | None = None
    """Of a stream that is pulled, too: then the stream is stopped."""
    hls_segment: float | None = None
    hls_segments: int | None = None
    hls_always: tuple[Segments, ...] | None = None
    merge_write: float | None = None
    recording_form: RecordingForm | None = None

    def over(self, defaults: StreamOptions) -> StreamOptions:
        """What counts, where `defaults` do for all that was not chosen."""
        return replace(defaults, **self._chosen())

    def check(self) -> None:
        """InvalidError names the first value that cannot be."""
        for name, low, high in (
            ("gop_bytes_max", 0, GOP_BYTES_MAX),
            ("viewers_max", 0, VIEWERS_MAX),
            ("no_viewers", 0, NO_VIEWERS_MAX),
            ("hls_segment", 0.5, 10),
            ("hls_segments", 3, 30),
            ("merge_write", 0, 1),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InvalidError(name, f"{low} to {high}", code="range", low=low, high=high)

    def kept(self) -> dict[str, Any]:
        """As JSON, for `read`."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._chosen().items()}

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Self:
        """What `kept` gave; what an other version wrote, and this one does not know, is passed over."""
        known = {field.name for field in fields(cls)}
        chosen = {name: value for name, value in kept.items() if name in known}
        for name, kind in (("forms", Form), ("hls_always", Segments)):
            if name in chosen:
                values = {member.value for member in kind}
                chosen[name] = tuple(kind(value) for value in chosen[name] if value in values)
        recorded = chosen.pop("recording_form", None)
        if recorded in {member.value for member in RecordingForm}:
            chosen["recording_form"] = RecordingForm(recorded)
        return cls(**chosen)

    def _chosen(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


NOTHING: Final = OwnOptions()
