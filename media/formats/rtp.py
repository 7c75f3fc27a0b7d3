"""RTP data packets (RFC 3550 §5.1) and the two ways they travel over TCP (RFC 4571 §2, RFC 2326 §10.12).

```
 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
|V=2|P|X|  CC   |M|     PT      |       sequence number         |
|                           timestamp                           |
|                             SSRC                              |
|                  CSRC × CC, then extension if X               |
|                    payload, padding if P                      |
```
"""

from typing import Any, Final

from construct import (
    Array,
    BitsInteger,
    BitStruct,
    Bytes,
    Computed,
    Const,
    Default,
    Flag,
    GreedyBytes,
    If,
    Int8ub,
    Int16ub,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    this,
)
from construct import ValidationError as ConstructValidationError

VERSION: Final = 2


def _unpad(context: Any) -> bytes:
    """The payload without its padding, whose last byte tells its length (RFC 3550 §5.1, P)."""
    body: bytes = context.body
    if not context.bits.padding:
        return body
    if not body or not 1 <= body[-1] <= len(body):
        raise ConstructValidationError("RTP padding is longer than the packet (RFC 3550 §5.1)")
    return body[: -body[-1]]


HeaderExtension: Final = Struct(
    "profile" / Int16ub,
    "length" / Rebuild(Int16ub, lambda context: len(context.data) // 4),  # in 32-bit words
    "data" / Bytes(this.length * 4),
)
"""The header extension that X announces (RFC 3550 §5.3.1)."""

RtpPacket: Final = Struct(
    "bits"
    / BitStruct(
        "version" / Const(VERSION, BitsInteger(2)),
        "padding" / Default(Flag, False),
        "extension" / Rebuild(Flag, lambda context: context._.get("extension") is not None),
        "csrc_count" / Rebuild(BitsInteger(4), lambda context: len(context._.get("csrc") or ())),
        "marker" / Default(Flag, False),
        "payload_type" / BitsInteger(7),
    ),
    "sequence_number" / Int16ub,
    "timestamp" / Int32ub,
    "ssrc" / Int32ub,
    "csrc" / Default(Array(this.bits.csrc_count, Int32ub), []),
    "extension" / Default(If(this.bits.extension, HeaderExtension), None),
    "body" / GreedyBytes,  # payload and padding
    "payload" / Computed(_unpad),
)
"""One packet, from the first byte to the last of the datagram or frame."""

Rfc4571Frame: Final = Prefixed(Int16ub, GreedyBytes)
"""A packet on a TCP connection: 16 bits of length, then RTP or RTCP (RFC 4571 §2)."""

InterleavedFrame: Final = Struct(
    "dollar" / Const(b"$"),
    "channel" / Default(Int8ub, 0),
    "packet" / Rfc4571Frame,
)
"""The framing of RTSP (RFC 2326 §10.12), which some devices use in place of RFC 4571."""


def build_rtp(
    sequence_number: int,
    timestamp: int,
    ssrc: int,
    payload: bytes,
    *,
    marker: bool = False,
    payload_type: int = 96,
    padding: int = 0,
) -> bytes:
    """One packet; sequence number and timestamp are taken modulo 2¹⁶ and 2³², `padding` is in bytes (0–255)."""
    tail = bytes(padding - 1) + bytes([padding]) if padding else b""
    packet: bytes = RtpPacket.build(
        {
            "bits": {"padding": padding > 0, "marker": marker, "payload_type": payload_type},
            "sequence_number": sequence_number & 0xFFFF,
            "timestamp": timestamp & 0xFFFFFFFF,
            "ssrc": ssrc,
            "body": payload + tail,
        }
    )
    return packet
