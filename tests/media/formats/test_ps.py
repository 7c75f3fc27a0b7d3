"""Program stream and PES declarations against bytes of the standard's form, and their inverses."""

import pytest
from construct import ConstructError
from hypothesis import given
from hypothesis import strategies as st

from media.formats.pes import PesPacket, build_pes
from media.formats.ps import (
    PackHeader,
    ProgramStreamMap,
    SystemHeader,
    build_pack_header,
    build_stream_map,
    build_system_header,
    crc32_mpeg,
)

PACK = bytes.fromhex("000001BA4407BC548401005F6BF8")
SYSTEM = bytes.fromhex("000001BB000C80CCF504E17FE0E800C0C200")
MAP = bytes.fromhex("000001BC0012E1FF000000081BE0000090C00000B9287F16")
PES = bytes.fromhex("000001E000108C80052101EF31410000000167420000")

ticks = st.integers(0, (1 << 33) - 1)


def test_pack_header() -> None:
    header = PackHeader.parse(PACK)
    assert (header.bits.scr, header.bits.program_mux_rate) == (8_096_400, 6106)
    assert PackHeader.build(header) == PACK


def test_system_header() -> None:
    header = SystemHeader.parse(SYSTEM)
    assert (header.body.bits.audio_bound, header.body.bits.video_bound) == (1, 1)
    assert [(s.stream_id, s.size << (10 if s.scale else 7)) for s in header.body.streams] == [
        (0xE0, 2048 * 1024),
        (0xC0, 512 * 128),
    ]
    assert SystemHeader.build(header) == SYSTEM


def test_stream_map() -> None:
    psm = ProgramStreamMap.parse(MAP)
    assert [(s.stream_type, s.stream_id) for s in psm.streams] == [(0x1B, 0xE0), (0x90, 0xC0)]
    assert psm.bits.version == 1
    assert ProgramStreamMap.build(psm) == MAP
    assert crc32_mpeg(MAP) == 0


def test_the_inner_length_of_a_stream_map_is_not_trusted() -> None:
    lying = MAP[:10] + b"\xff\xff" + MAP[12:]
    assert [s.stream_type for s in ProgramStreamMap.parse(lying).streams] == [0x1B, 0x90]


def test_crc_of_the_standard_check_string() -> None:
    assert crc32_mpeg(b"123456789") == 0x0376E6E7


def test_pes_packet() -> None:
    packet = PesPacket.parse(PES)
    assert (packet.stream_id, packet.body.optional.pts) == (0xE0, 8_100_000)
    assert packet.payload == bytes.fromhex("0000000167420000")
    assert PesPacket.build(packet) == PES


def test_a_header_too_short_for_its_flags_still_gives_the_payload() -> None:
    packet = PesPacket.parse(bytes.fromhex("000001E000058480000102"))
    assert packet.body.optional.pts is None
    assert packet.payload == b"\x01\x02"


def test_private_stream_2_has_no_flags() -> None:
    assert PesPacket.parse(bytes.fromhex("000001BF0003AABBCC")).payload == b"\xaa\xbb\xcc"


def test_length_zero_reaches_to_the_end() -> None:
    packet = PesPacket.parse(b"\x00\x00\x01\xe0\x00\x00\x80\x00\x00" + b"x" * 70_000)
    assert len(packet.payload) == 70_000
    assert build_pes(0xE0, b"x" * 70_000)[4:6] == b"\x00\x00"


def test_a_truncated_packet_is_an_error() -> None:
    with pytest.raises(ConstructError):
        PesPacket.parse(PES[:-1])


@given(ticks, st.integers(0, (1 << 22) - 1), st.integers(0, 7))
def test_pack_headers(scr: int, mux_rate: int, stuffing: int) -> None:
    data = build_pack_header(scr, mux_rate=mux_rate, stuffing=stuffing)
    header = PackHeader.parse(data)
    assert (header.bits.scr, header.bits.program_mux_rate, len(header.stuffing)) == (scr, mux_rate, stuffing)
    assert PackHeader.build(header) == data
    assert len(data) == 14 + stuffing


@given(st.sampled_from([0xC0, 0xE0, 0xBD]), st.none() | ticks, st.binary(max_size=300), st.booleans())
def test_pes_packets(stream_id: int, pts: int | None, payload: bytes, with_dts: bool) -> None:
    dts = (pts - 3600) % (1 << 33) if with_dts and pts is not None else None
    data = build_pes(stream_id, payload, pts=pts, dts=dts)
    packet = PesPacket.parse(data)
    assert (packet.body.optional.pts, packet.body.optional.dts, packet.payload) == (pts, dts, payload)
    assert PesPacket.build(packet) == data


@given(st.dictionaries(st.integers(0xC0, 0xEF), st.integers(0, 255), max_size=6), st.binary(max_size=40))
def test_stream_maps(streams: dict[int, int], info: bytes) -> None:
    data = build_stream_map(streams, info=info)
    psm = ProgramStreamMap.parse(data)
    assert {s.stream_id: s.stream_type for s in psm.streams} == streams
    assert psm.info == info
    assert crc32_mpeg(data) == 0
    assert psm.length == len(data) - 6


def test_system_headers() -> None:
    header = SystemHeader.parse(build_system_header({0xE0: 1 << 20, 0xC0: 4096}))
    assert [(s.stream_id, s.scale, s.size) for s in header.body.streams] == [(0xE0, 1, 1024), (0xC0, 0, 32)]


@given(st.sampled_from([PACK, SYSTEM, MAP, PES]), st.integers(4, 23), st.integers(0, 255))
def test_a_changed_byte_is_parsed_or_an_error(data: bytes, at: int, value: int) -> None:
    changed = data[:at] + bytes([value]) + data[at + 1 :]
    for declaration in (PackHeader, SystemHeader, ProgramStreamMap, PesPacket):
        try:
            declaration.parse(changed)
        except ConstructError:
            continue
