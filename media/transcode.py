"""Sound from one coding into another, by FFmpeg's codecs. No loop, no clock: whoever calls does so off the event loop.

Times are those of the source and do not drift: what comes out is counted in samples from an anchor, and the anchor
follows the source's own times, slowly where its clock runs a little fast or slow, at once across a gap.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final, cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

    from media._core import AudioCodec

TICKS: Final = 90_000
GAP: Final = TICKS // 5
"""A source time further than this from where the last run ended begins anew: sound was lost, or the clock was set."""
FOLLOW: Final = 16
"""The anchor moves by this part of what it is off, each run: half a second of G.711 takes most of it in."""
BIT_RATE: Final = {"AAC": 64_000, "OPUS": 48_000}
"""For each channel."""
_DECODERS: Final = {"PCMA": "pcm_alaw", "PCMU": "pcm_mulaw", "AAC": "aac", "OPUS": "libopus"}
_ENCODERS: Final = {"AAC": ("aac", "fltp"), "OPUS": ("libopus", "s16")}
_RATES: Final = {8_000: 16_000}
"""AAC of 8 kHz is beyond some players: G.711 becomes 16 kHz. Opus always has 48 kHz."""


class TranscodeError(Exception):
    """The sound cannot be decoded or encoded; the text says why."""


@dataclass(frozen=True, slots=True)
class Sound:
    """What sound is: coding, samples a second, channels, and the `AudioSpecificConfig` of AAC."""

    codec: "AudioCodec"
    sample_rate: int
    channels: int
    config: bytes = b""


@dataclass(frozen=True, slots=True)
class Run:
    """A coded frame that came out."""

    pts_90k: int
    data: bytes


class Transcoder:
    """Makes sound of one coding into another. `into` is known, with its configuration, from the beginning."""

    def __init__(self, source: Sound, target: "AudioCodec") -> None:
        """TranscodeError if FFmpeg has no such codec, or refuses the source's configuration."""
        try:
            encoder, sample_format = _ENCODERS[target]
            channels = min(source.channels, 2) or 1
            rate = 48_000 if target == "OPUS" else _RATES.get(source.sample_rate, source.sample_rate)
            self._source = source
            self._decoder = _decoder(source)
            self._encoder = cast(AudioCodecContext, av.CodecContext.create(encoder, "w"))
            self._encoder.sample_rate = rate
            self._encoder.layout = layout = "mono" if channels == 1 else "stereo"
            self._encoder.format = sample_format
            self._encoder.bit_rate = BIT_RATE[target] * channels
            self._encoder.time_base = Fraction(1, rate)
            self._encoder.open()
            frame = self._encoder.frame_size or rate // 50
            self._resampler = AudioResampler(format=sample_format, layout=layout, rate=rate, frame_size=frame)
        except (KeyError, ValueError, av.FFmpegError) as error:
            raise TranscodeError(f"{source.codec} cannot become {target}: {error}") from error
        config = bytes(self._encoder.extradata or b"") if target == "AAC" else b""
        self.into = Sound(target, rate, channels, config)
        self._rate = rate
        self._anchor: float | None = None  # ticks of the source at sample 0 of what comes out
        self._decoded = 0.0  # seconds that came in since the anchor
        self._samples = 0  # that went into the encoder since the anchor
        self._last = -1

    def handle(self, pts_90k: int, data: bytes) -> list[Run]:
        """Takes a run of sound; the frames that are complete now. TranscodeError if it cannot be decoded: the next one
        may be."""
        try:
            frames = self._decoder.decode(av.Packet(data))
        except (ValueError, av.FFmpegError) as error:
            raise TranscodeError(f"{self._source.codec}: {error}") from error
        out: list[Run] = []
        for frame in frames:
            self._follow(pts_90k)
            self._decoded += frame.samples / frame.sample_rate
            pts_90k += round(frame.samples * TICKS / frame.sample_rate)
            frame.pts = None
            for piece in self._resampler.resample(frame):
                piece.pts, piece.time_base = self._samples, Fraction(1, self._rate)
                self._samples += piece.samples
                out.extend(self._timed(coded) for coded in self._encoder.encode(piece))
        return out

    def _follow(self, pts: int) -> None:
        """Moves the anchor to where the source's times say that it is."""
        if self._anchor is None:
            self._anchor = float(pts)
            return
        off = pts - (self._anchor + self._decoded * TICKS)
        # A source that runs on has the same sample count: what is off by much was not heard.
        self._anchor += off if abs(off) > GAP else off / FOLLOW

    def _timed(self, packet: "av.Packet[AudioStream]") -> Run:
        assert self._anchor is not None
        time = round(self._anchor + (packet.pts or 0) * TICKS / self._rate)
        self._last = max(time, self._last + 1)
        return Run(self._last, bytes(packet))


def _decoder(source: Sound) -> AudioCodecContext:
    decoder = cast(AudioCodecContext, av.CodecContext.create(_DECODERS[source.codec], "r"))
    if source.codec == "AAC":
        decoder.extradata = source.config
    else:
        decoder.sample_rate = source.sample_rate
        decoder.layout = "mono" if source.channels == 1 else "stereo"
        if source.codec != "OPUS":
            decoder.format = "s16"
    return decoder
