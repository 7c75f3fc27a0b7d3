"""MPEG-2 program streams (ISO/IEC 13818-1 §2.5) in the profile of GB/T 28181-2016 annex C.

```
key frame:     pack header | system header | program stream map | PES video … | PES audio
other frames:  pack header | PES video … | PES audio
```
"""

from typing import Any, Final

from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    Const,
    Default,
    FixedSized,
    Flag,
    GreedyRange,
    Int8ub,
    Int16ub,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    this,
)

from media.formats.pes import Marker, Split33

END, PACK, SYSTEM_HEADER, STREAM_MAP = 0xB9, 0xBA, 0xBB, 0xBC
PSM_BYTES_MAX: Final = 1018
"""Largest program_stream_map_length (ISO/IEC 13818-1 §2.5.4.1)."""

STREAM_TYPES: Final[dict[int, str]] = {
    0x02: "MPEG-2 video",
    0x03: "MP3",
    0x04: "MP3",
    0x0F: "AAC",
    0x10: "MPEG-4 video",
    0x11: "AAC LATM",
    0x1B: "H.264",
    0x24: "H.265",
    0x80: "SVAC video",
    0x90: "G.711A",
    0x91: "G.711U",
    0x92: "G.722.1",
    0x93: "G.723.1",
    0x99: "G.729",
    0x9B: "SVAC audio",
}
"""Names of stream_type in a program stream map: ISO/IEC 13818-1 table 2-34 and GB/T 28181-2016 annex C."""


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        table.append(value)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def crc32_mpeg(data: bytes) -> int:
    """CRC-32 of ISO/IEC 13818-1 annex A: polynomial 04C11DB7, start FFFFFFFF, most significant bit first, no final xor.

    Over a whole section including its CRC it is 0.
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC_TABLE[crc >> 24 ^ byte]
    return crc


PackHeader: Final = Struct(
    "start_code" / Const(b"\x00\x00\x01\xba"),
    "bits"
    / BitStruct(
        "mark" / Const(0b01, BitsInteger(2)),  # MPEG-1 has 0010 here and is another layout
        "scr" / Split33,  # 90 kHz
        "scr_extension" / Default(BitsInteger(9), 0),  # 27 MHz
        "scr_marker" / Marker,
        "program_mux_rate" / BitsInteger(22),  # in 50 bytes/s
        "rate_markers" / Default(BitsInteger(2), 0b11),
        "reserved" / Default(BitsInteger(5), 0b11111),
        "stuffing_length" / Rebuild(BitsInteger(3), lambda context: len(context._.get("stuffing") or b"")),
    ),
    "stuffing" / Default(Bytes(this.bits.stuffing_length), b""),
)
"""ISO/IEC 13818-1 §2.5.3.3; 14 bytes and the stuffing."""

BufferBound: Final = BitStruct(
    "stream_id" / BitsInteger(8),
    "mark" / Default(BitsInteger(2), 0b11),
    "scale" / BitsInteger(1),  # 0: units of 128 bytes, 1: of 1024
    "size" / BitsInteger(13),
)

SystemHeader: Final = Struct(
    "start_code" / Const(b"\x00\x00\x01\xbb"),
    "body"
    / Prefixed(
        Int16ub,
        Struct(
            "bits"
            / BitStruct(
                "marker_1" / Marker,
                "rate_bound" / BitsInteger(22),
                "marker_2" / Marker,
                "audio_bound" / BitsInteger(6),
                "fixed" / Default(Flag, False),
                "constrained" / Default(Flag, False),
                "audio_lock" / Default(Flag, True),
                "video_lock" / Default(Flag, True),
                "marker_3" / Marker,
                "video_bound" / BitsInteger(5),
                "packet_rate_restriction" / Default(Flag, False),
                "reserved" / Default(BitsInteger(7), 0x7F),
            ),
            "streams" / GreedyRange(BufferBound),
        ),
    ),
)
"""ISO/IEC 13818-1 §2.5.3.5."""

MappedStream: Final = Struct(
    "stream_type" / Int8ub,
    "stream_id" / Int8ub,
    "info_length" / Rebuild(Int16ub, lambda context: len(context.get("info") or b"")),
    "info" / Default(Bytes(this.info_length), b""),  # descriptors
)


def _psm_length(context: Any) -> int:
    return 10 + len(context.get("info") or b"") + _streams_length(context)


def _streams_length(context: Any) -> int:
    return sum(4 + len(stream.get("info") or b"") for stream in context.streams)


_psm_fields = (
    "start_code" / Const(b"\x00\x00\x01\xbc"),
    "length" / Rebuild(Int16ub, _psm_length),
    "bits"
    / Default(
        BitStruct(
            "current_next" / Default(Flag, True),
            "single_extension_stream" / Default(Flag, True),  # reserved before the edition of 2013
            "reserved_1" / Default(BitsInteger(1), 1),
            "version" / Default(BitsInteger(5), 0),
            "reserved_2" / Default(BitsInteger(7), 0x7F),
            "marker" / Marker,
        ),
        {},
    ),
    "info_length" / Rebuild(Int16ub, lambda context: len(context.get("info") or b"")),
    "info" / Default(Bytes(this.info_length), b""),  # descriptors
    "streams_length" / Rebuild(Int16ub, _streams_length),
    # Devices write nonsense into streams_length; what the outer length leaves is right.
    "streams" / FixedSized(this.length - this.info_length - 10, GreedyRange(MappedStream)),
)
_psm_head = Struct(*_psm_fields)


def _psm_crc(context: Any) -> int:
    return crc32_mpeg(_psm_head.build({name: value for name, value in context.items() if not name.startswith("_")}))


ProgramStreamMap: Final = Struct(*_psm_fields, "crc" / Rebuild(Int32ub, _psm_crc))
"""ISO/IEC 13818-1 §2.5.4.1; the CRC is parsed, not checked: `crc32_mpeg` over all bytes is 0 if it is right."""


def build_pack_header(scr: int, *, mux_rate: int = 50_000, stuffing: int = 0) -> bytes:
    """A pack header; `scr` in ticks of 90 kHz, `mux_rate` in units of 50 bytes/s, `stuffing` 0–7 bytes."""
    header: bytes = PackHeader.build(
        {"bits": {"scr": scr, "program_mux_rate": mux_rate}, "stuffing": b"\xff" * stuffing}
    )
    return header


def build_system_header(bounds: dict[int, int], *, rate_bound: int = 50_000) -> bytes:
    """A system header for the streams in `bounds`: id → buffer size in bytes."""
    audio = sum(0xC0 <= stream_id < 0xE0 for stream_id in bounds)
    streams = []
    for stream_id, size in bounds.items():
        scale = int(stream_id >= 0xE0)
        streams.append({"stream_id": stream_id, "scale": scale, "size": size // (1024 if scale else 128)})
    header: bytes = SystemHeader.build(
        {
            "body": {
                "bits": {"rate_bound": rate_bound, "audio_bound": audio, "video_bound": len(bounds) - audio},
                "streams": streams,
            }
        }
    )
    return header


def build_stream_map(streams: dict[int, int], *, version: int = 0, info: bytes = b"") -> bytes:
    """A program stream map of `streams`: id → stream_type."""
    mapped = [{"stream_id": stream_id, "stream_type": kind} for stream_id, kind in streams.items()]
    psm: bytes = ProgramStreamMap.build({"bits": {"version": version}, "info": info, "streams": mapped})
    return psm
