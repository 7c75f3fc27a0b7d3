"""PES packets (ISO/IEC 13818-1 §2.4.3.6) as program streams carry them."""

from typing import Any, Final

from construct import (
    BitsInteger,
    BitStruct,
    Check,
    Computed,
    Const,
    Default,
    ExprAdapter,
    FixedSized,
    Flag,
    GreedyBytes,
    GreedyRange,
    If,
    IfThenElse,
    Int8ub,
    Int16ub,
    Optional,
    Peek,
    Prefixed,
    Rebuild,
    Struct,
    this,
)

START_CODE_PREFIX: Final = b"\x00\x00\x01"
HEADERLESS: Final = frozenset({0xBC, 0xBE, 0xBF, 0xF0, 0xF1, 0xF2, 0xF8, 0xFF})
"""Stream ids whose packets have no flags: the payload follows the length (ISO/IEC 13818-1 table 2-21)."""

PRIVATE_1, PADDING, PRIVATE_2 = 0xBD, 0xBE, 0xBF
AUDIO_IDS: Final = range(0xC0, 0xE0)
VIDEO_IDS: Final = range(0xE0, 0xF0)

Marker: Final = Default(BitsInteger(1), 1)

Split33: Final = ExprAdapter(
    Struct("high" / BitsInteger(3), Marker, "middle" / BitsInteger(15), Marker, "low" / BitsInteger(15), Marker),
    lambda parts, _: parts.high << 30 | parts.middle << 15 | parts.low,
    lambda ticks, _: {"high": ticks >> 30 & 7, "middle": ticks >> 15 & 0x7FFF, "low": ticks & 0x7FFF},
)
"""33 bits of a 90 kHz clock in three runs, each closed by a marker bit; for use among bits."""


def _timestamp(prefix: int) -> Any:
    """PTS or DTS: 4 bits of prefix, then the clock; 5 bytes."""
    return ExprAdapter(
        BitStruct("prefix" / Default(BitsInteger(4), prefix), "ticks" / Split33),
        lambda field, _: field.ticks,
        lambda ticks, _: {"ticks": ticks},
    )


def _present(name: str) -> Any:
    """A flag that says whether the optional field `name` is there."""
    return Rebuild(Flag, lambda context: context._.optional.get(name) is not None)


PesFlags: Final = BitStruct(
    "mark" / Default(BitsInteger(2), 0b10),
    "scrambling" / Default(BitsInteger(2), 0),
    "priority" / Default(Flag, False),
    "data_alignment" / Default(Flag, False),
    "copyright" / Default(Flag, False),
    "original" / Default(Flag, False),
    "pts" / _present("pts"),
    "dts" / _present("dts"),
    "escr" / _present("escr"),
    "es_rate" / _present("es_rate"),
    "dsm_trick_mode" / _present("dsm_trick_mode"),
    "additional_copy_info" / _present("additional_copy_info"),
    "previous_crc" / _present("previous_crc"),
    "extension" / Default(Flag, False),
)


def _optional(flag: str, field: Any) -> Any:
    """The field if its flag is set; None too if it does not fit into PES_header_data_length."""
    return flag / Default(If(this._.flags[flag], Optional(field)), None)


PesOptional: Final = Struct(
    _optional("pts", IfThenElse(this._.flags.dts, _timestamp(0b0011), _timestamp(0b0010))),
    "dts" / Default(If(this._.flags.pts & this._.flags.dts, Optional(_timestamp(0b0001))), None),  # 01 is forbidden
    _optional(
        "escr",
        BitStruct(
            "reserved" / Default(BitsInteger(2), 3), "base" / Split33, "extension" / BitsInteger(9), "last" / Marker
        ),
    ),
    _optional("es_rate", BitStruct("first" / Marker, "rate" / BitsInteger(22), "last" / Marker)),
    _optional("dsm_trick_mode", Int8ub),
    _optional("additional_copy_info", Int8ub),
    _optional("previous_crc", Int16ub),
    "rest" / Default(GreedyBytes, b""),  # extension fields and stuffing
)
"""What the flags announce. The payload starts PES_header_data_length bytes on, whatever the flags say."""

PesBody: Final = Struct(
    "flags" / PesFlags,
    "optional" / Prefixed(Int8ub, PesOptional),
    "payload" / GreedyBytes,
)

HeaderlessBody: Final = Struct("payload" / GreedyBytes)

Mpeg1Body: Final = Struct(
    "stuffing" / GreedyRange(Const(b"\xff")),
    Check(lambda context: len(context.stuffing) <= 16),
    "kind" / Peek(Int8ub),
    "buffer" / If(lambda context: (context.kind or 0) >> 6 == 0b01, Int16ub),
    "code" / Peek(Int8ub),
    "optional"
    / Struct(
        "pts" / If(lambda context: (context._.code or 0) >> 4 in {2, 3}, _timestamp(0b0010)),
        "dts" / If(lambda context: (context._.code or 0) >> 4 == 3, _timestamp(0b0001)),
    ),
    "no_times" / If(lambda context: (context.code or 0) >> 4 not in {2, 3}, Const(b"\x0f")),
    "payload" / GreedyBytes,
)
"""The older form (ISO/IEC 11172-1 §2.4.3.3), without flags and header length; for reading only."""


def _length(context: Any) -> int:
    """PES_packet_length; 0, which is allowed for video only, if 16 bits do not hold it."""
    declaration = HeaderlessBody if context.stream_id in HEADERLESS else PesBody
    size = len(declaration.build(context.body))
    return size if size < 1 << 16 else 0


_body = IfThenElse(
    lambda context: context.stream_id in HEADERLESS,
    HeaderlessBody,
    IfThenElse(lambda context: context._parsing and (context.mark or 0) >> 6 != 0b10, Mpeg1Body, PesBody),
)

PesPacket: Final = Struct(
    "start_code_prefix" / Const(START_CODE_PREFIX),
    "stream_id" / Int8ub,
    "length" / Rebuild(Int16ub, _length),
    "mark" / Peek(Int8ub),  # its first bits tell the form of the header
    "body" / IfThenElse(this.length == 0, _body, FixedSized(this.length, _body)),
    "payload" / Computed(this.body.payload),
)
"""One packet. Length 0 means up to the end of what is given: whoever cuts a stream into packets knows where that is."""


def build_pes(stream_id: int, payload: bytes, *, pts: int | None = None, dts: int | None = None) -> bytes:
    """One packet with `pts` and `dts` in ticks of 90 kHz; a `dts` without `pts` is not a form the standard has."""
    packet: bytes = PesPacket.build(
        {
            "stream_id": stream_id,
            "body": {
                "flags": {"data_alignment": pts is not None},
                "optional": {"pts": pts, "dts": dts},
                "payload": payload,
            },
        }
    )
    return packet
