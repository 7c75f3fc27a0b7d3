"""What a session description says: types that write themselves (RFC 4566, RFC 8866, GB/T 28181 for `y=` and `f=`)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final

from sip.headers import FORBIDDEN

_RESOLUTION: Final = re.compile(r"[0-9]{1,5}(x[0-9]{1,5})?")


class Direction(Enum):
    """Which way media flows, seen by the sender of the description (RFC 4566 §6)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


class Setup(Enum):
    """Who connects, seen by the sender of the description (RFC 4145 §4)."""

    ACTIVE = "active"
    PASSIVE = "passive"
    ACTPASS = "actpass"
    HOLDCONN = "holdconn"


@dataclass(frozen=True, slots=True)
class RtpMap:
    """`PS/90000`; compare `encoding` without regard to case. `channels` is None if not stated (which means 1)."""

    encoding: str
    clock_rate: int
    channels: int | None = None

    def __str__(self) -> str:
        channels = "" if self.channels is None else f"/{self.channels}"
        return f"{self.encoding}/{self.clock_rate}{channels}"


@dataclass(frozen=True, slots=True)
class Origin:
    """`o=`; no meaning is ever read from it, not even the address (GB/T 28181-2016 Annex F)."""

    username: str = "-"
    address: str = "0.0.0.0"
    session_id: str = "0"
    version: str = "0"


class VideoCodec(IntEnum):
    """First field of `f=v/` (GB/T 28181-2022 Annex F)."""

    MPEG4 = 1
    H264 = 2
    SVAC = 3
    GPP3 = 4
    H265 = 5


class AudioCodec(IntEnum):
    """First field of the `a/` half of `f=` (GB/T 28181-2022 Annex F)."""

    G711 = 1
    G723_1 = 2
    G729 = 3
    G722_1 = 4
    SVAC = 5
    AAC = 6


@dataclass(frozen=True, slots=True)
class MediaFormat:
    """`f=v/codec/resolution/fps/rate type/kbit/s` `a/codec/rate code/sampling code`; None is a field left empty.

    `video_resolution` is a code ("1" QCIF … "6" 1080P) or `1920x1080`; `video_rate_type` is 1 constant, 2 variable;
    `audio_rate` and `audio_sampling` are codes (G.711: 8 and 1). Codes that no edition knows are kept.
    """

    video_codec: int | None = None
    video_resolution: str | None = None
    video_fps: int | None = None
    video_rate_type: int | None = None
    video_kbps: int | None = None
    audio_codec: int | None = None
    audio_rate: int | None = None
    audio_sampling: int | None = None

    @staticmethod
    def parse(text: str) -> "MediaFormat":
        """Reads what stands behind `f=`; fields that are missing or no numbers are None. Never raises."""
        video_text, _, audio_text = text.replace(" ", "").lower().partition("a/")
        video = [*video_text.removeprefix("v").removeprefix("/").split("/"), "", "", "", ""]
        audio = [*audio_text.split("/"), "", ""]
        resolution = video[1] if _RESOLUTION.fullmatch(video[1]) else None
        numbers = [_code(part) for part in (video[0], video[2], video[3], video[4], *audio[:3])]
        return MediaFormat(numbers[0], resolution, *numbers[1:])

    def __str__(self) -> str:
        video = (self.video_codec, self.video_resolution, self.video_fps, self.video_rate_type, self.video_kbps)
        audio = (self.audio_codec, self.audio_rate, self.audio_sampling)
        return "v/" + "/".join(map(_text, video)) + "a/" + "/".join(map(_text, audio))


Attribute = tuple[str, str | None]  # name, value; None for a flag


@dataclass(frozen=True, slots=True)
class Media:
    """One `m=` section. `port` 0 means refused; `address` is its own `c=`, None if the session's counts.

    `attributes` are those that have no field here, such as `("downloadspeed", "4")`, in order.
    """

    kind: str
    port: int
    proto: str
    payload_types: tuple[int, ...]
    rtpmap: Mapping[int, RtpMap] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    fmtp: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    direction: Direction | None = None
    setup: Setup | None = None
    connection: str | None = None
    address: str | None = None
    attributes: tuple[Attribute, ...] = ()

    @property
    def is_tcp(self) -> bool:
        """RTP over TCP with two bytes of length before each packet (RFC 4571)."""
        return self.proto.upper().startswith("TCP/")

    def attribute(self, name: str) -> str | None:
        """Value of the first such attribute, "" for a flag, None without it; name in lower case."""
        return _attribute(self.attributes, name)

    def lines(self) -> list[str]:
        lines = [f"m={self.kind} {self.port} {self.proto} {' '.join(map(str, self.payload_types))}".rstrip()]
        if self.address is not None:
            lines.append(f"c={_address(self.address)}")
        if self.direction is not None:
            lines.append(f"a={self.direction.value}")
        for payload_type, rtpmap in self.rtpmap.items():
            lines.append(f"a=rtpmap:{payload_type} {rtpmap}")
        for payload_type, parameters in self.fmtp.items():
            lines.append(f"a=fmtp:{payload_type} {parameters}")
        if self.setup is not None:
            lines.append(f"a=setup:{self.setup.value}")
        if self.connection is not None:
            lines.append(f"a=connection:{self.connection}")
        return lines + [_attribute_line(item) for item in self.attributes]


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description; `bytes(description)` writes it in the order `v o s u c t m a… y f`.

    Some devices answer 415 to another order. `start` and `stop` are UNIX seconds as GB/T 28181 has them, 0 0 for live.
    `ssrc` is the `y=` line: ten decimal digits.
    """

    origin: Origin = field(default_factory=Origin)
    name: str = "-"
    address: str | None = None
    start: int = 0
    stop: int = 0
    media: tuple[Media, ...] = ()
    uri: str | None = None
    direction: Direction | None = None
    attributes: tuple[Attribute, ...] = ()
    ssrc: str | None = None
    format: MediaFormat | None = None
    ignored: tuple[str, ...] = field(default=(), compare=False)

    @property
    def ssrc_number(self) -> int | None:
        """The 32-bit number that RTP packets carry."""
        return None if self.ssrc is None else int(self.ssrc)

    def first(self, kind: str) -> Media | None:
        """The first section of that kind (`video`, `audio`)."""
        return next((media for media in self.media if media.kind == kind), None)

    def address_of(self, media: Media) -> str | None:
        """Where that medium goes to: its own `c=` wins over the session's."""
        return media.address if media.address is not None else self.address

    def direction_of(self, media: Media) -> Direction:
        """Own direction, else the session's, else both ways (RFC 4566 §6)."""
        return media.direction or self.direction or Direction.SENDRECV

    def attribute(self, name: str) -> str | None:
        """Value of the first such session attribute, "" for a flag, None without it; name in lower case."""
        return _attribute(self.attributes, name)

    def __bytes__(self) -> bytes:
        origin = self.origin
        lines = [
            "v=0",
            f"o={origin.username} {origin.session_id} {origin.version} {_address(origin.address)}",
            f"s={self.name}",
        ]
        if self.uri is not None:
            lines.append(f"u={self.uri}")
        if self.address is not None:
            lines.append(f"c={_address(self.address)}")
        lines.append(f"t={self.start} {self.stop}")
        if self.direction is not None:
            lines.append(f"a={self.direction.value}")
        lines += [_attribute_line(item) for item in self.attributes]
        for media in self.media:
            lines += media.lines()
        if self.ssrc is not None:
            lines.append(f"y={self.ssrc}")
        if self.format is not None:
            lines.append(f"f={self.format}")
        for line in lines:
            if FORBIDDEN.search(line):
                raise ValueError(f"control character in {line!r}")
        return "".join(line + "\r\n" for line in lines).encode()


def _code(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def _text(value: int | str | None) -> str:
    return "" if value is None else str(value)


def _address(address: str) -> str:
    return f"IN {'IP6' if ':' in address else 'IP4'} {address}"


def _attribute(attributes: tuple[Attribute, ...], name: str) -> str | None:
    return next((value or "" for other, value in attributes if other.lower() == name), None)


def _attribute_line(attribute: Attribute) -> str:
    name, value = attribute
    return f"a={name}" if value is None else f"a={name}:{value}"
