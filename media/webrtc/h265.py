"""H.265 in packets of RTP (RFC 7798), and what SDP says of it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

PAYLOAD_MAX: Final = 1200
"""Bytes of a packet without its RTP header: what is left of an MTU of 1,280 behind SRTP, UDP and IPv6."""
FRAGMENT: Final = 49
MAIN, MAIN_10 = 1, 2
_HEADER: Final = 2
_PROFILE_AT: Final = _HEADER + 1
_LEVEL_AT: Final = _PROFILE_AT + 11


@dataclass(frozen=True, slots=True)
class Profile:
    """What a stream asks of a decoder (RFC 7798 §7.1); level 93 is 3.1, 30 times its number."""

    profile: int = MAIN
    tier: int = 0
    level: int = 93

    @classmethod
    def of_sps(cls, sps: bytes) -> "Profile":
        """What a sequence parameter set states, from its NAL header on; that of silence if it is too short."""
        data = sps[:64].replace(b"\0\0\3", b"\0\0")
        if len(data) <= _LEVEL_AT:
            return cls()
        return cls(data[_PROFILE_AT] & 0x1F, data[_PROFILE_AT] >> 5 & 1, data[_LEVEL_AT])

    @classmethod
    def of_parameters(cls, parameters: Mapping[str, object]) -> "Profile | None":
        """What a payload format offers; None if it cannot be read."""
        try:
            named = [int(str(parameters.get(name, default))) for name, default in _NAMED]
        except ValueError:
            return None
        return cls(*named)

    def decodes(self, other: "Profile") -> bool:
        """Whether who takes this takes the other: Main 10 takes Main, the high tier the main one. The level is not
        looked at: decoders state less than they can."""
        profiles = {other.profile} | ({MAIN_10} if other.profile == MAIN else set())
        return self.profile in profiles and self.tier >= other.tier


_NAMED: Final = (("profile-id", MAIN), ("tier-flag", 0), ("level-id", 93))


def units(picture: bytes) -> Iterator[bytes]:
    """The NAL units of a picture with start codes."""
    for piece in picture.split(b"\0\0\1"):
        unit = piece.rstrip(b"\0")  # of a longer start code behind it; no unit ends with zero
        if len(unit) > _HEADER:
            yield unit


def payloads(picture: bytes) -> list[bytes]:
    """A picture as payloads of packets: single units (§4.4.1), or fragments of one (§4.4.3)."""
    made = []
    for unit in units(picture):
        if len(unit) <= PAYLOAD_MAX:
            made.append(unit)
            continue
        kind, room = unit[0] >> 1 & 0x3F, PAYLOAD_MAX - _HEADER - 1
        header = bytes([unit[0] & 0x81 | FRAGMENT << 1, unit[1]])
        for at in range(_HEADER, len(unit), room):
            first, last = at == _HEADER, at + room >= len(unit)
            made.append(header + bytes([first << 7 | last << 6 | kind]) + unit[at : at + room])
    return made
