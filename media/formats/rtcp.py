"""RTCP packets (RFC 3550 §6): sender and receiver reports, source description, goodbye; others as bytes.

```
|V=2|P|  count  |      PT       |   length in 32-bit words − 1  |
```
"""

from typing import Final

from construct import (
    Aligned,
    Array,
    BitsInteger,
    BitStruct,
    Const,
    Default,
    Flag,
    GreedyBytes,
    GreedyRange,
    Int8ub,
    Int16ub,
    Int24sb,
    Int32ub,
    Optional,
    Padding,
    Pass,
    Prefixed,
    RepeatUntil,
    Struct,
    Switch,
    this,
)
from construct import ExprAdapter as Expression

SENDER_REPORT, RECEIVER_REPORT, SOURCE_DESCRIPTION, GOODBYE, APPLICATION = 200, 201, 202, 203, 204

ReportBlock: Final = Struct(
    "ssrc" / Int32ub,
    "fraction_lost" / Int8ub,  # in 1/256
    "cumulative_lost" / Int24sb,
    "extended_highest_sequence_number" / Int32ub,
    "jitter" / Int32ub,  # in timestamp units
    "last_sr" / Int32ub,  # middle 32 bits of the NTP time of the last SR
    "delay_since_last_sr" / Int32ub,  # in 1/65536 s
)
"""What a receiver says about one source (RFC 3550 §6.4.1)."""

_reports = Array(this._.head.count, ReportBlock)

SenderReport: Final = Struct(
    "ssrc" / Int32ub,
    "ntp_seconds" / Int32ub,
    "ntp_fraction" / Int32ub,
    "rtp_timestamp" / Int32ub,
    "packet_count" / Int32ub,
    "octet_count" / Int32ub,
    "reports" / Default(_reports, []),
    "extension" / Default(GreedyBytes, b""),
)

ReceiverReport: Final = Struct(
    "ssrc" / Int32ub,
    "reports" / Default(_reports, []),
    "extension" / Default(GreedyBytes, b""),
)

DescriptionItem: Final = Struct(
    "kind" / Int8ub,  # 1 CNAME, 2 NAME, 3 EMAIL, 4 PHONE, 5 LOC, 6 TOOL, 7 NOTE, 8 PRIV; 0 ends the chunk
    "text" / Switch(this.kind, {0: Pass}, default=Prefixed(Int8ub, GreedyBytes)),
)

DescriptionChunk: Final = Struct(
    "ssrc" / Int32ub,
    "items" / RepeatUntil(lambda item, _items, _context: item["kind"] == 0, DescriptionItem),
    Padding(lambda context: -sum(2 + len(item["text"]) if item["kind"] else 1 for item in context["items"]) % 4),
)

Goodbye: Final = Aligned(
    4,
    Struct(
        "sources" / Array(this._.head.count, Int32ub),
        "reason" / Optional(Prefixed(Int8ub, GreedyBytes)),
    ),
)

RtcpPacket: Final = Struct(
    "head"
    / BitStruct(
        "version" / Const(2, BitsInteger(2)),
        "padding" / Default(Flag, False),
        "count" / Default(BitsInteger(5), 0),
        "packet_type" / BitsInteger(8),
    ),
    "body"
    / Prefixed(
        Expression(Int16ub, lambda words, _: words * 4, lambda size, _: size // 4),
        Switch(
            this.head.packet_type,
            {
                SENDER_REPORT: SenderReport,
                RECEIVER_REPORT: ReceiverReport,
                SOURCE_DESCRIPTION: Array(this.head.count, DescriptionChunk),
                GOODBYE: Goodbye,
            },
            default=GreedyBytes,
        ),
    ),
)

RtcpCompound: Final = GreedyRange(RtcpPacket)
"""A datagram of RTCP: several packets after one another (RFC 3550 §6.1)."""


def is_rtcp(packet: bytes) -> bool:
    """Whether a packet on a shared port or connection is RTCP: type 200–207 (RFC 5761 §4)."""
    return len(packet) >= 8 and packet[0] >> 6 == 2 and 200 <= packet[1] <= 207
