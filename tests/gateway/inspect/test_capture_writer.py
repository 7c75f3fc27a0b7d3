"""What the writer writes, the reader reads: same packets, same addresses, right checksums."""

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inspect.capture import read_capture
from gateway.inspect.capture_writer import CaptureWriter, address_of, local_to
from gateway.inspect.framing import RtpDeframer
from gateway.inspect.network import Address, Network

V4 = Address("198.51.100.7", 15060), Address("192.0.2.1", 30000)
V6 = Address("2001:db8::7", 15060), Address("2001:db8::1", 30000)

packets = st.lists(st.binary(min_size=12, max_size=70_000).filter(lambda data: len(data) <= 65_507), max_size=5)


def network_of(data: bytes) -> list[tuple[int, bytes, Address, Address, bool]]:
    network = Network()
    return [
        (found.time_us, found.data, found.source, found.destination, found.is_tcp)
        for frame in read_capture(BytesIO(data))
        for found in network.handle_frame(frame)
    ]


@given(packets, st.sampled_from([V4, V6]))
def test_datagrams_come_back(sent: list[bytes], ends: tuple[Address, Address]) -> None:
    writer = CaptureWriter(*ends)
    data = writer.head() + b"".join(writer.record(1_700_000_000_000_000 + n, "udp", one) for n, one in enumerate(sent))
    found = network_of(data)
    assert found == [(1_700_000_000_000_000 + n, one, *ends, False) for n, one in enumerate(sent)]


@given(st.lists(st.binary(min_size=12, max_size=65_535), min_size=1, max_size=4), st.sampled_from([V4, V6]))
def test_what_came_over_tcp_is_framed_again(sent: list[bytes], ends: tuple[Address, Address]) -> None:
    rtp = [b"\x80\x60" + one[2:] for one in sent]
    writer, deframer = CaptureWriter(*ends), RtpDeframer()
    data = writer.head() + b"".join(writer.record(n, "tcp", one) for n, one in enumerate(rtp))
    stream = b"".join(piece[1] for piece in network_of(data))
    assert stream == b"".join(struct.pack(">H", len(one)) + one for one in rtp)
    assert all(piece[4] for piece in network_of(data))
    assert len(list(deframer.handle(stream))) <= len(rtp)


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("payload", [b"\x80" * 12, b"\x80" * 13])
def test_checksums_add_up(transport: str, payload: bytes) -> None:
    writer = CaptureWriter(*V4)
    (frame,) = read_capture(BytesIO(writer.head() + writer.record(0, transport, payload)))
    head, rest = frame.data[:20], frame.data[20:]
    assert checksum(head) == 0xFFFF
    assert checksum(head[12:20] + struct.pack(">BBH", 0, head[9], len(rest)) + rest) == 0xFFFF


def test_addresses_as_the_relay_writes_them() -> None:
    assert address_of("198.51.100.7:15060", like="0.0.0.0") == V4[0]
    assert address_of("[::ffff:198.51.100.7]:15060", like="::") == V4[0]
    assert address_of("[2001:db8::7]:15060", like="0.0.0.0") == V6[0]
    assert address_of(None, like="2001:db8::1") == Address("::", 0)
    assert local_to(V6[0], "192.0.2.1", 30000) == Address("::", 30000)
    assert local_to(V4[0], "gateway.example", 30000) == Address("0.0.0.0", 30000)
    with pytest.raises(ValueError, match="two IP versions"):
        CaptureWriter(V4[0], V6[1])
