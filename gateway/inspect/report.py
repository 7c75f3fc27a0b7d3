"""What an inspection finds. Plain values: they go to the screen (`render`) or out as JSON."""

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["note", "warning", "error"]


@dataclass(frozen=True)
class Oddity:
    """A departure from the standards, or something worth knowing: how often, where first, what it means, where to read.

    `severity`: a note is legal but unusual, a warning is tolerated by the gateway, an error costs picture or sound.
    """

    name: str
    severity: Severity
    count: int
    first: str
    meaning: str
    reference: str


@dataclass(frozen=True)
class ExplainedField:
    """One field of an element: its path within the declaration and its value."""

    name: str
    value: str


@dataclass(frozen=True)
class ExplainedElement:
    """One element of a stream, field by field; `bytes` are its first ones in hexadecimal."""

    title: str
    offset: int
    size: int
    bytes: str
    fields: list[ExplainedField]


@dataclass(frozen=True)
class VideoReport:
    """The pictures of one stream. `codec` is what the NAL units show, `announced` what the stream map says."""

    codec: str
    announced: str | None
    width: int
    height: int
    profile: str
    level: float
    fps: float
    gop: int | None
    pictures: int
    key_frames: int
    bytes: int
    largest_bytes: int
    nal_units: dict[str, int]


@dataclass(frozen=True)
class AudioReport:
    """The sound of one stream; rate and channels 0 if not known."""

    codec: str
    announced: str | None
    sample_rate: int
    channels: int
    packets: int
    bytes: int


@dataclass(frozen=True)
class PsReport:
    """The structure of one program stream. `elements` counts by kind, `streams` maps ids to what the map says."""

    bytes: int
    seconds: float
    elements: dict[str, int]
    streams: dict[str, str]
    video: VideoReport | None
    audio: AudioReport | None
    first_elements: list[ExplainedElement]
    oddities: list[Oddity]


@dataclass(frozen=True)
class RtpReport:
    """One RTP source. `ssrc` in ten digits as in `y=`; times in seconds since the first packet of the capture."""

    ssrc: str
    source: str
    destination: str
    transport: str
    payload: str
    payload_types: dict[int, int]
    started: float
    seconds: float
    received: int
    expected: int
    lost: int
    reordered: int
    duplicates: int
    jitter_ms: float
    bytes: int
    rate_bps: int
    markers: int
    call_id: str | None
    program: PsReport | None
    oddities: list[Oddity]


@dataclass(frozen=True)
class SipStep:
    """One message of the ladder; `details` is what its body says in a few words."""

    at: float
    source: str
    destination: str
    transport: str
    summary: str
    details: str
    size: int
    retransmission: bool


@dataclass(frozen=True)
class SipSession:
    """All messages of one Call-ID; `outcome` says how it ended."""

    call_id: str
    method: str
    from_user: str
    to_user: str
    outcome: str
    steps: list[SipStep]
    oddities: list[Oddity]


@dataclass(frozen=True)
class CaptureReport:
    """Everything found in one capture, file or run of packets."""

    name: str
    frames: int
    seconds: float
    sessions: list[SipSession] = field(default_factory=list)
    streams: list[RtpReport] = field(default_factory=list)
    program: PsReport | None = None
    oddities: list[Oddity] = field(default_factory=list)
