"""The relay's decoder in Rust against the construct declarations: on generated streams and on damaged ones."""

from random import Random

import pytest
from construct import ConstructError
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.simulator.clip import ClipSpec, clip
from gateway.simulator.model import AccessUnit, AudioCodec, VideoCodec
from gateway.simulator.ps_writer import PsFault, PsWriter
from media.formats.pes import AUDIO_IDS, VIDEO_IDS, build_pes
from media.formats.ps import build_pack_header, build_stream_map, build_system_header
from media.formats.rtp import RtpPacket, build_rtp
from media.formats.walk import Fault, Kind, PsWalker

core = pytest.importorskip("media._core", reason="the relay's core is not built")

Packet = tuple[int, int | None, int | None, bytes, bool]
PACK = b"\x00\x00\x01\xba"


def by_declarations(data: bytes) -> list[Packet]:
    """Stream id, PTS, DTS, payload, whether whole: as the walker sees the stream from its first pack header on."""
    start = data.find(PACK)
    if start < 0:
        return []
    walker = PsWalker()
    return [
        (one.stream_id, optional.pts, optional.dts, one.fields.payload, one.fault is not Fault.TRUNCATED)
        for one in [*walker.handle(data[start:]), *walker.finish()]
        if one.kind is Kind.PES and one.fields is not None and (optional := one.fields.body.optional) is not None
    ]


def by_core(data: bytes) -> list[Packet]:
    packets, _ = core.demux_ps(data)
    return [(one.stream_id, one.pts, one.dts, one.payload, one.whole) for one in packets]


def agree(data: bytes) -> None:
    assert by_core(data) == by_declarations(data)


# --- RTP


@given(st.binary(max_size=120), st.sampled_from([None, 0x80, 0x90, 0xA0, 0xB3, 0x8F]))
def test_rtp(data: bytes, first: int | None) -> None:
    if first is not None:
        data = bytes([first]) + data[1:]
    try:
        expected = RtpPacket.parse(data)
    except ConstructError:
        with pytest.raises(ValueError, match=r".+"):
            core.parse_rtp(data)
        return
    packet = core.parse_rtp(data)
    assert (packet.seq, packet.timestamp, packet.ssrc) == (
        expected.sequence_number,
        expected.timestamp,
        expected.ssrc,
    )
    assert (packet.marker, packet.payload_type, packet.payload) == (
        expected.bits.marker,
        expected.bits.payload_type,
        expected.payload,
    )


@given(
    changes=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), max_size=4),
    padding=st.integers(0, 8),
)
def test_damaged_rtp(changes: list[tuple[int, int]], padding: int) -> None:
    data = bytearray(build_rtp(7, 90_000, 115_000_001, bytes(range(24)), marker=True, padding=padding))
    for at, value in changes:
        data[at % len(data)] = value
    test_rtp.hypothesis.inner_test(bytes(data), None)  # type: ignore[attr-defined]


# --- program streams


def stream(faults: frozenset[PsFault], codec: VideoCodec, seed: int) -> bytes:
    """A short stream of odd sizes, with pictures that look like start codes at their ends."""
    random, writer, parts = Random(seed), PsWriter(codec, AudioCodec.G711A, faults=faults), []
    for number in range(random.randrange(2, 12)):
        ticks = random.randrange(1 << 33)
        picture = b"\x00\x00\x00\x01\x41" + random.randbytes(random.randrange(400)) + b"\x00" * random.randrange(4)
        # Encoders never write a start code of the system layer into a picture.
        picture = picture.replace(b"\x00\x00\x01", b"\x00\x00\x03").replace(b"\x00\x00\x03\x41", b"\x00\x00\x01\x41", 1)
        parts.append(writer.write(AccessUnit(True, number % 4 == 0, ticks, max(0, ticks - 3600), picture)))
        parts.append(writer.write(AccessUnit(False, True, ticks, ticks, random.randbytes(320))))
    return b"".join(parts)


streams = st.builds(
    stream, st.frozensets(st.sampled_from(PsFault), max_size=3), st.sampled_from(VideoCodec), st.integers(0, 10_000)
)


@settings(deadline=None, max_examples=50)
@given(streams)
def test_streams_of_the_writer(data: bytes) -> None:
    assert by_core(data)
    agree(data)


@settings(deadline=None, max_examples=100)
@given(streams, st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=12))
def test_damaged_streams(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    agree(bytes(damaged))


@settings(deadline=None, max_examples=100)
@given(streams, st.data())
def test_cut_and_repeated_streams(data: bytes, draw: st.DataObject) -> None:
    start, end = sorted((draw.draw(st.integers(0, len(data))), draw.draw(st.integers(0, len(data)))))
    agree(data[start:end])
    agree(data[:start] + data[end:])
    agree(data[:end] + data[start:])


PIECES = [
    build_pack_header(3600),
    build_pack_header(3600, stuffing=7),
    b"\x00\x00\x01\xba",
    b"\x00\x00\x01\xba\x21\x00\x01\x00\x01\x80\x00\x01",
    build_system_header({0xE0: 4096}),
    build_stream_map({0xE0: 0x1B, 0xC0: 0x90}),
    build_stream_map({0xE0: 0x1B})[:-6],
    build_pes(0xE0, b"\x00\x00\x01\x65picture", pts=3600, dts=0),
    build_pes(0xE0, b"", pts=3600),
    build_pes(0xC0, b"sound", pts=7200),
    b"\x00\x00\x01\xe0\x00\x00\x80\x00\x00\x00\x00\x01\x41open",
    b"\x00\x00\x01\xc0\x00\x00\x80\x80\x05\x21\x00\x01\x00\x01open sound",
    b"\x00\x00\x01\xe0\x00\x04\x80\x00\x09\x00",
    b"\x00\x00\x01\xe0\x00\x0a\xff\xff\x60\x10\x0folder",
    b"\x00\x00\x01\xe0\x00\x0b\x21\x00\x01\x00\x01folder",
    b"\x00\x00\x01\xbd\x00\x08\x00\x00\x01\xba\x00\x00\x01\xe0",
    b"\x00\x00\x01\xbf\x00\x00",
    b"\x00\x00\x01\xf0\x00\x01\x00",
    b"\x00\x00\x01\xb9",
    b"\x00\x00\x01\x65",
    b"\x00\x00\x01",
    b"\x00\x00\x00",
    b"\xff\xff",
    b"\x00\x00",
    b"\x01",
    b"junk",
]


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_pieces_in_any_order(pieces: list[bytes]) -> None:
    agree(PACK + b"".join(pieces))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)), max_size=12))
def test_pieces_among_any_bytes(pieces: list[bytes]) -> None:
    agree(PIECES[0] + b"".join(pieces))


@pytest.mark.parametrize("codec", list(VideoCodec))
def test_a_real_clip(codec: VideoCodec) -> None:
    spec = ClipSpec(video=codec, audio=AudioCodec.AAC, width=320, height=180, fps=10)
    writer = PsWriter(codec, AudioCodec.AAC)
    data = b"".join(writer.write(unit) for unit in clip(spec).units)
    agree(data)
    for ids, is_video in ((VIDEO_IDS, True), (AUDIO_IDS, False)):
        sent = b"".join(unit.data for unit in clip(spec).units if unit.is_video is is_video)
        assert b"".join(packet[3] for packet in by_core(data) if packet[0] in ids) == sent
