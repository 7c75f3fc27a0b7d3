"""Walks a program stream of any quality and cuts it into its elements, each explained by its declaration.

It follows what the start codes and lengths say, tolerates what devices are known to do, and names every departure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from construct import ConstructError

from media.formats.pes import HEADERLESS, PRIVATE_1, VIDEO_IDS, PesPacket
from media.formats.ps import END, PSM_BYTES_MAX, STREAM_MAP, SYSTEM_HEADER, PackHeader, ProgramStreamMap, SystemHeader

ELEMENT_BYTES_MAX: Final = 4 << 20
"""A longer PES of unknown length is given up: no access unit is so long."""
_PREFIX: Final = b"\x00\x00\x01"


class Kind(Enum):
    """What an element is."""

    PACK = "pack header"
    SYSTEM_HEADER = "system header"
    STREAM_MAP = "program stream map"
    PES = "PES packet"
    OTHER = "other packet"  # private, padding: skipped by length
    END = "program end"
    GARBAGE = "garbage"


class Fault(Enum):
    """Departures from ISO/IEC 13818-1; the value explains."""

    BARE_PACK = "pack start code without a pack header behind it"
    MPEG1_PACK = "pack header of MPEG-1"
    UNREADABLE = "the fields contradict the length"
    TRUNCATED = "cut off before its length was reached"
    LENGTH_ZERO = "PES_packet_length is 0"
    GARBAGE = "bytes that belong to no element"
    TOO_LONG = "longer than any access unit"


@dataclass(frozen=True, slots=True)
class Element:
    """One element at its offset in the stream; `fields` is what its declaration parsed, None if it could not."""

    offset: int
    kind: Kind
    stream_id: int
    data: bytes
    fields: Any = None
    fault: Fault | None = None


class PsWalker:
    """Takes a stream split anywhere, gives elements. At most `ELEMENT_BYTES_MAX` and one read are held."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0  # of the buffer in the stream
        self._searched = 0  # bytes behind an unbounded PES header known to hold no start code

    def handle(self, data: bytes) -> Iterator[Element]:
        """The elements that are complete now."""
        self._buffer += data
        while (element := self._next()) is not None:
            yield element

    def finish(self) -> Iterator[Element]:
        """Ends what was begun: at the end of the stream, before a gap, or at a border known from outside."""
        if self._is_unbounded():
            yield self._take(len(self._buffer), Kind.PES, PesPacket, Fault.LENGTH_ZERO)
        elif self._buffer.startswith(_PREFIX) and len(self._buffer) > 6:
            yield self._take_truncated()
        elif self._buffer.strip(b"\0"):
            yield Element(self._offset, Kind.GARBAGE, 0, bytes(self._buffer), None, Fault.GARBAGE)
        self._offset += len(self._buffer)
        self._buffer.clear()
        self._searched = 0

    def _next(self) -> Element | None:  # noqa: PLR0911  (one for each kind of start code)
        buffer = self._buffer
        if len(buffer) < 4:
            return None
        if not buffer.startswith(_PREFIX) or buffer[3] < END:
            return self._skip_to_start_code()
        match buffer[3]:
            case 0xB9:
                return self._take(4, Kind.END, None)
            case 0xBA:
                return self._next_pack()
        if len(buffer) < 6:
            return None
        if self._is_unbounded():
            return self._next_unbounded()
        size = 6 + int.from_bytes(buffer[4:6], "big")
        if buffer[3] == STREAM_MAP and size - 6 > PSM_BYTES_MAX:
            return self._garbage(4)
        if len(buffer) < size:
            return None
        return self._take_sized(size)

    def _next_pack(self) -> Element | None:
        """A pack header is 14 bytes and stuffing; Hikvision's H.265 sometimes has only its start code."""
        buffer = self._buffer
        if len(buffer) < 7:
            return None
        if buffer[4:7] == _PREFIX:
            return self._take(4, Kind.PACK, None, Fault.BARE_PACK)
        if buffer[4] >> 4 == 0b0010:
            return self._take(12, Kind.PACK, None, Fault.MPEG1_PACK) if len(buffer) >= 12 else None
        if buffer[4] >> 6 != 0b01:
            return self._take(4, Kind.PACK, None, Fault.BARE_PACK)
        if len(buffer) < 14 or len(buffer) < 14 + (buffer[13] & 7):
            return None
        return self._take(14 + (buffer[13] & 7), Kind.PACK, PackHeader)

    def _is_unbounded(self) -> bool:
        """PES_packet_length 0 is allowed for video (ISO/IEC 13818-1 §2.4.3.7)."""
        buffer = self._buffer
        return len(buffer) >= 6 and buffer.startswith(_PREFIX) and buffer[3] in VIDEO_IDS and buffer[4:6] == b"\0\0"

    def _next_unbounded(self) -> Element | None:
        """It runs to the next start code of the system layer: NAL unit headers are below 80."""
        at = max(self._searched, 9)
        while (at := self._buffer.find(_PREFIX, at)) >= 0 and at + 3 < len(self._buffer):
            if self._buffer[at + 3] >= END:
                return self._take(at, Kind.PES, PesPacket, Fault.LENGTH_ZERO)
            at += 3
        self._searched = max(9, len(self._buffer) - 3)
        if len(self._buffer) > ELEMENT_BYTES_MAX:
            return self._take(len(self._buffer), Kind.PES, PesPacket, Fault.TOO_LONG)
        return None

    def _take_sized(self, size: int) -> Element:
        stream_id = self._buffer[3]
        if stream_id == SYSTEM_HEADER:
            return self._take(size, Kind.SYSTEM_HEADER, SystemHeader)
        if stream_id == STREAM_MAP:
            return self._take(size, Kind.STREAM_MAP, ProgramStreamMap)
        if stream_id in HEADERLESS or stream_id == PRIVATE_1:
            return self._take(size, Kind.OTHER, None)
        return self._take(size, Kind.PES, PesPacket)

    def _take_truncated(self) -> Element:
        """What is there of a PES whose length was not reached, read as if it were all."""
        kind = Kind.PES if self._buffer[3] >= 0xC0 else Kind.OTHER
        whole = bytes(self._buffer)
        fields = None
        if kind is Kind.PES:
            shortened = whole[:4] + b"\0\0" + whole[6:]
            fields = _parse(PesPacket, shortened)
        return Element(self._offset, kind, self._buffer[3], whole, fields, Fault.TRUNCATED)

    def _take(self, size: int, kind: Kind, declaration: Any, fault: Fault | None = None) -> Element:
        data, offset = bytes(self._buffer[:size]), self._offset
        del self._buffer[:size]
        self._offset += size
        self._searched = 0
        fields = None if declaration is None else _parse(declaration, data)
        if declaration is not None and fields is None:
            fault = Fault.UNREADABLE
        return Element(offset, kind, data[3], data, fields, fault)

    def _skip_to_start_code(self) -> Element | None:
        """Drops what belongs to nothing; zeros before a start code are stuffing and no fault."""
        at = 0
        while (at := self._buffer.find(_PREFIX, at)) >= 0 and at + 3 < len(self._buffer):
            if self._buffer[at + 3] >= END:
                return self._garbage(at) if at else None
            at += 3
        return self._garbage(len(self._buffer) - 3)

    def _garbage(self, size: int) -> Element | None:
        data, offset = bytes(self._buffer[:size]), self._offset
        del self._buffer[:size]
        self._offset += size
        if not data.strip(b"\0"):
            return self._next()
        return Element(offset, Kind.GARBAGE, 0, data, None, Fault.GARBAGE)


def _parse(declaration: Any, data: bytes) -> Any:
    try:
        return declaration.parse(data)
    except ConstructError:
        return None
