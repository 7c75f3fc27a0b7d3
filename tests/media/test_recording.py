"""Recordings of real streams: every frame in exactly one file, every file playable on its own, whatever happens."""

import asyncio
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import av
import pytest

from gateway.simulator.clip import Clip, ClipSpec, clip
from gateway.simulator.link import Impairment, Link
from gateway.simulator.model import AudioCodec, VideoCodec
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import RtpStream, StreamFaults
from media._core import CoreError, Event, Receiver, UnknownReceiverError, file_facts, init_segment, salvage, segment
from media.relay import Relay

HOST = "127.0.0.1"
SSRC = 115_000_003
SPEC = ClipSpec(width=320, height=192, fps=25, gop=25, seconds=8, bitrate_bps=400_000)
EXTENSIONS = {VideoCodec.H264: ".flv", VideoCodec.H265: ".mp4"}
FORMS = {"flv": ".flv", "fmp4": ".mp4"}
SLICE_MS = 500
PACE_S = 0.004
"""Between two units: the clip of 8 s goes by in 2 s."""


@dataclass
class Recorded:
    """What a demuxer and decoder made of one file."""

    pictures: list[str] = field(default_factory=list)
    """Hashes of the decoded pictures."""
    sound: list[bytes] = field(default_factory=list)
    times: dict[str, list[float]] = field(default_factory=dict)
    begins_with_key_frame: bool = False


class Bench:
    """A relay with one stream that is recorded."""

    def __init__(self, relay: Relay, directory: Path) -> None:
        self.relay = relay
        self.directory = directory
        self.events: list[Event] = []
        relay.listen(self.events.append)
        self.receiver = self.open("camera")

    def open(self, name: str) -> Receiver:
        return self.relay.open_receiver("test", name, transport="udp", ssrc=SSRC, peer=HOST, private=False)

    def record(self, receiver: Receiver | None = None, form: str | None = None) -> int:
        receiver = self.receiver if receiver is None else receiver
        return self.relay.record(
            receiver.id,
            directory=str(self.directory),
            slice_ms=SLICE_MS,
            utc_offset_ms=8 * 3_600_000,
            tag="a tag",
            form=form,
        )

    def told(self, kind: str) -> list[dict[str, str]]:
        return [event.detail for event in self.events if event.kind == kind]

    async def wait(self, kind: str, reason: str = "", recording: int | None = None) -> dict[str, str]:
        async with asyncio.timeout(10):
            while True:
                for detail in self.told(kind):
                    if recording is not None and detail["recording"] != str(recording):
                        continue
                    if reason in detail.get("reason", ""):
                        return detail
                await asyncio.sleep(0.01)

    def slices(self) -> list[Path]:
        return [Path(detail["path"]) for detail in self.told("slice")]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=22000, rtp_port_max=22999, threads=1) as relay:
        yield Bench(relay, tmp_path)


def bursts(source: Clip, impairment: Impairment | None = None) -> list[list[bytes]]:
    stream = RtpStream(PsWriter(source.spec.video, source.spec.audio), SSRC, StreamFaults())
    sent = [stream.packetise(unit) for unit in source.units]
    if impairment is None:
        return sent
    link = Link(impairment)
    return [sent[0], *(link.pass_on(burst) for burst in sent[1:-1]), sent[-1]]


async def send(port: int, packets: Sequence[list[bytes]]) -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=(HOST, port)
    )
    for burst in packets:
        for packet in burst:
            transport.sendto(packet)
        await asyncio.sleep(PACE_S)
    # The last picture has no successor that would end it: the relay gives it up to its hold time.
    await asyncio.sleep(0.5)
    transport.close()


async def recorded(
    bench: Bench, source: Clip, impairment: Impairment | None = None, form: str | None = None
) -> list[Path]:
    recording = bench.record(form=form)
    await send(bench.receiver.port, bursts(source, impairment))
    bench.relay.stop_recording(recording)
    await bench.wait("slice", "stopped")
    return bench.slices()


def read(path: Path) -> Recorded:
    """Decodes a whole file; an error in it is one here."""
    found = Recorded()
    with av.open(str(path), options={"err_detect": "explode"}) as container:
        for packet in container.demux():
            if packet.dts is None or packet.time_base is None:
                continue
            times = found.times.setdefault(packet.stream.type, [])
            if packet.stream.type == "video" and not times:
                found.begins_with_key_frame = packet.is_keyframe
            times.append(float(packet.dts * packet.time_base))
            if packet.stream.type == "audio":
                found.sound.append(bytes(packet))
    with av.open(str(path)) as container:
        enhanced = path.suffix == ".flv" and container.streams.video[0].codec_context.name == "hevc"
    found.pictures = hashes(as_fmp4(path) if enhanced else path)
    return found


def as_fmp4(path: Path) -> Path:
    """What HLS gives out of a file: older ffmpeg reads no H.265 in FLV."""
    made = path.with_suffix(".hls.mp4")
    made.write_bytes(init_segment(str(path)) + segment(str(path), 0, 3_600_000, "fmp4"))
    return made


def hashes(path: Path, form: Sequence[str] = ()) -> list[str]:
    command = ["ffmpeg", "-v", "error", "-xerror", *form, "-i", str(path), "-map", "0:v", "-fps_mode", "passthrough"]
    answer = subprocess.run([*command, "-f", "framemd5", "pipe:1"], capture_output=True, check=True, timeout=60)
    assert answer.stderr == b""
    lines = answer.stdout.decode().splitlines()
    return [line.rsplit(",", 1)[1].strip() for line in lines if not line.startswith("#")]


def pictures_of(source: Clip, directory: Path) -> list[str]:
    form = "h264" if source.spec.video is VideoCodec.H264 else "hevc"
    path = directory / f"source.{form}"
    path.write_bytes(b"".join(unit.data for unit in source.units if unit.is_video))
    return hashes(path, ("-f", form))


def sound_of(source: Clip) -> list[bytes]:
    """Each run of sound as a file holds it: AAC without its ADTS header."""
    skip = 7 if source.spec.audio is AudioCodec.AAC else 0
    return [unit.data[skip:] for unit in source.units if not unit.is_video]


def check_times(found: Recorded) -> None:
    assert min(times[0] for times in found.times.values()) == pytest.approx(0, abs=0.001)
    for times in found.times.values():
        assert all(before < after for before, after in pairwise(times))
        assert times[0] < 0.25, "picture and sound begin together"


@pytest.mark.peer
@pytest.mark.parametrize(
    ("video", "audio", "form"),
    [
        (VideoCodec.H264, AudioCodec.G711A, None),
        (VideoCodec.H264, AudioCodec.AAC, None),
        (VideoCodec.H265, AudioCodec.AAC, None),
        (VideoCodec.H264, AudioCodec.G711A, "fmp4"),
        (VideoCodec.H265, AudioCodec.AAC, "flv"),
    ],
)
@pytest.mark.parametrize("b_frames", [0, 2])
async def test_every_frame_is_in_exactly_one_file(
    bench: Bench, tmp_path: Path, video: VideoCodec, audio: AudioCodec, *, form: str | None, b_frames: int
) -> None:
    source = await asyncio.to_thread(clip, replace(SPEC, video=video, audio=audio, b_frames=b_frames))
    bench.directory = tmp_path / "spool"
    bench.directory.mkdir()
    paths = await recorded(bench, source, form=form)
    assert len(paths) >= 3
    assert {path.suffix for path in paths} == {FORMS[form] if form else EXTENSIONS[video]}
    assert sorted(bench.directory.iterdir()) == sorted(paths), "nothing else lies about"
    files = [read(path) for path in paths]
    assert all(file.begins_with_key_frame for file in files)
    for file in files:
        check_times(file)

    sent = pictures_of(source, tmp_path)
    assert [picture for file in files for picture in file.pictures] == sent
    runs = sound_of(source)
    heard = b"".join(run for file in files for run in file.sound)
    # Sound before the first key frame is not recorded.
    assert b"".join(runs).endswith(heard)
    assert len(heard) >= len(b"".join(runs[2:]))

    ended = await bench.wait("record_ended")
    assert (ended["reason"], ended["tag"], ended["lost"]) == ("stopped", "a tag", "0")
    told = bench.told("slice")
    assert [Path(detail["path"]) for detail in told] == paths
    assert {detail["tag"] for detail in told} == {"a tag"}
    assert sum(int(detail["key_frames"]) for detail in told) == 8
    for detail, path, file in zip(told, paths, files, strict=True):
        assert path.stem == f"{detail['start_ms']}-{detail['end_ms']}"
        assert int(detail["bytes"]) == path.stat().st_size
        assert int(detail["lost"]) == 0
        assert int(detail["duration_ms"]) == pytest.approx(len(file.pictures) * 40, abs=80)
    starts = [int(detail["start_ms"]) for detail in told]
    ends = [int(detail["end_ms"]) for detail in told]
    assert all(start <= end for start, end in zip(starts, ends, strict=True))
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    # Each file but the first begins with the first key frame after a multiple of the slice's length.
    assert all(start // SLICE_MS > before // SLICE_MS for before, start in pairwise(starts))


@pytest.mark.peer
async def test_players_find_length_and_key_frames(bench: Bench) -> None:
    for video in (VideoCodec.H264, VideoCodec.H265):
        source = await asyncio.to_thread(clip, replace(SPEC, video=video, audio=AudioCodec.AAC))
        receiver = bench.open(video.name)
        recording = bench.relay.record(
            receiver.id, directory=str(bench.directory), slice_ms=86_400_000, utc_offset_ms=0, tag=""
        )
        await send(receiver.port, bursts(source))
        bench.relay.stop_recording(recording)
        detail = await bench.wait("slice", "stopped")
        bench.events.clear()
        with av.open(detail["path"]) as container:
            assert container.duration == pytest.approx(8_000_000, abs=100_000)
            container.seek(4_500_000)
            packet = next(container.demux(video=0))
            assert packet.is_keyframe
            assert packet.time_base is not None
            assert packet.dts is not None
            assert float(packet.dts * packet.time_base) == pytest.approx(4, abs=0.1)


@pytest.mark.peer
async def test_loss_on_the_way_leaves_whole_pictures(bench: Bench, tmp_path: Path) -> None:
    source = await asyncio.to_thread(clip, SPEC)
    paths = await recorded(bench, source, Impairment(loss=0.01, seed=4))
    seen = [picture for path in paths for picture in read(path).pictures]
    sent = pictures_of(source, tmp_path)
    known = iter(sent)
    assert all(picture in known for picture in seen), "a damaged picture, or one out of order"
    assert 50 <= len(seen) < len(sent)


@pytest.mark.peer
async def test_a_stream_that_ends_within_a_gop_has_its_last_pictures(bench: Bench, tmp_path: Path) -> None:
    source = await asyncio.to_thread(clip, SPEC)
    bench.record()
    units = 120
    await send(bench.receiver.port, bursts(source)[:units])
    bench.relay.close_receiver(bench.receiver.id)
    await bench.wait("slice", "ended")
    seen = [picture for path in bench.slices() for picture in read(path).pictures]
    count = sum(unit.is_video for unit in source.units[:units])
    # Whether the very last one is whole, only its successor would tell.
    assert seen == pictures_of(source, tmp_path)[: len(seen)]
    assert len(seen) >= count - 1


@pytest.mark.peer
async def test_changed_tracks_begin_a_file(bench: Bench, tmp_path: Path) -> None:
    small = await asyncio.to_thread(clip, replace(SPEC, seconds=4))
    large = await asyncio.to_thread(clip, replace(SPEC, seconds=4, width=640, height=384))
    bench.record()
    stream = RtpStream(PsWriter(small.spec.video, small.spec.audio), SSRC, StreamFaults())
    units = [*small.units, *(replace(unit, dts=unit.dts + small.duration, pts=unit.pts + small.duration)
                             for unit in large.units)]  # fmt: skip
    await send(bench.receiver.port, [stream.packetise(unit) for unit in units])
    bench.relay.close_receiver(bench.receiver.id)
    await bench.wait("slice", "ended")
    assert [detail["reason"] for detail in bench.told("slice")].count("tracks_changed") == 1
    sizes = []
    for path in bench.slices():
        with av.open(str(path)) as container:
            sizes.append(container.streams.video[0].width)
            check_times(read(path))
    assert sizes == sorted(sizes)
    assert set(sizes) == {320, 640}
    seen = [picture for path in bench.slices() for picture in read(path).pictures]
    assert seen == pictures_of(small, tmp_path) + pictures_of(large, tmp_path)


@pytest.mark.peer
async def test_two_recordings_of_one_stream_share_a_directory(bench: Bench) -> None:
    source = await asyncio.to_thread(clip, SPEC)
    before = len(list(Path("/proc/self/fd").iterdir()))
    recordings = [bench.record(), bench.record()]
    await send(bench.receiver.port, bursts(source))
    assert bench.relay.metrics()["relay_recordings"] == 2
    for recording in recordings:
        bench.relay.stop_recording(recording)
        await bench.wait("slice", "stopped", recording)
    paths = bench.slices()
    assert len(set(paths)) == len(paths) == len(list(bench.directory.iterdir()))
    frames = {
        recording: sum(int(each["frames"]) for each in bench.told("slice") if each["recording"] == str(recording))
        for recording in recordings
    }
    assert len(set(frames.values())) == 1
    assert bench.relay.metrics()["relay_recordings"] == 0
    assert len(list(Path("/proc/self/fd").iterdir())) == before, "a file was left open"


@pytest.mark.peer
async def test_a_published_stream_is_recorded_until_its_publisher_leaves(bench: Bench, tmp_path: Path) -> None:
    source, spool = tmp_path / "source.mp4", tmp_path / "spool"
    spool.mkdir()
    made = ["-f", "lavfi", "-i", "testsrc=s=320x192:r=25:d=3", "-f", "lavfi", "-i", "sine=r=44100:d=3"]
    coded = ["-c:v", "libx264", "-g", "10", "-bf", "2", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    await asyncio.to_thread(
        subprocess.run, ["ffmpeg", "-v", "error", *made, *coded, str(source)], check=True, timeout=60
    )
    address = f"rtmp://{HOST}:{bench.relay.listen_rtmp(HOST, 0)}/live/camera"
    publisher = await asyncio.create_subprocess_exec(
        "ffmpeg", "-v", "error", "-re", "-i", str(source), "-c", "copy", "-f", "flv", address
    )
    asked = await bench.wait("publish")
    receiver = bench.relay.accept_publish(int(asked["ticket"]), asked["app"], asked["name"])
    bench.relay.record(receiver, directory=str(spool), slice_ms=1000, utc_offset_ms=0, tag="")
    await bench.wait("slice", "ended")
    assert await publisher.wait() == 0
    files = [read(path) for path in bench.slices()]
    assert len(files) >= 3
    for file in files:
        check_times(file)
    assert [picture for file in files for picture in file.pictures] == hashes(source)
    sent = read(source).sound
    assert [run for file in files for run in file.sound] == sent[-sum(len(file.sound) for file in files) :]
    assert sum(len(file.sound) for file in files) >= len(sent) - 2


async def test_closing_the_core_finishes_the_files(tmp_path: Path) -> None:
    source = await asyncio.to_thread(clip, SPEC)
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=22000, rtp_port_max=22999, threads=1) as relay:
        bench = Bench(relay, tmp_path)
        bench.record()
        await send(bench.receiver.port, bursts(source)[:100])
    assert [path.suffix for path in tmp_path.iterdir()].count(".flv") >= 1
    assert not list(tmp_path.glob("*.part"))


async def test_a_directory_that_is_not_there_is_told_of_and_tried_again(bench: Bench, tmp_path: Path) -> None:
    source = await asyncio.to_thread(clip, SPEC)
    bench.directory = tmp_path / "absent"
    recording = bench.record()
    sending = asyncio.create_task(send(bench.receiver.port, bursts(source)))
    failed = await bench.wait("record_failed", str(bench.directory))
    assert failed["tag"] == "a tag"
    bench.directory.mkdir()
    await sending
    bench.relay.stop_recording(recording)
    await bench.wait("slice", "stopped")
    told = bench.told("slice")
    assert int(told[0]["lost"]) > 0
    # The sound of the first moments comes before the first key frame.
    assert len(source.units) - 3 <= sum(int(each["frames"]) + int(each["lost"]) for each in told) <= len(source.units)


@pytest.mark.peer
async def test_a_full_disk_keeps_what_was_written(bench: Bench, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: what is beyond it is refused in the middle of a write."""
    source = await asyncio.to_thread(clip, replace(SPEC, bitrate_bps=2_000_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    recording = bench.relay.record(
        bench.receiver.id, directory=str(tmp_path), slice_ms=86_400_000, utc_offset_ms=0, tag=""
    )
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, before[1]))
        await send(bench.receiver.port, bursts(source))
        await bench.wait("record_failed", "cannot write")
        bench.relay.stop_recording(recording)
        await bench.wait("slice", "failed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    failed = bench.slices()[0]
    seen = read(failed).pictures
    assert seen
    assert seen == pictures_of(source, tmp_path)[: len(seen)]
    assert not list(tmp_path.glob("*.part"))
    metrics = bench.relay.metrics()
    assert metrics["relay_record_frames_lost_total"] > 0
    assert metrics["relay_record_failures_total"] > 0


CHILD = """
import sys, time
from media._core import Core
core = Core(play_key=b"key", rtp_host="127.0.0.1", rtp_port_min=23000, rtp_port_max=23999, threads=1)
receiver = core.open_receiver("test", "camera", transport="udp", ssrc=int(sys.argv[2]), peer="127.0.0.1")
form = sys.argv[3] or None
core.record(receiver.id, directory=sys.argv[1], slice_ms=86_400_000, utc_offset_ms=0, tag="", form=form)
print(receiver.port, flush=True)
time.sleep(60)
"""


@pytest.mark.peer
@pytest.mark.parametrize(
    ("video", "form"),
    [(VideoCodec.H264, ""), (VideoCodec.H265, ""), (VideoCodec.H264, "fmp4"), (VideoCodec.H265, "flv")],
)
async def test_what_a_killed_process_left_is_salvaged(tmp_path: Path, video: VideoCodec, form: str) -> None:
    source = await asyncio.to_thread(clip, replace(SPEC, video=video, audio=AudioCodec.AAC))
    spool = tmp_path / "spool"
    spool.mkdir()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(spool), str(SSRC), form, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    sending = asyncio.create_task(send(int(await child.stdout.readline()), bursts(source)))
    # The second key frame is on the disk: a second of the stream takes 200 ms, and a flush at most one second.
    await asyncio.sleep(1.7)
    child.kill()
    await child.wait()
    await sending
    [part] = spool.iterdir()
    assert part.suffix == ".part"
    salvaged = salvage(str(part))
    assert salvaged is not None
    start_ms, end_ms, frames = salvaged
    [whole] = spool.iterdir()
    assert whole.name == f"{start_ms}-{end_ms}{FORMS.get(form, EXTENSIONS[video])}"
    assert file_facts(str(whole)).video == video.name
    file = read(whole)
    check_times(file)
    assert frames == sum(map(len, file.times.values()))
    sent = pictures_of(source, tmp_path)
    assert len(file.pictures) >= 25
    assert file.pictures == sent[: len(file.pictures)]
    with av.open(str(whole)) as container:
        assert container.duration == pytest.approx(len(file.pictures) * 40_000, abs=120_000)


def test_salvage_refuses_what_is_none_of_ours(tmp_path: Path) -> None:
    empty = tmp_path / "17.flv.part"
    empty.write_bytes(b"FLV\x01\x05\0\0\0\x09\0\0\0\0")
    assert salvage(str(empty)) is None
    assert not empty.exists()
    with pytest.raises(CoreError, match="cannot salvage"):
        salvage(str(empty))
    foreign = tmp_path / "holiday.flv"
    foreign.write_bytes(b"FLV")
    with pytest.raises(CoreError, match="no name"):
        salvage(str(foreign))
    assert foreign.exists()
    (tmp_path / "18.mp4.part").mkdir()
    with pytest.raises(CoreError, match="is no file"):
        salvage(str(tmp_path / "18.mp4.part"))


async def test_orders_that_cannot_be_are_refused(bench: Bench, tmp_path: Path) -> None:
    def record(receiver: int, slice_ms: int = 1000, utc_offset_ms: int = 0) -> int:
        return bench.relay.record(
            receiver, directory=str(tmp_path), slice_ms=slice_ms, utc_offset_ms=utc_offset_ms, tag=""
        )

    with pytest.raises(UnknownReceiverError):
        record(bench.receiver.id + 1)
    with pytest.raises(CoreError, match="slice_ms"):
        record(bench.receiver.id, slice_ms=0)
    with pytest.raises(CoreError, match="utc_offset_ms"):
        record(bench.receiver.id, utc_offset_ms=100_000_000)
    with pytest.raises(ValueError, match="neither flv nor fmp4"):
        bench.relay.record(
            bench.receiver.id, directory=str(tmp_path), slice_ms=1000, utc_offset_ms=0, tag="", form="ts"
        )
    bench.relay.stop_recording(99)
