"""Session descriptions (RFC 4566, RFC 8866) with the lines `y=` and `f=` of GB/T 28181: lenient in, strict out.

Read are the lines that a media session needs; the others, and those that cannot be understood, end up in `ignored`.
"""

import re
from collections.abc import Callable
from typing import Final

from sip.description import (
    Attribute,
    AudioCodec,
    Direction,
    Media,
    MediaFormat,
    Origin,
    RtpMap,
    SessionDescription,
    Setup,
    VideoCodec,
)
from sip.errors import SipParseError
from sip.headers import FORBIDDEN

__all__ = [
    "Attribute",
    "AudioCodec",
    "Direction",
    "Media",
    "MediaFormat",
    "Origin",
    "RtpMap",
    "SessionDescription",
    "Setup",
    "VideoCodec",
    "parse",
]

MAX_BYTES: Final = 64 * 1024
MAX_LINES: Final = 512
MAX_MEDIA: Final = 16
MAX_PAYLOAD_TYPES: Final = 64

_RTPMAP: Final = re.compile(r"\s*([0-9]{1,3})\s+([^\s/]+)\s*/\s*([0-9]{1,9})(?:\s*/\s*([0-9]{1,3}))?\s*")
_FMTP: Final = re.compile(r"\s*([0-9]{1,3})\s+(.*)")
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.:_-]+")
_SSRC: Final = re.compile(r"[0-9]{10}")
_MEDIA: Final = re.compile(r"([A-Za-z]+)[ \t]+([0-9]{1,5})(?:/[0-9]+)?[ \t]+([A-Za-z0-9/]+)(.*)")


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
        if equals != "=" or FORBIDDEN.search(line) or not self._read(kind, value, offset):
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
