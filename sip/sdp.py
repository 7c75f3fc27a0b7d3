"""Session descriptions (RFC 4566, RFC 8866) with the lines `y=` and `f=` of GB/T 28181: lenient in, strict out.

Read are the lines that a media session needs; the others, and those that cannot be understood, end up in `ignored`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final

from sip.errors import SipParseError

MAX_BYTES: Final = 64 * 1024
MAX_LINES: Final = 512
MAX_MEDIA: Final = 16
MAX_PAYLOAD_TYPES: Final = 64

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_RTPMAP: Final = re.compile(r"\s*([0-9]{1,3})\s+([^\s/]+)\s*/\s*([0-9]{1,9})(?:\s*/\s*([0-9]{1,3}))?\s*")
_FMTP: Final = re.compile(r"\s*([0-9]{1,3})\s+(.*)")
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.:_-]+")
_SSRC: Final = re.compile(r"[0-9]{10}")
_MEDIA: Final = re.compile(r"([A-Za-z]+)[ \t]+([0-9]{1,5})(?:/[0-9]+)?[ \t]+([A-Za-z0-9/]+)(.*)")


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
        resolution = video[1] if re.fullmatch(r"[0-9]{1,5}(x[0-9]{1,5})?", video[1]) else None
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
            if _CONTROL.search(line):
                raise ValueError(f"control character in {line!r}")
        return "".join(line + "\r\n" for line in lines).encode()


def parse(data: bytes) -> SessionDescription:
    """Reads a description: any order of lines, CRLF or LF, UTF-8 or GB 18030; unknown lines are ignored.

    Raises SipParseError if it is too long, has an `m=` line that cannot be read, or is no description at all.
    """
    if len(data) > MAX_BYTES:
        raise SipParseError(f"description longer than {MAX_BYTES} bytes", MAX_BYTES, "RFC 4566 §5")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("gb18030", "replace")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > MAX_LINES:
        raise SipParseError(f"more than {MAX_LINES} lines", 0, "RFC 4566 §5")
    reader = _Reader()
    offset = 0
    for line in lines:
        reader.take(line.strip(" \t\0"), offset)
        offset += len(line) + 1
    return reader.result()


class _Reader:
    """Collects lines; what stands after an `m=` belongs to it, but for `y=` and `f=`."""

    def __init__(self) -> None:
        self._known = 0
        self._session = _Section()
        self._media: list[tuple[tuple[str, int, str, tuple[int, ...]], _Section]] = []
        self._origin = Origin()
        self._name = ""
        self._uri = ""
        self._times = (0, 0)
        self._ssrc: str | None = None
        self._format: MediaFormat | None = None
        self._ignored: list[str] = []

    def take(self, line: str, offset: int) -> None:
        if not line:
            return
        kind, equals, value = line[:1].lower(), line[1:2], line[2:].strip(" \t")
        if equals != "=" or _CONTROL.search(line) or not self._read(kind, value, offset):
            self._ignored.append(line[:256])
        else:
            self._known += 1

    def _read(self, kind: str, value: str, offset: int) -> bool:
        """Whether the line was understood."""
        if kind == "m":
            self._media.append((_read_media(value, offset), _Section()))
            if len(self._media) > MAX_MEDIA:
                raise SipParseError(f"more than {MAX_MEDIA} media", offset, "RFC 4566 §5.14")
            return True
        section = self._media[-1][1] if self._media else self._session
        readers: dict[str, Callable[[str], bool]] = {
            "v": lambda version: version == "0",
            "o": self._read_origin,
            "s": self._read_name,
            "u": self._read_uri,
            "c": section.read_address,
            "t": self._read_times,
            "a": section.read_attribute,
            "y": self._read_ssrc,
            "f": self._read_format,
        }
        read = readers.get(kind)
        return read is not None and read(value)

    def _read_name(self, value: str) -> bool:
        self._name = self._name or value
        return True

    def _read_uri(self, value: str) -> bool:
        self._uri = self._uri or value
        return True

    def _read_format(self, value: str) -> bool:
        if self._format is None and value:
            self._format = MediaFormat.parse(value)
        return True

    def _read_origin(self, value: str) -> bool:
        parts = value.split()
        if len(parts) != 6:
            return False
        self._origin = Origin(parts[0], parts[5], parts[1], parts[2])
        return True

    def _read_times(self, value: str) -> bool:
        parts = value.split()
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) <= 12 for part in parts):
            return False
        self._times = (int(parts[0]), int(parts[1]))
        return True

    def _read_ssrc(self, value: str) -> bool:
        if not _SSRC.fullmatch(value) or int(value) > 0xFFFFFFFF:
            return False
        if self._ssrc is None:
            self._ssrc = value
        return True

    def result(self) -> SessionDescription:
        if not self._known:
            raise SipParseError("no session description", 0, "RFC 4566 §5")
        session = self._session
        return SessionDescription(
            origin=self._origin,
            name=self._name or "-",
            address=session.address,
            start=self._times[0],
            stop=self._times[1],
            media=tuple(section.media(session, *line) for line, section in self._media),
            uri=self._uri or None,
            direction=session.direction,
            attributes=tuple(session.attributes),
            ssrc=self._ssrc,
            format=self._format,
            ignored=tuple(self._ignored),
        )


class _Section:
    """What stands at one level, session or medium."""

    def __init__(self) -> None:
        self.address: str | None = None
        self.direction: Direction | None = None
        self.setup: Setup | None = None
        self.connection: str | None = None
        self.rtpmap: dict[int, RtpMap] = {}
        self.fmtp: dict[int, str] = {}
        self.attributes: list[Attribute] = []

    def media(self, session: "_Section", kind: str, port: int, proto: str, payload_types: tuple[int, ...]) -> Media:
        """The medium; what only the session level says of connections and codecs counts for each (RFC 4145 §4)."""
        return Media(
            kind,
            port,
            proto,
            payload_types,
            {number: rtpmap for number, rtpmap in session.rtpmap.items() if number in payload_types} | self.rtpmap,
            {number: fmtp for number, fmtp in session.fmtp.items() if number in payload_types} | self.fmtp,
            self.direction,
            self.setup or session.setup,
            self.connection or session.connection,
            self.address,
            tuple(self.attributes),
        )

    def read_address(self, value: str) -> bool:
        parts = value.split()
        if len(parts) != 3 or parts[0].upper() != "IN":
            return False
        address = parts[2].partition("/")[0].strip("[]")  # a multicast address may carry /ttl
        if not _ADDRESS.fullmatch(address):
            return False
        self.address = self.address or address
        return True

    def read_attribute(self, text: str) -> bool:
        name, colon, value = text.partition(":")
        name, value = name.strip(), value.strip()
        match name.lower():
            case "":
                return False
            case "rtpmap":
                return self._read_rtpmap(value)
            case "fmtp":
                return self._read_fmtp(value)
            case "sendrecv" | "sendonly" | "recvonly" | "inactive":
                self.direction = self.direction or Direction(name.lower())
            case "setup":
                if value.lower() not in {"active", "passive", "actpass", "holdconn"}:
                    return False
                self.setup = self.setup or Setup(value.lower())
            case "connection":
                self.connection = self.connection or value.lower()
            case _:
                self.attributes.append((name, value if colon else None))
        return True

    def _read_rtpmap(self, value: str) -> bool:
        match = _RTPMAP.fullmatch(value)
        if match is None:
            return False
        channels = None if match[4] is None else int(match[4])
        self.rtpmap.setdefault(int(match[1]), RtpMap(match[2], int(match[3]), channels))
        return True

    def _read_fmtp(self, value: str) -> bool:
        match = _FMTP.fullmatch(value)
        if match is None or not match[2]:
            return False
        self.fmtp.setdefault(int(match[1]), match[2])
        return True


def _read_media(value: str, offset: int) -> tuple[str, int, str, tuple[int, ...]]:
    match = _MEDIA.fullmatch(value)
    if match is None or int(match[2]) > 0xFFFF:
        raise SipParseError(f"media line not understood: {value[:64]!r}", offset, "RFC 4566 §5.14")
    formats = match[4].split()
    if len(formats) > MAX_PAYLOAD_TYPES:
        raise SipParseError(f"more than {MAX_PAYLOAD_TYPES} payload types", offset, "RFC 4566 §5.14")
    numbers = tuple(int(text) for text in formats if text.isascii() and text.isdigit() and len(text) <= 3)
    return match[1].lower(), int(match[2]), match[3], numbers


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
