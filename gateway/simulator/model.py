"""The values that the simulator's media parts exchange."""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

CLOCK_HZ: Final = 90_000
"""PTS, DTS and RTP timestamps of video count in this unit."""


class VideoCodec(Enum):
    """Video of a program stream; the value is the name on the command line."""

    H264 = "h264"
    H265 = "h265"


class AudioCodec(Enum):
    """Sound of a program stream; the value is the name on the command line."""

    AAC = "aac"
    G711A = "g711a"
    G711U = "g711u"


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture (Annex B, parameter sets included in key frames) or one run of sound (ADTS or G.711).

    `pts` and `dts` are ticks of 90 kHz.
    """

    is_video: bool
    is_key: bool
    pts: int
    dts: int
    data: bytes

    def at(self, shift: int) -> "AccessUnit":
        """The same unit, `shift` ticks later."""
        return AccessUnit(self.is_video, self.is_key, self.pts + shift, self.dts + shift, self.data)


class Source(Protocol):
    """Where a device's picture and sound come from; endless."""

    @property
    def video(self) -> VideoCodec | None: ...

    @property
    def audio(self) -> AudioCodec | None: ...

    async def next_unit(self) -> AccessUnit:
        """The next unit in order of DTS; the first is a key frame at time 0."""
