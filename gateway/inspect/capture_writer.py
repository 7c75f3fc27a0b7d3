"""Writes RTP packets of one receiver as a pcap file that other tools open too. Pure.

The relay hands over RTP packets without the headers below; these are made up from the two addresses. The link type is
raw IP (101). What came over UDP is one datagram each; what came over TCP is framed (RFC 4571) and put into segments of
one connection, with sequence numbers of our own, for that is how it was on the wire but for where segments began.
"""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from gateway.inspect.network import Address

LINK_TYPE: Final = 101
SEGMENT_BYTES_MAX: Final = 32_768
DATAGRAM_BYTES_MAX: Final = 65_507
_UDP, _TCP = 17, 6
_PSH_ACK: Final = 0x18
_HEAD: Final = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, LINK_TYPE)


class CaptureWriter:
    """`head`, then one `record` for each packet, in order of arrival. Both addresses are of one IP version."""

    def __init__(self, source: Address, destination: Address) -> None:
        self._source, self._destination = ip_address(source.host), ip_address(destination.host)
        if self._source.version != self._destination.version:
            raise ValueError(f"{source} and {destination} are of two IP versions")
        self._ports = struct.pack(">HH", source.port, destination.port)
        self._sequence = 1
        self._identity = 0

    @staticmethod
    def head() -> bytes:
        """What the file begins with."""
        return _HEAD

    def record(self, time_us: int, transport: str, packet: bytes) -> bytes:
        """One packet that came at `time_us` (UNIX epoch) over "udp" or "tcp"."""
        if transport == "udp":
            return self._record(time_us, _UDP, self._datagram(packet[:DATAGRAM_BYTES_MAX]))
        framed = struct.pack(">H", len(packet) & 0xFFFF) + packet[:0xFFFF]
        pieces = range(0, len(framed), SEGMENT_BYTES_MAX)
        return b"".join(
            self._record(time_us, _TCP, self._segment(framed[at : at + SEGMENT_BYTES_MAX])) for at in pieces
        )

    def _datagram(self, payload: bytes) -> bytes:
        size = struct.pack(">H", 8 + len(payload))
        total = _sum(self._pseudo(_UDP, 8 + len(payload)) + self._ports + size + b"\0\0" + payload) or 0xFFFF
        return self._ports + size + struct.pack(">H", total) + payload

    def _segment(self, data: bytes) -> bytes:
        head = self._ports + struct.pack(">IIBBHHH", self._sequence, 1, 5 << 4, _PSH_ACK, 65_535, 0, 0)
        total = _sum(self._pseudo(_TCP, len(head) + len(data)) + head + data)
        self._sequence = (self._sequence + len(data)) & 0xFFFFFFFF
        return head[:16] + struct.pack(">H", total) + head[18:] + data

    def _record(self, time_us: int, protocol: int, payload: bytes) -> bytes:
        packet = self._ip(protocol, len(payload)) + payload
        return struct.pack("<IIII", *divmod(time_us, 1_000_000), len(packet), len(packet)) + packet

    def _ip(self, protocol: int, size: int) -> bytes:
        """The IP header (RFC 791 §3.1, RFC 8200 §3)."""
        ends = self._source.packed + self._destination.packed
        if self._source.version == 6:
            return struct.pack(">IHBB", 6 << 28, size, protocol, 64) + ends
        self._identity = (self._identity + 1) & 0xFFFF
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, self._identity, 0, 64, protocol, 0) + ends
        return head[:10] + struct.pack(">H", _sum(head)) + head[12:]

    def _pseudo(self, protocol: int, size: int) -> bytes:
        """What the checksum covers besides the packet (RFC 768, RFC 9293 §3.1, RFC 8200 §8.1)."""
        return self._source.packed + self._destination.packed + struct.pack(">II", size, protocol)


def address_of(text: str | None, like: str) -> Address:
    """Reads `host:port` as the relay writes it; of nothing, the unspecified address of the version of `like`."""
    host, _, port = (text or "").rpartition(":")
    try:
        return Address(str(_plain(ip_address(host.strip("[]")))), int(port))
    except ValueError:
        return Address("::" if _plain(ip_address(like)).version == 6 else "0.0.0.0", 0)  # noqa: S104 RUF100


def local_to(peer: Address, host: str, port: int) -> Address:
    """Our end as `peer` sees it: `host` if that is an address of the peer's version, else the unspecified address."""
    try:
        ours = _plain(ip_address(host))
    except ValueError:
        ours = ip_address(0)
    if ours.version != ip_address(peer.host).version:
        return Address("::" if ":" in peer.host else "0.0.0.0", port)  # noqa: S104 RUF100
    return Address(str(ours), port)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address in IPv6 clothes as IPv4."""
    return getattr(address, "ipv4_mapped", None) or address


def _sum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
