"""Writes captures and packets for the tests of the inspector."""

import struct
from ipaddress import ip_address


def pcap(frames: list[tuple[int, bytes]], *, link_type: int = 1, order: str = "<", nano: bool = False) -> bytes:
    """A pcap file of (time in µs, frame)."""
    magic, scale = (0xA1B23C4D, 1000) if nano else (0xA1B2C3D4, 1)
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65_535, link_type)
    for time_us, frame in frames:
        seconds, part = divmod(time_us, 1_000_000)
        data += struct.pack(order + "IIII", seconds, part * scale, len(frame), len(frame)) + frame
    return data


def pcapng(
    frames: list[tuple[int, bytes]], *, link_type: int = 1, order: str = "<", exponent: int | None = None
) -> bytes:
    """A pcapng file; `exponent`: ticks of 10⁻ⁿ s in place of µs."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + size + body + size

    options = b"" if exponent is None else struct.pack(order + "HHB3x", 9, 1, exponent) + bytes(4)
    data = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    data += block(1, struct.pack(order + "HHI", link_type, 0, 65_535) + options)
    for time_us, frame in frames:
        ticks = time_us if exponent is None else time_us * 10**exponent // 1_000_000
        head = struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
        data += block(6, head + frame)
    return data


def udp(source: tuple[str, int], destination: tuple[str, int], payload: bytes) -> bytes:
    """A UDP datagram in an IP packet."""
    head = struct.pack(">HHHH", source[1], destination[1], 8 + len(payload), 0)
    return ip(source[0], destination[0], 17, head + payload)


def tcp(
    source: tuple[str, int], destination: tuple[str, int], number: int, payload: bytes = b"", flags: int = 0x18
) -> bytes:
    """A TCP segment in an IP packet."""
    head = struct.pack(">HHIIBBHHH", source[1], destination[1], number & 0xFFFFFFFF, 0, 5 << 4, flags, 65_535, 0, 0)
    return ip(source[0], destination[0], 6, head + payload)


def ip(source: str, destination: str, protocol: int, payload: bytes, *, fragment: int = 0, identity: int = 0) -> bytes:
    """An IP packet; for IPv4 `fragment` is the field of that name."""
    ends = ip_address(source).packed + ip_address(destination).packed
    if len(ends) == 32:
        return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + ends + payload
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), identity, fragment, 64, protocol, 0) + ends + payload


def ethernet(packet: bytes) -> bytes:
    """An Ethernet frame around an IP packet."""
    return bytes(12) + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet
