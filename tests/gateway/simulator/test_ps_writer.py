"""The writer's program streams: byte for byte against the declarations, and read by ffprobe."""

import json
import subprocess
from pathlib import Path

import pytest

from gateway.simulator.clip import ClipSpec, clip
from gateway.simulator.model import AccessUnit, AudioCodec, VideoCodec
from gateway.simulator.ps_writer import MUX_RATE, PsFault, PsWriter, pack_header
from media.formats.pes import PesPacket, build_pes
from media.formats.ps import ProgramStreamMap, build_pack_header, build_stream_map, build_system_header

KEY = AccessUnit(True, True, 12_000, 9_000, b"\x00\x00\x00\x01\x67" + bytes(100))
PICTURE = AccessUnit(True, False, 12_000, 12_000, b"\x00\x00\x00\x01\x41" + bytes(50))
SOUND = AccessUnit(False, True, 12_600, 12_600, bytes(320))


def writer(*faults: PsFault) -> PsWriter:
    return PsWriter(VideoCodec.H264, AudioCodec.G711A, faults=frozenset(faults))


@pytest.mark.parametrize("ticks", [0, 1, 3600, 8_100_000, (1 << 32) + 12345, (1 << 33) - 1])
def test_headers_are_as_declared(ticks: int) -> None:
    assert pack_header(ticks) == build_pack_header(ticks, mux_rate=MUX_RATE)
    data = writer().write(AccessUnit(False, True, ticks, ticks, b"sound"))
    assert data == build_pack_header(max(0, ticks - 3600), mux_rate=MUX_RATE) + build_pes(0xC0, b"sound", pts=ticks)


def test_a_key_frame_is_announced() -> None:
    assert writer().write(KEY) == (
        build_pack_header(5_400, mux_rate=MUX_RATE)
        + build_system_header({0xE0: 1 << 20, 0xC0: 4096})
        + build_stream_map({0xE0: 0x1B, 0xC0: 0x90})
        + build_pes(0xE0, KEY.data, pts=12_000, dts=9_000)
    )


def test_other_units_are_not() -> None:
    for unit in (PICTURE, SOUND):
        assert b"\x00\x00\x01\xbc" not in writer().write(unit)


def test_audio_alone_is_announced_each_second() -> None:
    alone = PsWriter(None, AudioCodec.AAC)
    units = [AccessUnit(False, True, at, at, b"x") for at in range(0, 270_001, 30_000)]
    announced = [unit.pts for unit in units if b"\x00\x00\x01\xbc" in alone.write(unit)]
    assert announced == [0, 90_000, 180_000, 270_000]


def test_big_pictures_are_split() -> None:
    data = writer().write(AccessUnit(True, False, 0, 0, bytes(range(1, 251)) * 600))
    first, rest = data[14:], b""
    payloads = []
    while first:
        size = 6 + int.from_bytes(first[4:6], "big")
        packet = PesPacket.parse(first[:size])
        payloads.append((packet.body.optional.pts, len(packet.payload)))
        rest += packet.payload
        first = first[size:]
    assert payloads == [(0, 65_400), (None, 65_400), (None, 150_000 - 2 * 65_400)]
    assert rest == bytes(range(1, 251)) * 600


def test_faults() -> None:
    assert b"\x00\x00\x01\xbc" not in writer(PsFault.NO_PSM).write(KEY)
    once = writer(PsFault.PSM_ONCE)
    assert [b"\x00\x00\x01\xbc" in once.write(KEY) for _ in range(2)] == [True, False]
    assert b"\x00\x00\x01\xbb" not in writer(PsFault.NO_SYSTEM_HEADER).write(KEY)
    assert writer(PsFault.BARE_PACK).write(PICTURE).startswith(b"\x00\x00\x01\xba\x00\x00\x01\xe0")
    assert b"\x00\x00\x01\xbd" in writer(PsFault.PRIVATE_DATA).write(KEY)
    assert b"\x00\x00\x01\xe0\x00\x00" in writer(PsFault.PES_LENGTH_ZERO).write(KEY)

    def mapped(fault: PsFault) -> dict[int, int]:
        data = writer(fault).write(KEY)
        psm = ProgramStreamMap.parse(data[data.index(b"\x00\x00\x01\xbc") :])
        return {stream.stream_id: stream.stream_type for stream in psm.streams}

    assert mapped(PsFault.PSM_WRONG_CODEC) == {0xE0: 0x24, 0xC0: 0x90}
    assert mapped(PsFault.PSM_WITHOUT_AUDIO) == {0xE0: 0x1B}


@pytest.mark.peer
@pytest.mark.parametrize(
    ("video", "audio", "b_frames"),
    [
        (VideoCodec.H264, AudioCodec.AAC, 0),
        (VideoCodec.H265, AudioCodec.AAC, 0),
        (VideoCodec.H264, AudioCodec.AAC, 2),
        (VideoCodec.H265, None, 0),
    ],
)
def test_ffprobe_reads_it(tmp_path: Path, video: VideoCodec, audio: AudioCodec | None, b_frames: int) -> None:
    spec = ClipSpec(video=video, audio=audio, width=320, height=180, fps=10, gop=20, b_frames=b_frames)
    content = clip(spec)
    ps = PsWriter(video, audio)
    file = tmp_path / "clip.ps"
    file.write_bytes(b"".join(ps.write(unit) for unit in content.units))
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", str(file)]
    probe = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    streams = {stream["codec_type"]: stream for stream in probe["streams"]}
    assert streams["video"]["codec_name"] == {VideoCodec.H264: "h264", VideoCodec.H265: "hevc"}[video]
    assert (streams["video"]["width"], streams["video"]["height"]) == (320, 180)
    assert ("audio" in streams) == (audio is not None)
    if audio:
        assert (streams["audio"]["codec_name"], streams["audio"]["sample_rate"]) == ("aac", "16000")
    sent = [unit.pts for unit in content.units if unit.is_video]
    seen = [packet["pts"] for packet in probe["packets"] if packet["codec_type"] == "video" and "pts" in packet]
    assert seen == sent
