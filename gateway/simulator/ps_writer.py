"""Writes program streams as devices do (GB/T 28181-2016 annex C), right or with the faults that devices have.

Fast and by hand; `media/formats/` says in the tests whether it is right.
"""

import struct
from enum import Enum
from typing import Final

from gateway.simulator.model import AccessUnit, AudioCodec, VideoCodec
from media.formats.ps import build_stream_map, build_system_header

STREAM_TYPES: Final = {
    VideoCodec.H264: 0x1B,
    VideoCodec.H265: 0x24,
    AudioCodec.AAC: 0x0F,
    AudioCodec.G711A: 0x90,
    AudioCodec.G711U: 0x91,
}
VIDEO_ID, AUDIO_ID, PRIVATE_ID = 0xE0, 0xC0, 0xBD
PES_PAYLOAD_MAX: Final = 65_400
SCR_LEAD: Final = 3_600
"""Ticks by which the system clock reference runs ahead of decoding."""
MUX_RATE: Final = 50_000
AUDIO_ONLY_MAP_EVERY: Final = 90_000
"""Ticks between program stream maps where no key frame gives the occasion."""


class PsFault(Enum):
    """Deviations that real devices show; the value is the name on the command line."""

    NO_PSM = "no_psm"
    PSM_ONCE = "psm_once"
    PSM_WRONG_CODEC = "psm_wrong_codec"
    PSM_WITHOUT_AUDIO = "psm_without_audio"
    NO_SYSTEM_HEADER = "no_system_header"
    PES_LENGTH_ZERO = "pes_length_zero"
    PRIVATE_DATA = "private_data"
    BARE_PACK = "bare_pack"


def pack_header(scr: int) -> bytes:
    """ISO/IEC 13818-1 §2.5.3.3, without stuffing."""
    scr &= 0x1FFFFFFFF
    bits = (
        0b01 << 46
        | (scr >> 30) << 43
        | 1 << 42
        | (scr >> 15 & 0x7FFF) << 27
        | 1 << 26
        | (scr & 0x7FFF) << 11
        | 1 << 10
        | 1
    )
    return b"\x00\x00\x01\xba" + bits.to_bytes(6, "big") + (MUX_RATE << 2 | 3).to_bytes(3, "big") + b"\xf8"


def timestamp(prefix: int, ticks: int) -> bytes:
    """PTS or DTS (ISO/IEC 13818-1 §2.4.3.7)."""
    return struct.pack(
        ">BHH",
        prefix << 4 | (ticks >> 29 & 0b1110) | 1,
        (ticks >> 14 & 0xFFFE) | 1,
        (ticks << 1 & 0xFFFE) | 1,
    )


class PsWriter:
    """One program stream: a pack for each access unit."""

    def __init__(
        self, video: VideoCodec | None, audio: AudioCodec | None, *, faults: frozenset[PsFault] = frozenset()
    ) -> None:
        self._faults = faults
        self._has_video = video is not None
        self._system_header = b"" if PsFault.NO_SYSTEM_HEADER in faults else self._make_system_header(video, audio)
        self._map = b"" if PsFault.NO_PSM in faults else self._make_map(video, audio)
        self._map_due: int | None = None

    @staticmethod
    def _make_system_header(video: VideoCodec | None, audio: AudioCodec | None) -> bytes:
        bounds = ({VIDEO_ID: 1 << 20} if video else {}) | ({AUDIO_ID: 4096} if audio else {})
        return build_system_header(bounds, rate_bound=MUX_RATE)

    def _make_map(self, video: VideoCodec | None, audio: AudioCodec | None) -> bytes:
        if PsFault.PSM_WRONG_CODEC in self._faults and video:
            video = VideoCodec.H265 if video is VideoCodec.H264 else VideoCodec.H264
        if PsFault.PSM_WITHOUT_AUDIO in self._faults:
            audio = None
        streams = ({VIDEO_ID: STREAM_TYPES[video]} if video else {}) | (
            {AUDIO_ID: STREAM_TYPES[audio]} if audio else {}
        )
        return build_stream_map(streams)

    def write(self, unit: AccessUnit) -> bytes:
        """The pack that carries `unit`."""
        parts = [self._pack_header(unit)]
        if self._announces(unit):
            parts += (self._system_header, self._map)
            if PsFault.PSM_ONCE in self._faults:
                self._map = b""
        if PsFault.PRIVATE_DATA in self._faults and unit.is_key and unit.is_video:
            parts.append(self._private_data())
        self._packetise(unit, parts)
        return b"".join(parts)

    def _pack_header(self, unit: AccessUnit) -> bytes:
        if PsFault.BARE_PACK in self._faults and not unit.is_key:
            return b"\x00\x00\x01\xba"
        return pack_header(max(0, unit.dts - SCR_LEAD))

    def _announces(self, unit: AccessUnit) -> bool:
        """System header and map stand before every key frame; without video, every second."""
        if self._has_video:
            return unit.is_video and unit.is_key
        if self._map_due is not None and unit.dts < self._map_due:
            return False
        self._map_due = unit.dts + AUDIO_ONLY_MAP_EVERY
        return True

    def _packetise(self, unit: AccessUnit, parts: list[bytes]) -> None:
        """PES packets; the time stamp stands in the first only (ISO/IEC 13818-1 §2.4.3.7)."""
        head = self._pes_head(unit)
        stream_id = VIDEO_ID if unit.is_video else AUDIO_ID
        if unit.is_video and PsFault.PES_LENGTH_ZERO in self._faults:
            parts += (struct.pack(">IH", 0x100 | stream_id, 0), head, unit.data)
            return
        for start in range(0, len(unit.data), PES_PAYLOAD_MAX):
            payload = unit.data[start : start + PES_PAYLOAD_MAX]
            parts += (struct.pack(">IH", 0x100 | stream_id, len(head) + len(payload)), head, payload)
            head = b"\x80\x00\x00"

    @staticmethod
    def _pes_head(unit: AccessUnit) -> bytes:
        """Flags, header length and time stamps; DTS only where it differs from PTS."""
        pts, dts = unit.pts & 0x1FFFFFFFF, unit.dts & 0x1FFFFFFFF
        if pts == dts:
            return b"\x84\x80\x05" + timestamp(0b0010, pts)
        return b"\x84\xc0\x0a" + timestamp(0b0011, pts) + timestamp(0b0001, dts)

    @staticmethod
    def _private_data() -> bytes:
        """Private data with start codes inside, as Hikvision sends it: to be skipped by its length."""
        body = b"\x80\x00\x00" + b"HK\x01\x01" + b"\x00\x00\x01\xba\x00\x00\x01\xe0" * 4
        return struct.pack(">IH", 0x100 | PRIVATE_ID, len(body)) + body
