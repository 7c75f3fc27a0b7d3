"""Sound into other codings: it is still heard, lasts as long, and keeps its source's time."""

import math
from itertools import pairwise

import av
import numpy as np
import pytest

from media.transcode import TICKS, Run, Sound, TranscodeError, Transcoder

G711 = Sound("PCMA", 8_000, 1)


def tone(run: int, samples: int = 320) -> bytes:
    """A-law samples of a tone of 440 Hz."""
    encoder = av.CodecContext.create("pcm_alaw", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 8_000, "mono", "s16"
    wave = [round(8_000 * math.sin(2 * math.pi * 440 * (run * samples + at) / 8_000)) for at in range(samples)]
    frame = av.AudioFrame.from_ndarray(np.array([wave], dtype=np.int16), format="s16", layout="mono")
    frame.sample_rate = 8_000
    return b"".join(bytes(packet) for packet in encoder.encode(frame))


def decoded(sound: Sound, runs: list[Run]) -> np.ndarray:
    decoder = av.CodecContext.create("aac" if sound.codec == "AAC" else "libopus", "r")
    if sound.codec == "AAC":
        decoder.extradata = sound.config
    else:
        decoder.sample_rate, decoder.layout = sound.sample_rate, "mono"
    pieces = [frame.to_ndarray() for run in runs for frame in decoder.decode(av.Packet(run.data))]
    wave = np.concatenate([piece.ravel() for piece in pieces]).astype(np.float64)
    return wave / max(np.abs(wave).max(), 1e-9)


def strongest(wave: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(wave[rate // 2 : rate // 2 + rate]))
    return float(spectrum.argmax())


@pytest.mark.parametrize(("target", "rate"), [("AAC", 16_000), ("OPUS", 48_000)])
def test_a_tone_stays_a_tone(target: str, rate: int) -> None:
    transcoder = Transcoder(G711, target)  # type: ignore[arg-type]
    assert (transcoder.into.codec, transcoder.into.sample_rate, transcoder.into.channels) == (target, rate, 1)
    assert bool(transcoder.into.config) is (target == "AAC")
    runs = [out for run in range(75) for out in transcoder.handle(9_000 + run * 3_600, tone(run))]
    assert abs(strongest(decoded(transcoder.into, runs), rate) - 440) <= 2
    steps = [later.pts_90k - earlier.pts_90k for earlier, later in pairwise(runs)]
    frame = TICKS * 1024 / rate if target == "AAC" else TICKS / 50
    assert all(abs(step - frame) <= 1 for step in steps)
    assert abs(runs[0].pts_90k - 9_000) < TICKS // 10


def test_a_clock_that_runs_fast_is_followed_and_a_gap_is_kept() -> None:
    transcoder = Transcoder(G711, "AAC")
    data, pts, last = tone(0), 0.0, 0
    for _ in range(3_000):  # two minutes whose clock runs 0.3 % fast: 0.36 s
        for out in transcoder.handle(round(pts), data):
            assert out.pts_90k > last or last == 0
            last = out.pts_90k
        pts += 3_600 * 1.003
    assert abs(last - pts) < TICKS * 0.3, "in the end it is where the source is, but for what waits in the encoder"
    pts += 10 * TICKS
    runs = [out for run in range(10) for out in transcoder.handle(round(pts) + run * 3_600, data)]
    assert abs(runs[-1].pts_90k - pts - 36_000) < TICKS * 0.3


def test_nonsense_is_told() -> None:
    with pytest.raises(TranscodeError):
        Transcoder(G711, "PCMU")
    with pytest.raises(TranscodeError):
        Transcoder(Sound("AAC", 44_100, 2, b"\x12\x10"), "OPUS").handle(0, b"\xff" * 40)
