"""What goes through the relay in the matrix: a short film in each pair of codings, and what a player makes of it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
from av.bitstream import BitStreamFilterContext

from gateway.simulator.clip import adts
from gateway.simulator.model import CLOCK_HZ, AccessUnit, AudioCodec, VideoCodec
from tests.media.house import digest, run

if TYPE_CHECKING:
    from media._core import Codec

FPS: Final = 25
SECONDS: Final = 3
VIDEOS: Final = {"h264": VideoCodec.H264, "hevc": VideoCodec.H265}
IN_PROGRAM: Final[dict[str, AudioCodec | None]] = {
    "none": None,
    "pcm_alaw": AudioCodec.G711A,
    "pcm_mulaw": AudioCodec.G711U,
    "aac": AudioCodec.AAC,
}
"""Sounds that a program stream of cameras carries."""
AUDIOS: Final = (*IN_PROGRAM, "opus")
CODECS: Final[dict[str, "Codec"]] = {
    "h264": "H264",
    "hevc": "H265",
    "pcm_alaw": "PCMA",
    "pcm_mulaw": "PCMU",
    "aac": "AAC",
    "opus": "OPUS",
}
"""Names of codings by those of FFmpeg."""
ENCODE: Final = {
    "h264": "-c:v libx264 -preset veryfast -bf {b} -sc_threshold 0",
    "hevc": "-c:v libx265 -preset ultrafast -x265-params "
    "log-level=none:repeat-headers=1:scenecut=0:open-gop=0:keyint=25:min-keyint=25:bframes={b}",
    "none": "-an",
    "pcm_alaw": "-c:a pcm_alaw -ar 8000 -ac 1",
    "pcm_mulaw": "-c:a pcm_mulaw -ar 8000 -ac 1",
    "aac": "-c:a aac -ar 16000 -ac 1",
    "opus": "-c:a libopus -b:a 32k -ac 1",
}


@dataclass(frozen=True)
class Film:
    """One second from key frame to key frame; each picture differs from all others."""

    video: str
    audio: str
    file: Path
    pictures: tuple[str, ...]
    """Digests of what a decoder shows, in order."""
    sound: bytes
    """Frames of sound behind one another, without headers."""
    sound_config: bytes
    """Of AAC, the `AudioSpecificConfig`."""

    @property
    def codecs(self) -> dict[str, str]:
        return {"video": self.video} | ({} if self.audio == "none" else {"audio": self.audio})

    def units(self) -> tuple[AccessUnit, ...]:
        """Pictures with start codes and parameter sets, and frames of sound without headers, in order of decoding."""
        return _units(self)

    def program(self) -> tuple[AccessUnit, ...]:
        """What a camera would put into a program stream: AAC has ADTS headers."""
        if self.audio != "aac":
            return self.units()
        return tuple(
            unit if unit.is_video else AccessUnit(False, unit.is_key, unit.pts, unit.dts, _with_adts(unit.data))
            for unit in self.units()
        )


def film(video: str, audio: str, b_frames: int, folder: Path) -> Film:
    """Encodes the film into `folder` unless it is there."""
    # QuickTime has no place for Opus, and MP4 none for G.711.
    file = folder / f"{video}-{audio}-{b_frames}.{'mp4' if audio == 'opus' else 'mov'}"
    if not file.exists():
        options = f"{ENCODE[video].format(b=b_frames)} -g {FPS} -pix_fmt yuv420p {ENCODE[audio]}".split()
        run(
            "-f", "lavfi", "-i", f"testsrc2=s=128x96:r={FPS}:d={SECONDS}",
            "-f", "lavfi", "-i", f"aevalsrc=sin(880*t*(1+t))/4:s=48000:d={SECONDS}", *options, str(file),
        )  # fmt: skip
    return _read(video, audio, file)


@lru_cache
def _read(video: str, audio: str, file: Path) -> Film:
    sound, config = b"", b""
    with av.open(str(file)) as container:
        pictures = tuple(digest(frame) for frame in container.decode(video=0))
    if audio != "none":
        with av.open(str(file)) as container:
            config = bytes(container.streams.audio[0].codec_context.extradata or b"") if audio == "aac" else b""
            sound = b"".join(bytes(packet) for packet in container.demux(audio=0))
    assert len(set(pictures)) == FPS * SECONDS, "each picture can be told from all others"
    return Film(video, audio, file, pictures, sound, config)


@lru_cache
def _units(film: Film) -> tuple[AccessUnit, ...]:
    units = []
    with av.open(str(film.file)) as container:
        stream = container.streams.video[0]
        start_codes = BitStreamFilterContext(f"{film.video}_mp4toannexb", stream)
        # A camera's clock begins anywhere but below zero.
        shift = CLOCK_HZ
        for packet in container.demux():
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            ticks, key = packet.time_base * CLOCK_HZ, packet.is_keyframe
            pts, dts = round(packet.pts * ticks) + shift, round(packet.dts * ticks) + shift
            is_video = packet.stream is stream
            data = b"".join(map(bytes, start_codes.filter(packet))) if is_video else bytes(packet)
            units.append(AccessUnit(is_video, key, pts, dts, data))
    return tuple(sorted(units, key=lambda unit: (unit.dts, not unit.is_video)))


def _with_adts(frame: bytes) -> bytes:
    return adts(len(frame), 16_000) + frame
