"""Pictures and sound for simulated devices, encoded once and looped, so that a hundred devices share one clip.

Either synthesised (a moving test picture with a time code, a tone) or read from a file.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from gateway.simulator.model import CLOCK_HZ, AccessUnit, AudioCodec, VideoCodec
from gateway.simulator.picture import burn

ENCODERS: Final = {
    VideoCodec.H264: "libx264",
    VideoCodec.H265: "libx265",
    AudioCodec.AAC: "aac",
    AudioCodec.G711A: "pcm_alaw",
    AudioCodec.G711U: "pcm_mulaw",
}
SAMPLES: Final = {AudioCodec.AAC: 1024, AudioCodec.G711A: 320, AudioCodec.G711U: 320}
"""Samples in one audio access unit."""
SAMPLE_RATE_HZ: Final = {AudioCodec.AAC: 16_000, AudioCodec.G711A: 8_000, AudioCodec.G711U: 8_000}
_ADTS_RATES: Final = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)


class ClipError(Exception):
    """A file cannot be used as a source; the text says why."""


@dataclass(frozen=True)
class ClipSpec:
    """What a clip shall be like. With 8 s (or a multiple) the loop has no seam in picture nor sound.

    `gop` is in pictures, `bitrate_bps` that of the video, `label` is burnt into the picture. With a `file`, only
    `audio` counts besides: its video is taken as it is.
    """

    video: VideoCodec | None = VideoCodec.H264
    audio: AudioCodec | None = AudioCodec.G711A
    width: int = 640
    height: int = 360
    fps: int = 15
    gop: int = 30
    b_frames: int = 0
    bitrate_bps: int = 512_000
    seconds: int = 8
    label: str = ""
    file: Path | None = None


@dataclass(frozen=True)
class Clip:
    """Access units in order of DTS from 0, and the length of the loop in ticks."""

    spec: ClipSpec
    units: tuple[AccessUnit, ...]
    duration: int


class ClipSource:
    """Plays a clip for ever; every loop goes on where the one before ended."""

    def __init__(self, clip: Clip) -> None:
        self.video = clip.spec.video
        self.audio = clip.spec.audio
        self._units = self._endless(clip)

    @staticmethod
    def _endless(clip: Clip) -> Iterator[AccessUnit]:
        shift = 0
        while True:
            for unit in clip.units:
                yield unit.at(shift)
            shift += clip.duration

    async def next_unit(self) -> AccessUnit:
        return next(self._units)


_encoding = threading.Lock()


def clip(spec: ClipSpec) -> Clip:
    """The clip for `spec`, encoded at the first call (about a second of work) and shared from then on.

    Raises ClipError if the file cannot be read or has no usable video.
    """
    with _encoding:  # lru_cache alone would let two threads encode the same clip
        return _clip(spec)


@lru_cache(maxsize=32)
def _clip(spec: ClipSpec) -> Clip:
    if spec.file is not None:
        return _from_file(spec, spec.file)
    duration = spec.seconds * CLOCK_HZ
    video = list(_synthesise_video(spec, spec.video)) if spec.video else []
    audio = _synthesise_audio(spec.audio, duration) if spec.audio else []
    return _assemble(spec, video, audio, duration)


def _assemble(spec: ClipSpec, video: list[AccessUnit], audio: list[AccessUnit], duration: int) -> Clip:
    """Sorts by DTS, pictures before sound of the same instant."""
    units = sorted(video + audio, key=lambda unit: (unit.dts, not unit.is_video))
    return Clip(spec, tuple(units), duration)


# --- video


def test_pictures(spec: ClipSpec, frames: int) -> Iterator[VideoFrame]:
    """Moving test pictures (yuv420p) without text."""
    graph = Graph()
    source = graph.add("testsrc2", f"size={spec.width}x{spec.height}:rate={spec.fps}")
    yuv = graph.add("format", "pix_fmts=yuv420p")
    sink = graph.add("buffersink")
    source.link_to(yuv)
    yuv.link_to(sink)
    graph.configure()
    for _ in range(frames):
        frame = graph.pull()
        if isinstance(frame, VideoFrame):
            yield frame


def video_encoder(spec: ClipSpec, codec: VideoCodec, *, preset: str = "veryfast") -> VideoCodecContext:
    """An encoder with fixed GOPs whose key frames carry their parameter sets."""
    encoder = av.CodecContext.create(ENCODERS[codec], "w")
    if not isinstance(encoder, VideoCodecContext):
        raise TypeError(f"{ENCODERS[codec]} is not a video encoder")
    encoder.width, encoder.height, encoder.pix_fmt = spec.width, spec.height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, spec.fps), Fraction(spec.fps)
    encoder.bit_rate, encoder.gop_size = spec.bitrate_bps, spec.gop
    encoder.max_b_frames, encoder.thread_count = spec.b_frames, 1
    options = {"preset": preset}
    if codec is VideoCodec.H264:
        options |= {"x264-params": f"keyint={spec.gop}:min-keyint={spec.gop}:scenecut=0:bframes={spec.b_frames}"}
    else:
        fixed = f"keyint={spec.gop}:min-keyint={spec.gop}:scenecut=0:open-gop=0:bframes={spec.b_frames}"
        options |= {"x265-params": f"{fixed}:repeat-headers=1:pools=none:frame-threads=1:log-level=none"}
    if not spec.b_frames:
        options |= {"tune": "zerolatency"}
    encoder.options = options
    return encoder


def stamped(picture: VideoFrame, lines: tuple[str, ...]) -> VideoFrame:
    """A copy of the picture with `lines` burnt in."""
    planes = picture.to_ndarray(format="yuv420p").astype(np.uint8, copy=False)
    luma = planes[: picture.height]
    for number, text in enumerate(lines):
        burn(luma, text, line=number)
    return VideoFrame.from_ndarray(planes, format="yuv420p")


def _synthesise_video(spec: ClipSpec, codec: VideoCodec) -> Iterator[AccessUnit]:
    encoder = video_encoder(spec, codec)
    tick = CLOCK_HZ // spec.fps
    delay = tick * min(spec.b_frames, 2) if spec.b_frames else 0

    def units(packets: list[Any]) -> Iterator[AccessUnit]:
        for packet in packets:
            yield AccessUnit(
                True, packet.is_keyframe, packet.pts * tick + delay, packet.dts * tick + delay, bytes(packet)
            )

    for number, picture in enumerate(test_pictures(spec, spec.fps * spec.seconds)):
        seconds, part = divmod(number, spec.fps)
        frame = stamped(picture, (spec.label, f"{seconds:02}.{part * 100 // spec.fps:02} #{number}"))
        frame.pts, frame.time_base = number, Fraction(1, spec.fps)
        yield from units(encoder.encode(frame))
    yield from units(encoder.encode(None))


# --- audio


def adts(frame_bytes: int, sample_rate_hz: int, channels: int = 1) -> bytes:
    """The 7-byte ADTS header of one AAC-LC frame (ISO/IEC 13818-7 §6.2)."""
    size = frame_bytes + 7
    index = _ADTS_RATES.index(sample_rate_hz)
    return bytes(
        (
            0xFF,
            0xF1,
            1 << 6 | index << 2 | channels >> 2,
            (channels & 3) << 6 | size >> 11,
            size >> 3 & 0xFF,
            (size & 7) << 5 | 0x1F,
            0xFC,
        )
    )


def _audio_encoder(codec: AudioCodec) -> AudioCodecContext:
    encoder = av.CodecContext.create(ENCODERS[codec], "w")
    if not isinstance(encoder, AudioCodecContext):
        raise TypeError(f"{ENCODERS[codec]} is not an audio encoder")
    encoder.sample_rate, encoder.layout = SAMPLE_RATE_HZ[codec], "mono"
    encoder.format = "fltp" if codec is AudioCodec.AAC else "s16"
    encoder.time_base = Fraction(1, SAMPLE_RATE_HZ[codec])
    return encoder


def _encode_audio(codec: AudioCodec, frames: Iterator[AudioFrame]) -> Iterator[AccessUnit]:
    """Encodes mono frames of `SAMPLES` each; PTS of the units are those of the samples in them."""
    encoder, rate = _audio_encoder(codec), SAMPLE_RATE_HZ[codec]

    def units(packets: list[Any]) -> Iterator[AccessUnit]:
        for packet in packets:
            data = bytes(packet)
            if codec is AudioCodec.AAC:
                data = adts(len(data), rate) + data
            pts = packet.pts * CLOCK_HZ // rate
            yield AccessUnit(False, True, pts, pts, data)

    for frame in frames:
        yield from units(encoder.encode(frame))
    yield from units(encoder.encode(None))


def tone(codec: AudioCodec, seconds: int) -> Iterator[AudioFrame]:
    """A tone of 440 Hz that is heard for the first 200 ms of each second, so that ear and eye can compare."""
    rate, size = SAMPLE_RATE_HZ[codec], SAMPLES[codec]
    time = np.arange(rate * seconds) / rate
    wave = np.sin(2 * np.pi * 440 * time) * 0.25 * (time % 1.0 < 0.2)
    for start in range(0, len(wave) - size + 1, size):
        samples = wave[start : start + size]
        if codec is AudioCodec.AAC:
            frame = AudioFrame.from_ndarray(samples.astype(np.float32).reshape(1, -1), format="fltp", layout="mono")
        else:
            frame = AudioFrame.from_ndarray(
                (samples * 32767).astype(np.int16).reshape(1, -1), format="s16", layout="mono"
            )
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        yield frame


def _synthesise_audio(codec: AudioCodec, duration: int) -> list[AccessUnit]:
    """The second of two rounds, for there the encoder already knows what came before: the loop has no click."""
    rounds = _encode_audio(codec, tone(codec, 2 * duration // CLOCK_HZ + 1))
    return [unit.at(-duration) for unit in rounds if duration <= unit.pts < 2 * duration]


# --- files


def _from_file(spec: ClipSpec, path: Path) -> Clip:
    try:
        with av.open(str(path)) as container:
            video = _copy_video(container)
        with av.open(str(path)) as container:
            audio = _transcode_audio(container, spec.audio) if spec.audio and container.streams.audio else []
    except (av.FFmpegError, OSError) as error:
        raise ClipError(f"{path}: {error}") from error
    codec, units, origin = video
    duration = units[-1].dts + (units[1].dts - units[0].dts if len(units) > 1 else CLOCK_HZ // 25)
    sound = _wrapped([unit.at(-origin) for unit in audio], duration)
    return _assemble(replace(spec, video=codec, audio=spec.audio if sound else None), units, sound, duration)


def _wrapped(units: list[AccessUnit], duration: int) -> list[AccessUnit]:
    """Cuts sound to the loop; what is heard after its end moves to where the beginning is still silent."""
    if not units:
        return []
    silent_until = units[0].pts
    after = [unit.at(-duration) for unit in units if duration <= unit.pts < duration + silent_until]
    return after + [unit for unit in units if 0 <= unit.pts < duration]


def _copy_video(container: Any) -> tuple[VideoCodec, list[AccessUnit], int]:
    """Codec, units rebased to DTS 0 from the first key frame on, and what was subtracted."""
    if not container.streams.video:
        raise ClipError("the file has no video")
    stream = container.streams.video[0]
    known = {"h264": VideoCodec.H264, "hevc": VideoCodec.H265}
    if stream.codec_context.name not in known:
        raise ClipError(f"video is {stream.codec_context.name}; H.264 or H.265 is needed")
    annex_b = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}[stream.codec_context.name]
    bitstream = av.BitStreamFilterContext(annex_b, stream)
    pictures: list[tuple[bool, int, bytes]] = []
    for packet in container.demux(stream):
        for filtered in bitstream.filter(packet if packet.size else None):
            if filtered.pts is None or not (pictures or filtered.is_keyframe):
                continue
            pictures.append((filtered.is_keyframe, int(filtered.pts * filtered.time_base * CLOCK_HZ), bytes(filtered)))
    if not pictures:
        raise ClipError("the file has no key frame")
    decoding = _decoding_times([pts for _, pts, _ in pictures])
    origin = decoding[0]
    units = [
        AccessUnit(True, is_key, pts - origin, dts - origin, data)
        for (is_key, pts, data), dts in zip(pictures, decoding, strict=True)
    ]
    return known[stream.codec_context.name], units, origin


def _decoding_times(pts: list[int]) -> list[int]:
    """DTS for pictures in decoding order: not every container tells them. As late as no picture is shown before it."""
    shown = sorted(pts)
    delay = max(in_order - own for in_order, own in zip(shown, pts, strict=True))
    return [ticks - delay for ticks in shown]


def _transcode_audio(container: Any, codec: AudioCodec) -> list[AccessUnit]:
    """The first audio track as `codec`; PTS as in the file."""
    first: list[int] = []

    def frames() -> Iterator[AudioFrame]:
        resampler = AudioResampler(
            format="fltp" if codec is AudioCodec.AAC else "s16",
            layout="mono",
            rate=SAMPLE_RATE_HZ[codec],
            frame_size=SAMPLES[codec],
        )
        number = 0
        for decoded in (*container.decode(container.streams.audio[0]), None):
            if decoded is not None:
                if not first:
                    first.append(int((decoded.pts or 0) * (decoded.time_base or Fraction(0)) * CLOCK_HZ))
                decoded.pts = None
            for frame in resampler.resample(decoded):
                frame.pts, frame.time_base = number, Fraction(1, SAMPLE_RATE_HZ[codec])
                number += frame.samples
                yield frame

    units = list(_encode_audio(codec, frames()))
    return [unit.at(first[0]) for unit in units if unit.pts >= 0]
