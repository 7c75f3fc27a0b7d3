"""Clips: what is asked for is what is encoded, loops have no seam, files are read."""

import subprocess
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from gateway.simulator.clip import ClipError, ClipSource, ClipSpec, adts, clip
from gateway.simulator.model import AudioCodec, VideoCodec

SMALL = ClipSpec(width=160, height=120, fps=10, gop=20, bitrate_bps=100_000)


def test_pictures_are_as_asked() -> None:
    content = clip(SMALL)
    pictures = [unit for unit in content.units if unit.is_video]
    assert [unit.pts for unit in pictures] == list(range(0, 8 * 90_000, 9_000))
    assert [number for number, unit in enumerate(pictures) if unit.is_key] == [0, 20, 40, 60]
    decoder = av.CodecContext.create("h264", "r")
    frames = [frame for unit in pictures for frame in decoder.decode(av.Packet(unit.data))]
    assert {(frame.width, frame.height) for frame in frames} == {(160, 120)}
    first, later = (frame.to_ndarray() for frame in (frames[0], frames[5]))
    assert np.abs(first.astype(int) - later.astype(int)).mean() > 1  # it moves


@pytest.mark.parametrize("audio", list(AudioCodec))
def test_the_loop_has_no_seam(audio: AudioCodec) -> None:
    content = clip(ClipSpec(video=None, audio=audio))
    steps = {after.pts - before.pts for before, after in pairwise(content.units)}
    assert steps == {content.units[1].pts}
    assert content.duration - content.units[-1].pts == content.units[1].pts


async def test_a_source_goes_on_for_ever() -> None:
    content = clip(SMALL)
    source = ClipSource(content)
    units = [await source.next_unit() for _ in range(len(content.units) * 2 + 1)]
    assert units[len(content.units)].dts == content.duration
    assert units[-1].dts == 2 * content.duration
    assert all(before.dts <= after.dts for before, after in pairwise(units))


def test_clips_are_shared() -> None:
    assert clip(SMALL) is clip(SMALL)


def test_adts_header() -> None:
    header = adts(100, 16_000)
    assert header[:2] == b"\xff\xf1"
    assert (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5 == 107


def _file(path: Path, *, video: str, audio: str) -> Path:
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=160x120:rate=10",
        "-f",
        "lavfi",
        "-i",
        "sine",
    ]
    command += ["-t", "3", "-c:v", video, "-g", "10", "-c:a", audio, "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.mark.peer
@pytest.mark.parametrize(("name", "video"), [("clip.mp4", "libx264"), ("clip.ts", "libx265"), ("clip.mkv", "libx264")])
def test_files_are_read(tmp_path: Path, name: str, video: str) -> None:
    content = clip(ClipSpec(audio=AudioCodec.G711U, file=_file(tmp_path / name, video=video, audio="aac")))
    assert content.spec.video is (VideoCodec.H264 if video == "libx264" else VideoCodec.H265)
    pictures = [unit for unit in content.units if unit.is_video]
    assert pictures[0].is_key
    assert pictures[0].dts == 0
    assert pictures[0].data.startswith((b"\x00\x00\x00\x01", b"\x00\x00\x01"))
    assert content.duration == pytest.approx(3 * 90_000, abs=9_000)
    sound = sum(len(unit.data) for unit in content.units if not unit.is_video)
    assert sound == pytest.approx(3 * 8_000, rel=0.05)


@pytest.mark.peer
def test_a_file_without_usable_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="mpeg4"):
        clip(ClipSpec(file=_file(tmp_path / "clip.mp4", video="mpeg4", audio="aac")))
    nothing = tmp_path / "nothing.mp4"
    nothing.write_bytes(b"this is no video at all")
    with pytest.raises(ClipError):
        clip(ClipSpec(file=nothing))
