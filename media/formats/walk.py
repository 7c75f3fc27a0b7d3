"""Walks a program stream of any quality and cuts it into its elements, each explained by its declaration.

It follows what the start codes and lengths say, tolerates what devices are known to do, and names every departure.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from construct import ConstructError, Container

from media.formats.pes import AUDIO_IDS, VIDEO_IDS, PesPacket
from media.formats.ps import (
    END,
    PACK,
    PSM_BYTES_MAX,
    STREAM_MAP,
    SYSTEM_HEADER,
    PackHeader,
    ProgramStreamMap,
    SystemHeader,
)

ELEMENT_BYTES_MAX: Final = 4 << 20
"""A longer PES of unknown length is given up: no access unit is so long."""
_GARBAGE_BYTES_MAX: Final = 1 << 16
_PREFIX: Final = b"\x00\x00\x01"
_ANY_HEADER: Final = b"\x0f" * 300
"""Completes every header that can be completed."""
_NOT_IN_A_MAP: Final = tuple(_PREFIX + bytes([code]) for code in (PACK, 0xC0, 0xE0))


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
    TOO_SHORT = "the packet before it was longer than it said"


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
    """Takes a stream split anywhere, gives elements. At most `ELEMENT_BYTES_MAX` and one read are held.

    Zeros and FFs between elements are stuffing and left out. After bytes that belong to nothing it goes on at the next
    pack, system header, map, or packet of sound or picture; unless they follow a picture's packet, whose length was
    too short then: they are its rest.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0  # of the buffer in the stream
        self._searched = 0  # bytes at the front known to hold no start code that is looked for
        self._is_lost = False  # searching
        self._reopens: int | None = None  # the video stream whose packet has just ended
        self._is_rest = False  # what is at the front is the rest of that packet

    def handle(self, data: bytes) -> Iterator[Element]:
        """The elements that are complete now."""
        self._buffer += data
        while self._skip_stuffing() and (element := self._next()) is not None:
            yield element

    def finish(self) -> Iterator[Element]:
        """Ends what was begun: at the end of the stream, before a gap, or at a border known from outside."""
        buffer = self._buffer
        self._skip_stuffing()
        if self._is_rest or (self._reopens is not None and _is_junk(buffer)):
            yield self._take_rest(len(buffer))
        elif self._is_unbounded():
            yield self._take(len(buffer), Kind.PES, PesPacket, Fault.LENGTH_ZERO)
        elif not self._is_lost and buffer.startswith(_PREFIX) and len(buffer) > 6:
            yield self._take_truncated()
        elif buffer.strip(b"\0"):
            yield self._garbage(len(buffer))
        self._offset += len(buffer)
        buffer.clear()
        self._searched, self._is_lost, self._is_rest, self._reopens = 0, False, False, None

    def _skip_stuffing(self) -> bool:
        """Whether anything is left that can be told."""
        buffer = self._buffer
        if not (self._is_lost or self._is_rest):
            while buffer[:1] == b"\xff" or buffer[:3] == b"\0\0\0":
                rest = buffer.lstrip(b"\xff")
                if rest[:3] == b"\0\0\0":
                    zeros = len(rest) - len(rest.lstrip(b"\0"))
                    rest = rest[zeros - 2 :]
                self._offset += len(buffer) - len(rest)
                buffer[:] = rest
        return len(buffer) >= 4

    def _next(self) -> Element | None:  # noqa: PLR0911  (one for each kind of start code)
        buffer = self._buffer
        if self._is_rest:
            return self._next_rest()
        if self._is_lost:
            return self._search()
        if not buffer.startswith(_PREFIX) or buffer[3] < END:
            return self._next_junk()
        if buffer[3] == END:
            return self._take(4, Kind.END, None)
        if buffer[3] == PACK:
            return self._next_pack()
        if len(buffer) < 6:
            return None
        if self._is_unbounded():
            return self._next_unbounded()
        size = 6 + int.from_bytes(buffer[4:6], "big")
        if buffer[3] == STREAM_MAP and not 16 <= size <= 6 + PSM_BYTES_MAX:
            return self._lose(4)
        if len(buffer) < size:
            return None
        if buffer[3] == STREAM_MAP and any(code in buffer[6:size] for code in _NOT_IN_A_MAP):
            return self._lose(4)
        return self._take_sized(size)

    def _next_pack(self) -> Element | None:
        """A pack header is 14 bytes and stuffing; Hikvision's H.265 sometimes has only its start code."""
        buffer = self._buffer
        if len(buffer) < 5:
            return None
        if buffer[4] >> 4 == 0b0010:
            return self._take(12, Kind.PACK, None, Fault.MPEG1_PACK) if len(buffer) >= 12 else None
        if buffer[4] >> 6 != 0b01:
            return self._take(4, Kind.PACK, None, Fault.BARE_PACK)
        if len(buffer) < 14 or len(buffer) < 14 + (buffer[13] & 7):
            return None
        return self._take(14 + (buffer[13] & 7), Kind.PACK, PackHeader)

    def _next_junk(self) -> Element | None:
        """What belongs to nothing, or is the rest of a picture whose length was too short."""
        if self._reopens is None:
            return self._lose(1)
        self._is_rest = True
        return self._next_rest()

    def _next_rest(self) -> Element | None:
        end = self._find(1, _is_systemic)
        return None if end is None else self._take_rest(end)

    def _is_unbounded(self) -> bool:
        """PES_packet_length 0 is allowed for video (ISO/IEC 13818-1 §2.4.3.7), and read for sound as well."""
        buffer = self._buffer
        is_pes = buffer.startswith(_PREFIX) and len(buffer) >= 6 and (buffer[3] in VIDEO_IDS or buffer[3] in AUDIO_IDS)
        return is_pes and not self._is_lost and buffer[4:6] == b"\0\0"

    def _next_unbounded(self) -> Element | None:
        """It runs to the next start code of the system layer: NAL unit headers are below 80."""
        fields = _parse(PesPacket, bytes(self._buffer))
        if fields is None:
            hopeless = _parse(PesPacket, bytes(self._buffer) + _ANY_HEADER) is None
            return self._take(6, Kind.PES, PesPacket) if hopeless else None
        head = len(self._buffer) - len(fields.payload)
        end = self._find(head, _is_systemic)
        if end is not None:
            return self._take(end, Kind.PES, PesPacket, Fault.LENGTH_ZERO)
        if len(self._buffer) > ELEMENT_BYTES_MAX:
            return self._take(len(self._buffer), Kind.PES, PesPacket, Fault.TOO_LONG)
        return None

    def _find(self, start: int, wanted: Callable[[int], bool]) -> int | None:
        """Where the next start code with a wanted id is; what was searched before is not searched again."""
        at = max(self._searched, start)
        while (at := self._buffer.find(_PREFIX, at)) >= 0 and at + 3 < len(self._buffer):
            if wanted(self._buffer[at + 3]):
                return at
            at += 3
        self._searched = max(start, len(self._buffer) - 3)
        return None

    def _lose(self, size: int) -> Element | None:
        """`size` bytes at least are garbage, and so is what follows up to a place where reading can go on."""
        self._is_lost, self._searched = True, size
        return self._search()

    def _search(self) -> Element | None:
        at = self._find(1, _is_way_back)
        if at is not None:
            self._is_lost = False
            return self._garbage(at)
        if len(self._buffer) > 3 + _GARBAGE_BYTES_MAX:
            element = self._garbage(len(self._buffer) - 3)
            self._searched = 0
            return element
        return None

    def _take_sized(self, size: int) -> Element:
        stream_id = self._buffer[3]
        if stream_id == SYSTEM_HEADER:
            return self._take(size, Kind.SYSTEM_HEADER, SystemHeader)
        if stream_id == STREAM_MAP:
            return self._take(size, Kind.STREAM_MAP, ProgramStreamMap)
        if stream_id not in VIDEO_IDS and stream_id not in AUDIO_IDS:
            return self._take(size, Kind.OTHER, None)
        element = self._take(size, Kind.PES, PesPacket)
        if element.fields is not None and stream_id in VIDEO_IDS:
            self._reopens = stream_id
        return element

    def _take_rest(self, size: int) -> Element:
        """The rest of a packet whose length was too short; it has no header of its own."""
        stream_id, data, offset = self._reopens or 0, bytes(self._buffer[:size]), self._offset
        self._pass(size)
        optional = Container(pts=None, dts=None)
        fields = Container(stream_id=stream_id, body=Container(optional=optional, payload=data), payload=data)
        return Element(offset, Kind.PES, stream_id, data, fields, Fault.TOO_SHORT)

    def _pass(self, size: int) -> None:
        del self._buffer[:size]
        self._offset += size
        self._searched, self._is_rest, self._reopens = 0, False, None

    def _take_truncated(self) -> Element:
        """What is there of a PES whose length was not reached, read as if it were all."""
        whole, stream_id = bytes(self._buffer), self._buffer[3]
        is_pes = stream_id in VIDEO_IDS or stream_id in AUDIO_IDS
        fields = _parse(PesPacket, whole[:4] + b"\0\0" + whole[6:]) if is_pes else None
        return Element(self._offset, Kind.PES if is_pes else Kind.OTHER, stream_id, whole, fields, Fault.TRUNCATED)

    def _take(self, size: int, kind: Kind, declaration: Any, fault: Fault | None = None) -> Element:
        data, offset = bytes(self._buffer[:size]), self._offset
        self._pass(size)
        fields = None if declaration is None else _parse(declaration, data)
        if declaration is not None and fields is None:
            fault = Fault.UNREADABLE
        return Element(offset, kind, data[3], data, fields, fault)

    def _garbage(self, size: int) -> Element:
        data, offset = bytes(self._buffer[:size]), self._offset
        self._pass(size)
        return Element(offset, Kind.GARBAGE, 0, data, None, Fault.GARBAGE)


def _is_junk(data: bytearray) -> bool:
    """Whether this is neither a start code of the system layer nor the beginning of one."""
    return bool(data) and not (_PREFIX.startswith(bytes(data)) or (data.startswith(_PREFIX) and data[3] >= END))


def _is_systemic(stream_id: int) -> bool:
    return stream_id >= END


def _is_way_back(stream_id: int) -> bool:
    return stream_id in {PACK, SYSTEM_HEADER, STREAM_MAP} or stream_id in AUDIO_IDS or stream_id in VIDEO_IDS


def _parse(declaration: Any, data: bytes) -> Any:
    try:
        return declaration.parse(data)
    except ConstructError:
        return None
