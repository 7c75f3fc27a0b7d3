"""RTP, its TCP framings and RTCP: parse∘build and build∘parse are the identity."""

import pytest
from construct import ConstructError
from hypothesis import given
from hypothesis import strategies as st

from media.formats.rtcp import RtcpCompound, RtcpPacket, is_rtcp
from media.formats.rtp import InterleavedFrame, Rfc4571Frame, RtpPacket, build_rtp

uint16, uint32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)


@given(
    sequence=uint16,
    timestamp=uint32,
    ssrc=uint32,
    payload=st.binary(max_size=200),
    marker=st.booleans(),
    kind=st.integers(0, 127),
    padding=st.integers(0, 255),
)
def test_what_is_built_is_parsed(
    *, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool, kind: int, padding: int
) -> None:
    data = build_rtp(sequence, timestamp, ssrc, payload, marker=marker, payload_type=kind, padding=padding)
    packet = RtpPacket.parse(data)
    assert (packet.sequence_number, packet.timestamp, packet.ssrc) == (sequence, timestamp, ssrc)
    assert (packet.payload, packet.bits.marker, packet.bits.payload_type) == (payload, marker, kind)
    assert RtpPacket.build(packet) == data


@given(st.binary(min_size=10, max_size=80).map(lambda data: bytes([0x80 | data[0] & 0x3F]) + data[1:]))
def test_any_bytes_are_a_packet_or_an_error(data: bytes) -> None:
    try:
        packet = RtpPacket.parse(data)
    except ConstructError:
        return
    assert RtpPacket.build(packet) == data


def test_contributing_sources_and_extension() -> None:
    data = bytes.fromhex("92 60 0001 00000002 00000003 0000000A 0000000B BEDE 0001 01020304 AABB".replace(" ", ""))
    packet = RtpPacket.parse(data)
    assert list(packet.csrc) == [10, 11]
    assert (packet.extension.profile, packet.extension.data) == (0xBEDE, b"\x01\x02\x03\x04")
    assert packet.payload == b"\xaa\xbb"


def test_padding_longer_than_the_packet_is_an_error() -> None:
    with pytest.raises(ConstructError):
        RtpPacket.parse(bytes.fromhex("A060000100000002000000030102FF"))


@given(st.binary(max_size=100))
def test_framings(packet: bytes) -> None:
    assert Rfc4571Frame.parse(Rfc4571Frame.build(packet)) == packet
    assert InterleavedFrame.build({"packet": packet})[:2] == b"$\x00"
    assert InterleavedFrame.parse(InterleavedFrame.build({"packet": packet})).packet == packet


def test_a_compound_of_sender_report_description_and_goodbye() -> None:
    data = bytes.fromhex(
        "81C8000C 06DAC2C1 E8A1B2C3 80000000 000005A0 00000010 00004000"  # SR
        "0000000B 40FFFFFE 00010203 00000021 A1B2C3D4 00010000"  # one report block, cumulative loss −2
        "81CA0003 06DAC2C1 01026361 00000000"  # SDES, CNAME "ca"
        "81CB0001 06DAC2C1".replace(" ", "")  # BYE
    )
    report, description, goodbye = RtcpCompound.parse(data)
    assert report.body.packet_count == 16
    assert (report.body.reports[0].fraction_lost, report.body.reports[0].cumulative_lost) == (64, -2)
    assert description.body[0]["items"][0].text == b"ca"
    assert list(goodbye.body.sources) == [0x06DAC2C1]
    assert RtcpCompound.build([report, description, goodbye]) == data
    assert is_rtcp(data)
    assert not is_rtcp(build_rtp(1, 2, 3, b"payload"))


def test_a_receiver_report_is_built_from_values() -> None:
    block = {"ssrc": 7, "fraction_lost": 0, "cumulative_lost": 0, "extended_highest_sequence_number": 9}
    block |= {"jitter": 1, "last_sr": 0, "delay_since_last_sr": 0}
    packet = {"head": {"packet_type": 201, "count": 1}, "body": {"ssrc": 1, "reports": [block]}}
    assert (
        RtcpPacket.build(packet).hex()
        == "81c90007" + "00000001" + "00000007" + "00" * 7 + "09" + "00" * 3 + "01" + "00" * 8
    )
