"""Frames become datagrams and ordered bytes."""

import itertools
import struct
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.inspect.capture import Frame
from gateway.inspect.network import Address, Datagram, Network
from tests.gateway.inspect.captures import ethernet, ip, tcp, udp

A, B = ("192.0.2.1", 5060), ("192.0.2.2", 30_000)
A6, B6 = ("2001:db8::1", 5060), ("2001:db8::2", 30_000)


def run(*packets: bytes, link_type: int = 101, network: Network | None = None) -> list[Datagram]:
    network = network or Network()
    return [one for packet in packets for one in network.handle_frame(Frame(0, link_type, packet))]


def test_link_types() -> None:
    packet = udp(A, B, b"payload")
    links = {
        1: ethernet(packet),
        101: packet,
        0: b"\x02\x00\x00\x00" + packet,
        113: bytes(14) + b"\x08\x00" + packet,
        276: b"\x08\x00" + bytes(18) + packet,
    }
    for link_type, frame in links.items():
        (datagram,) = run(frame, link_type=link_type)
        assert (str(datagram.source), str(datagram.destination)) == ("192.0.2.1:5060", "192.0.2.2:30000")
        assert datagram.data == b"payload"
    tagged = bytes(12) + b"\x81\x00\x00\x05\x08\x00" + packet
    assert run(tagged, link_type=1)[0].data == b"payload"


def test_ipv6() -> None:
    (datagram,) = run(udp(A6, B6, b"payload"))
    assert str(datagram.source) == "[2001:db8::1]:5060"


def test_fragments_in_any_order() -> None:
    whole = udp(A, B, bytes(range(250)) * 10)[20:]
    parts = [(at, whole[at : at + 800]) for at in range(0, len(whole), 800)]
    packets = [
        ip(A[0], B[0], 17, part, fragment=at // 8 | (0x2000 if at + 800 < len(whole) else 0), identity=7)
        for at, part in parts
    ]
    for order in (packets, packets[::-1]):
        (datagram,) = run(*order)
        assert datagram.data == bytes(range(250)) * 10


def test_ipv6_fragments() -> None:
    whole = udp(A6, B6, bytes(3000))[40:]

    def piece(at: int, size: int, more: int) -> bytes:
        return ip(A6[0], B6[0], 44, struct.pack(">BBHI", 17, 0, at | more, 9) + whole[at : at + size])

    (datagram,) = run(piece(0, 1600, 1), piece(1600, 2000, 0))
    assert datagram.data == bytes(3000)


def test_unfinished_fragments_are_bounded() -> None:
    network = Network()
    for identity in range(1000):
        run(ip(A[0], B[0], 17, bytes(16), fragment=0x2000, identity=identity), network=network)
    assert network.counts.incomplete >= 700


@given(st.integers(0, 2**32 - 1), st.integers(0, 1000))
def test_tcp_segments_in_any_order(start: int, seed: int) -> None:
    data = bytes(Random(seed).randbytes(5000))
    cuts = sorted({0, 5000, *(Random(seed).randrange(5000) for _ in range(20))})
    segments = [(at, data[at:end]) for at, end in itertools.pairwise(cuts)]
    segments += segments[:5]  # retransmissions
    Random(seed + 1).shuffle(segments)
    packets = [tcp(A, B, start - 1, flags=2)] + [tcp(A, B, start + at, part) for at, part in segments]
    assert b"".join(datagram.data for datagram in run(*packets)) == data


def test_a_missing_segment_is_given_up() -> None:
    network = Network()
    out = run(tcp(A, B, 1000, b"abc"), network=network)
    for number in range(1100):
        out += run(tcp(A, B, 2000 + number * 1000, bytes(1000)), network=network)
    assert network.counts.tcp_gaps == 1
    assert [datagram.gap for datagram in out[:2]] == [False, True]


def test_what_is_no_ip() -> None:
    network = Network()
    assert run(b"", b"\x00" * 30, bytes(12) + b"\x08\x06" + bytes(30), link_type=1, network=network) == []
    assert network.counts.not_ip == 3


@given(st.binary(max_size=80), st.sampled_from([0, 1, 101, 113, 276]))
def test_any_frame(data: bytes, link_type: int) -> None:
    run(data, b"\x45" + data, b"\x60" + data, link_type=link_type)


def test_addresses_are_written_as_usual() -> None:
    assert [str(Address(*end)) for end in (A, A6)] == ["192.0.2.1:5060", "[2001:db8::1]:5060"]
