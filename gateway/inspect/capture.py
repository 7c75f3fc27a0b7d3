"""Reads packet captures: pcap and pcapng, both byte orders, micro- and nanoseconds. Bounded, and lenient at the end."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

PACKET_BYTES_MAX: Final = 1 << 18
"""Snap lengths are at most 262,144 in every tool that writes captures."""
BLOCK_BYTES_MAX: Final = 1 << 24
INTERFACES_MAX: Final = 1024

_PCAP_MAGICS: Final = {  # first four bytes → byte order, ticks per second
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}
_PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_INTERFACE, _PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET, _SECTION = 1, 2, 3, 6, 0x0A0D0D0A


class CaptureError(Exception):
    """The file is no capture, or breaks off where nothing can be made of the rest; the text says where."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame: time in µs of the UNIX epoch, link type (as tcpdump numbers them), bytes."""

    time_us: int
    link_type: int
    data: bytes


def is_capture(head: bytes) -> bool:
    """Whether a file that begins so is a capture."""
    return head[:4] in _PCAP_MAGICS or head[:4] == _PCAPNG_MAGIC


def read_capture(file: BinaryIO) -> Iterator[Frame]:
    """The frames of a capture. A file cut off in its last record just ends; CaptureError if it is no capture."""
    magic = file.read(4)
    if magic in _PCAP_MAGICS:
        return _read_pcap(file, *_PCAP_MAGICS[magic])
    if magic == _PCAPNG_MAGIC:
        return _read_pcapng(file)
    raise CaptureError(f"not a capture: it begins with {magic.hex(' ') or 'nothing'}")


def _read_pcap(file: BinaryIO, order: str, ticks: int) -> Iterator[Frame]:
    head = file.read(20)
    if len(head) < 20:
        raise CaptureError("the file header is cut off")
    link_type = struct.unpack(order + "HHiIII", head)[5] & 0xFFFF  # upper bits tell of frame check sequences
    while len(record := file.read(16)) == 16:
        seconds, fraction, size, _ = struct.unpack(order + "IIII", record)
        if size > PACKET_BYTES_MAX:
            raise CaptureError(f"a record of {size} bytes at offset {file.tell() - 16}")
        data = file.read(size)
        if len(data) < size:
            return
        yield Frame(seconds * 1_000_000 + fraction * 1_000_000 // ticks, link_type, data)


@dataclass(frozen=True, slots=True)
class _Interface:
    link_type: int
    ticks: int


def _read_pcapng(file: BinaryIO) -> Iterator[Frame]:
    order, interfaces = "<", list[_Interface]()
    kind_bytes = _PCAPNG_MAGIC
    while len(kind_bytes) == 4:
        if kind_bytes == _PCAPNG_MAGIC:
            order, interfaces = _section_order(file), []
        kind = struct.unpack(order + "I", kind_bytes)[0]
        body = _block_body(file, order)
        if body is None:
            return
        if kind == _INTERFACE and len(interfaces) < INTERFACES_MAX and len(body) >= 8:
            interfaces.append(_interface(body, order))
        elif kind in {_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET}:
            frame = _packet(kind, body, order, interfaces)
            if frame is not None:
                yield frame
        kind_bytes = file.read(4)


def _section_order(file: BinaryIO) -> str:
    """Looks at the byte-order magic behind the length; the file stays where it is."""
    ahead = file.read(8)
    file.seek(-len(ahead), 1)
    orders = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
    if ahead[4:] not in orders:
        raise CaptureError(f"no byte-order magic at offset {file.tell() + 4}")
    return orders[ahead[4:]]


def _block_body(file: BinaryIO, order: str) -> bytes | None:
    """What stands between the two lengths of a block; None if the file ends before."""
    head = file.read(4)
    if len(head) < 4:
        return None
    size = struct.unpack(order + "I", head)[0]
    if not 12 <= size <= BLOCK_BYTES_MAX or size % 4:
        raise CaptureError(f"a block of {size} bytes at offset {file.tell() - 8}")
    rest = file.read(size - 8)
    return rest[:-4] if len(rest) == size - 8 else None


def _interface(body: bytes, order: str) -> _Interface:
    link_type = struct.unpack_from(order + "H", body)[0]
    ticks, at = 1_000_000, 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            break
        if code == 9 and size >= 1 and at + 4 < len(body):  # if_tsresol
            exponent = body[at + 4]
            ticks = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10 ** min(exponent, 18)
        at += 4 + size + -size % 4
    return _Interface(link_type, ticks)


def _packet(kind: int, body: bytes, order: str, interfaces: list[_Interface]) -> Frame | None:
    """The frame of a packet block; None if it is cut short or its interface unknown."""
    try:
        if kind == _SIMPLE_PACKET:  # has no time
            number, ticks_high, ticks_low, size, at = 0, 0, 0, struct.unpack_from(order + "I", body)[0], 4
            size = min(size, len(body) - at)
        elif kind == _ENHANCED_PACKET:
            number, ticks_high, ticks_low, size = struct.unpack_from(order + "IIII", body)
            at = 20
        else:
            number, _, ticks_high, ticks_low, size = struct.unpack_from(order + "HHIII", body)
            at = 20
    except struct.error:
        return None
    if number >= len(interfaces) or at + size > len(body):
        return None
    time_us = (ticks_high << 32 | ticks_low) * 1_000_000 // interfaces[number].ticks
    return Frame(time_us, interfaces[number].link_type, body[at : at + size])
