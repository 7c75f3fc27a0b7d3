"""From captured frames to datagrams and byte streams: links, IPv4 and IPv6, fragments, UDP, TCP. Pure and bounded."""

import ipaddress
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from gateway.inspect.capture import Frame

DATAGRAMS_IN_PIECES_MAX: Final = 256
CONNECTIONS_MAX: Final = 4096
EARLY_BYTES_MAX: Final = 1 << 20
"""Bytes that a connection holds back for a missing segment; then the gap is given up."""

_ETHERNET, _NULL, _LOOP, _SLL, _SLL2 = 1, 0, 108, 113, 276
_RAW: Final = frozenset({12, 14, 101, 228, 229})
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN: Final = frozenset({0x8100, 0x88A8, 0x9100})
_UDP, _TCP = 17, 6
_EXTENSIONS: Final = frozenset({0, 43, 60})
_FRAGMENT = 44
_FIN, _SYN, _RST = 0x01, 0x02, 0x04


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address in its usual writing and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP payload, or the next bytes of one direction of a TCP connection (`gap`: some are missing before)."""

    time_us: int
    is_tcp: bool
    source: Address
    destination: Address
    data: bytes
    gap: bool = False


@dataclass
class NetworkCounts:
    """What was seen below UDP and TCP."""

    frames: int = 0
    not_ip: int = 0
    truncated: int = 0
    fragments: int = 0
    incomplete: int = 0
    tcp_gaps: int = 0


@dataclass
class _Pieces:
    parts: dict[int, bytes] = field(default_factory=dict)
    size: int | None = None

    def add(self, offset: int, data: bytes, more: bool) -> bytes | None:
        """The whole payload once nothing is missing."""
        if offset + len(data) > 65_535 or len(self.parts) > 1024:
            return None
        self.parts[offset] = data
        if not more:
            self.size = offset + len(data)
        whole = b""
        while (part := self.parts.get(len(whole))) and len(whole) < 65_535:
            whole += part
        return whole if self.size is not None and len(whole) == self.size else None


@dataclass
class _Connection:
    """One direction of a TCP connection."""

    next: int
    early: dict[int, bytes] = field(default_factory=dict)
    held: int = 0


class Network:
    """Takes frames, gives datagrams and in-order stream bytes."""

    def __init__(self) -> None:
        self.counts = NetworkCounts()
        self._pieces: OrderedDict[tuple[bytes, bytes, int], _Pieces] = OrderedDict()
        self._connections: OrderedDict[tuple[Address, Address], _Connection] = OrderedDict()

    def handle_frame(self, frame: Frame) -> Iterator[Datagram]:
        """What this frame completes. Whatever is no UDP nor TCP over IP is counted and dropped."""
        self.counts.frames += 1
        packet = _network_packet(frame)
        if packet is None:
            self.counts.not_ip += 1
            return
        try:
            payload = self._ipv4(packet) if packet[0] >> 4 == 4 else self._ipv6(packet)
            if payload is not None:
                yield from self._transport(frame.time_us, *payload)
        except (struct.error, IndexError):
            self.counts.truncated += 1

    def _ipv4(self, packet: bytes) -> tuple[bytes, bytes, int, bytes] | None:
        """Source, destination, protocol, payload (RFC 791 §3.1); None until all fragments are there."""
        total, identity, fragment = struct.unpack_from(">HHH", packet, 2)
        head, protocol, source, destination = (packet[0] & 15) * 4, packet[9], packet[12:16], packet[16:20]
        payload = packet[head : total or None]  # 0: segmentation was offloaded to the card
        offset, more = (fragment & 0x1FFF) * 8, bool(fragment & 0x2000)
        if offset or more:
            whole = self._assemble((source, destination, identity << 8 | protocol), offset, payload, more)
            return None if whole is None else (source, destination, protocol, whole)
        return source, destination, protocol, payload

    def _ipv6(self, packet: bytes) -> tuple[bytes, bytes, int, bytes] | None:
        """As for IPv4 (RFC 8200 §3, §4)."""
        size, protocol = struct.unpack_from(">HB", packet, 4)
        source, destination, payload = packet[8:24], packet[24:40], packet[40 : 40 + size if size else None]
        for _ in range(8):
            if protocol == _FRAGMENT:
                following, _, fragment, identity = struct.unpack_from(">BBHI", payload)
                key = (source, destination, identity << 8 | following)
                whole = self._assemble(key, fragment & 0xFFF8, payload[8:], bool(fragment & 1))
                if whole is None:
                    return None
                protocol, payload = following, whole
            elif protocol in _EXTENSIONS:
                protocol, payload = payload[0], payload[(payload[1] + 1) * 8 :]
            else:
                return source, destination, protocol, payload
        return None

    def _assemble(self, key: tuple[bytes, bytes, int], offset: int, data: bytes, more: bool) -> bytes | None:
        self.counts.fragments += 1
        pieces = self._pieces.setdefault(key, _Pieces())
        whole = pieces.add(offset, data, more)
        if whole is not None:
            del self._pieces[key]
        elif len(self._pieces) > DATAGRAMS_IN_PIECES_MAX:
            self._pieces.popitem(last=False)
            self.counts.incomplete += 1
        return whole

    def _transport(
        self, time_us: int, source: bytes, destination: bytes, protocol: int, payload: bytes
    ) -> Iterator[Datagram]:
        if protocol not in {_UDP, _TCP}:
            return
        source_port, destination_port = struct.unpack_from(">HH", payload)
        ends = Address(_host(source), source_port), Address(_host(destination), destination_port)
        if protocol == _UDP:
            size = struct.unpack_from(">H", payload, 4)[0]
            yield Datagram(time_us, False, *ends, payload[8 : size or None])
        else:
            yield from self._segment(time_us, *ends, payload)

    def _segment(self, time_us: int, source: Address, destination: Address, segment: bytes) -> Iterator[Datagram]:
        """Bytes in order (RFC 9293 §3.10); a connection may be met in its middle."""
        number, _, offset, flags = struct.unpack_from(">IIBB", segment, 4)
        data, key = segment[(offset >> 4) * 4 :], (source, destination)
        if flags & _RST:
            self._connections.pop(key, None)
            return
        if flags & _SYN:
            self._connections[key] = _Connection((number + 1) & 0xFFFFFFFF)
            return
        if not data:
            return
        connection = self._connections.setdefault(key, _Connection(number))
        if len(self._connections) > CONNECTIONS_MAX:
            self._connections.popitem(last=False)
        ready, gap = self._in_order(connection, number, data)
        if ready:
            yield Datagram(time_us, True, source, destination, ready, gap)

    def _in_order(self, connection: _Connection, number: int, data: bytes) -> tuple[bytes, bool]:
        """What may go out now, and whether a gap was given up before it."""
        ahead = (number - connection.next) & 0xFFFFFFFF
        if ahead >= 1 << 31:  # wholly or partly a retransmission
            seen = (1 << 32) - ahead
            if seen >= len(data):
                return b"", False
            data, ahead = data[seen:], 0
        gap = False
        if ahead:
            if number not in connection.early:
                connection.early[number] = data
                connection.held += len(data)
            if connection.held <= EARLY_BYTES_MAX:
                return b"", False
            connection.next = min(connection.early, key=lambda start: (start - connection.next) & 0xFFFFFFFF)
            data, gap = b"", True
            self.counts.tcp_gaps += 1
        ready = bytearray(data)
        connection.next = (connection.next + len(data)) & 0xFFFFFFFF
        while (early := connection.early.pop(connection.next, None)) is not None:
            ready += early
            connection.held -= len(early)
            connection.next = (connection.next + len(early)) & 0xFFFFFFFF
        return bytes(ready), gap


def _network_packet(frame: Frame) -> bytes | None:
    """The IP packet in a frame; None if there is none."""
    data = frame.data
    at, kind = 0, 0
    if frame.link_type == _ETHERNET:
        at, kind = 14, int.from_bytes(data[12:14], "big")
    elif frame.link_type == _SLL:
        at, kind = 16, int.from_bytes(data[14:16], "big")
    elif frame.link_type == _SLL2:
        at, kind = 20, int.from_bytes(data[0:2], "big")
    elif frame.link_type in {_NULL, _LOOP}:
        at = 4
    elif frame.link_type not in _RAW:
        return None
    while kind in _VLAN:
        at, kind = at + 4, int.from_bytes(data[at + 2 : at + 4], "big")
    if kind not in {0, _IPV4, _IPV6} or len(data) < at + 20 or data[at] >> 4 not in {4, 6}:
        return None
    return data[at:]


@lru_cache(maxsize=4096)
def _host(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))
