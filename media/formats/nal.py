"""NAL units in byte streams (ITU-T H.264 annex B, H.265 annex B) and what their parameter sets say of the picture."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_START: Final = re.compile(rb"\x00\x00\x01")
_ESCAPE: Final = re.compile(rb"\x00\x00\x03")
PICTURE_SIDE_MAX: Final = 16_384

H264_TYPES: Final = {
    1: "slice", 2: "partition A", 3: "partition B", 4: "partition C", 5: "IDR slice", 6: "SEI", 7: "SPS", 8: "PPS",
    9: "AUD", 10: "end of sequence", 11: "end of stream", 12: "filler",
}  # fmt: skip
H265_TYPES: Final = {
    0: "TRAIL_N", 1: "TRAIL_R", 8: "RASL_N", 9: "RASL_R", 16: "BLA", 17: "BLA", 18: "BLA", 19: "IDR_W_RADL",
    20: "IDR_N_LP", 21: "CRA", 32: "VPS", 33: "SPS", 34: "PPS", 35: "AUD", 36: "end of sequence",
    37: "end of stream", 38: "filler", 39: "SEI", 40: "SEI",
}  # fmt: skip
_H264_PROFILES: Final = {66: "Baseline", 77: "Main", 88: "Extended", 100: "High", 110: "High 10", 122: "High 4:2:2"}
_H265_PROFILES: Final = {1: "Main", 2: "Main 10", 3: "Main Still Picture", 4: "Range Extensions"}
_WITH_CHROMA_FORMAT: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


class NalError(ValueError):
    """A parameter set that ends too early or says what cannot be."""


@dataclass(frozen=True)
class PictureFormat:
    """What a sequence parameter set says: size in pixels after cropping, profile by name, level such as 4.1."""

    width: int
    height: int
    profile: str
    level: float


def split_nal_units(data: bytes) -> Iterator[bytes]:
    """The NAL units between start codes of three or four bytes; what stands before the first is dropped."""
    starts = [match.end() for match in _START.finditer(data)]
    for start, following in zip(starts, [*(at - 3 for at in starts[1:]), len(data)], strict=True):
        if unit := data[start:following].rstrip(b"\0"):
            yield unit


def h264_type(unit: bytes) -> int:
    """nal_unit_type (ITU-T H.264 §7.3.1)."""
    return unit[0] & 0x1F


def h265_type(unit: bytes) -> int:
    """nal_unit_type (ITU-T H.265 §7.3.1.2)."""
    return unit[0] >> 1 & 0x3F


class _Bits:
    """Reads the bits of a raw byte sequence payload, emulation prevention removed."""

    def __init__(self, payload: bytes) -> None:
        data = _ESCAPE.sub(b"\x00\x00", payload[:1024])
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def u(self, count: int) -> int:
        """Unsigned, `count` bits."""
        if count > self._left:
            raise NalError("the parameter set ends too early")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def ue(self) -> int:
        """Exponential Golomb, unsigned (§9.1 of H.264, §9.2 of H.265)."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 32:
                raise NalError("an Exp-Golomb code of more than 32 zeros")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """Exponential Golomb, signed."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def parse_h264_sps(unit: bytes) -> PictureFormat:
    """Reads a sequence parameter set (ITU-T H.264 §7.3.2.1.1); NalError if it cannot be read."""
    bits = _Bits(unit[1:])
    profile, _, level = bits.u(8), bits.u(8), bits.u(8)
    bits.ue()
    chroma = _h264_chroma(bits) if profile in _WITH_CHROMA_FORMAT else 1
    bits.ue()
    _skip_picture_order(bits)
    bits.ue()
    bits.u(1)
    width, map_height = (bits.ue() + 1) * 16, (bits.ue() + 1) * 16
    frames_only = bits.u(1)
    if not frames_only:
        bits.u(1)
    bits.u(1)
    left, right, top, bottom = (bits.ue() for _ in range(4)) if bits.u(1) else (0, 0, 0, 0)
    unit_x, unit_y = (2 if chroma in {1, 2} else 1), (2 if chroma == 1 else 1) * (2 - frames_only)
    width -= (left + right) * unit_x
    height = map_height * (2 - frames_only) - (top + bottom) * unit_y
    return _picture(width, height, _H264_PROFILES.get(profile, f"profile {profile}"), level / 10)


def _h264_chroma(bits: _Bits) -> int:
    chroma = bits.ue()
    if chroma == 3:
        bits.u(1)
    bits.ue()
    bits.ue()
    bits.u(1)
    if bits.u(1):  # scaling matrices
        for number in range(12 if chroma == 3 else 8):
            if bits.u(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)
    return chroma


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _skip_picture_order(bits: _Bits) -> None:
    kind = bits.ue()
    if kind == 0:
        bits.ue()
    elif kind == 1:
        bits.u(1)
        bits.se()
        bits.se()
        count = bits.ue()
        if count > 255:
            raise NalError(f"{count} reference frames in a cycle")
        for _ in range(count):
            bits.se()


def parse_h265_sps(unit: bytes) -> PictureFormat:
    """Reads a sequence parameter set (ITU-T H.265 §7.3.2.2.1); NalError if it cannot be read."""
    bits = _Bits(unit[2:])
    bits.u(4)
    sub_layers = bits.u(3)
    bits.u(1)
    profile, level = _h265_profile(bits, sub_layers)
    bits.ue()
    chroma = bits.ue()
    if chroma == 3:
        bits.u(1)
    width, height = bits.ue(), bits.ue()
    if bits.u(1):
        unit_x, unit_y = (2 if chroma in {1, 2} else 1), (2 if chroma == 1 else 1)
        left, right, top, bottom = (bits.ue() for _ in range(4))
        width, height = width - (left + right) * unit_x, height - (top + bottom) * unit_y
    return _picture(width, height, _H265_PROFILES.get(profile, f"profile {profile}"), level / 30)


def _h265_profile(bits: _Bits, sub_layers: int) -> tuple[int, int]:
    """profile_tier_level (ITU-T H.265 §7.3.3): general profile and level."""
    profile = bits.u(8) & 0x1F
    bits.u(80)
    level = bits.u(8)
    present = [(bits.u(1), bits.u(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.u(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        bits.u(88 * has_profile + 8 * has_level)
    return profile, level


def _picture(width: int, height: int, profile: str, level: float) -> PictureFormat:
    if not (0 < width <= PICTURE_SIDE_MAX and 0 < height <= PICTURE_SIDE_MAX):
        raise NalError(f"a picture of {width}×{height}")
    return PictureFormat(width, height, profile, round(level, 1))
