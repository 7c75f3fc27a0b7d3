"""Recordings played back as a stream: every picture once across files, exact to the key frame, at any speed."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import av
import httpx
import pytest

from gateway.background import Background
from gateway.simulator.clip import clip
from gateway.simulator.model import AudioCodec, VideoCodec
from gateway.streams.siblings import Siblings
from media._core import CoreError, Event, UnknownReceiverError, file_facts, init_segment, segment
from media.relay import Relay
from tests.media.test_play_forms import decode
from tests.media.test_recording import HOST, SPEC, Bench, hashes, read, recorded

H264 = replace(SPEC, audio=AudioCodec.AAC, b_frames=2)
H265 = replace(SPEC, video=VideoCodec.H265, audio=AudioCodec.G711A)


@dataclass
class Stage:
    """A relay with recordings of one stream, and its front door."""

    relay: Relay
    http: int
    files: list[tuple[str, int]]
    events: list[Event]
    folder: Path

    def open(self, *, position_ms: int = 0, speed: float = 1.0, paused: bool = True) -> int:
        return self.relay.open_playback(
            "test", "replay", self.files, position_ms=position_ms, speed=speed, paused=paused, private=False
        ).id

    def positions(self) -> list[int]:
        told = [event.detail for event in self.events if event.kind == "playback_position"]
        assert not [detail for detail in told if "problem" in detail], told
        return [int(detail["position_ms"]) for detail in told]

    async def viewers(self, count: int, name: str = "replay") -> None:
        async with asyncio.timeout(10):
            while True:
                stream = await asyncio.to_thread(self.relay.stream, "test", name)
                if stream is not None and stream.viewers["http-flv"] == count:
                    return
                await asyncio.sleep(0.01)

    async def watch(self, query: str = "") -> bytes:
        """All that an HTTP-FLV viewer gets, to the end."""
        pieces = []
        url = f"http://{HOST}:{self.http}/test/replay.live.flv{query}"
        with contextlib.suppress(httpx.RemoteProtocolError):
            async with httpx.AsyncClient(timeout=30) as client, client.stream("GET", url) as response:
                assert response.status_code == 200
                async for piece in response.aiter_raw():
                    pieces.append(piece)  # noqa: PERF401  (kept when the connection breaks)
        return b"".join(pieces)


@pytest.fixture(params=[H264, H265], ids=["h264", "h265"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=22000, rtp_port_max=22999, threads=1) as relay:
        bench = Bench(relay, tmp_path)
        source = await asyncio.to_thread(clip, request.param)
        paths = await recorded(bench, source)
        assert len(paths) > 2
        # The clip went by faster than its own times: as if it had not.
        files, start_ms = [], 1_000_000
        for path in paths:
            files.append((str(path), start_ms))
            start_ms += file_facts(str(path)).duration_ms
        http = relay.listen_http(HOST, 0, "/nonexistent")
        yield Stage(relay, http, files, bench.events, tmp_path)


def in_files(stage: Stage) -> list[str]:
    return [picture for path, _ in stage.files for picture in decode(path, Path(path).suffix[1:]).pictures]


def played(data: bytes) -> tuple[list[str], list[float], int]:
    """Hashes of the pictures, their decoding times, and how many runs of sound."""
    found = decode(data, "flv")
    return found.pictures, found.decoding_times["video"], len(found.decoding_times.get("audio", []))


async def test_nothing_is_lost_or_twice_across_files(stage: Stage) -> None:
    receiver = stage.open()
    viewer = asyncio.create_task(stage.watch())
    await stage.viewers(1)
    stage.relay.playback_pause(receiver, False)
    pictures, times, sound = await asyncio.to_thread(played, await asyncio.wait_for(viewer, 30))
    assert pictures == await asyncio.to_thread(in_files, stage)
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert min(steps) > 0
    assert max(steps) < 0.2, "one clock that goes on evenly"
    files = [read(Path(path)) for path, _ in stage.files]
    assert sound >= sum(len(file.sound) for file in files) - len(files)
    ended = [event for event in stage.events if event.kind == "ended" and event.receiver == receiver]
    async with asyncio.timeout(20):
        while not ended:
            await asyncio.sleep(0.01)
            ended = [event for event in stage.events if event.kind == "ended" and event.receiver == receiver]
    assert ended[0].detail["reason"] == "end"
    with pytest.raises(UnknownReceiverError):
        stage.relay.playback_seek(receiver, 0)


@dataclass(frozen=True)
class Known:
    """The one playback there is."""

    app: str = "test"
    name: str = "replay"
    private: bool = False
    generation: int = 0

    async def find(self, _app: str, name: str) -> "Known | None":
        return self if name == self.name else None


async def test_who_wants_aac_of_a_playback_that_stands_waits_for_it_to_move(stage: Stage) -> None:
    async with Background() as background, Siblings(stage.relay, (Known(),), background.spawn) as siblings:  # type: ignore[arg-type]
        receiver = stage.open()
        needed = stage.files[0][0].endswith(".mp4")  # their sound is G.711, that of the others AAC
        viewer = asyncio.create_task(stage.watch("?audio=aac"))
        async with asyncio.timeout(20):
            while needed and not (asked := [one for one in stage.events if one.kind == "aac"]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        if needed:
            siblings.handle_media(asked[0])
        await stage.viewers(1, "replay~aac" if needed else "replay")
        stage.relay.playback_pause(receiver, False)
        found = await asyncio.to_thread(decode, await asyncio.wait_for(viewer, 60), "flv")
    assert found.pictures == await asyncio.to_thread(in_files, stage)
    assert len(found.decoding_times["audio"]) > 0


async def test_a_seek_begins_with_the_key_frame_before(stage: Stage) -> None:
    path, start_ms = stage.files[1]
    facts = file_facts(path)
    assert (facts.form, facts.video) == (("flv", "H264") if path.endswith(".flv") else ("mp4", "H265"))
    assert facts.audio and facts.size == Path(path).stat().st_size and facts.entries
    key_ms, _ = facts.entries[-1]
    receiver = stage.open()
    viewer = asyncio.create_task(stage.watch())
    await stage.viewers(1)
    stage.relay.playback_seek(receiver, start_ms + key_ms + 30)
    stage.relay.playback_pause(receiver, False)
    pictures, _, _ = await asyncio.to_thread(played, await asyncio.wait_for(viewer, 30))
    everything = await asyncio.to_thread(in_files, stage)
    with av.open(path) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.dts is not None]
    before = len(decode(stage.files[0][0], facts.form).pictures) + max(number for number, key in enumerate(keys) if key)
    assert pictures == everything[before:]
    assert stage.positions()[0] == pytest.approx(start_ms + key_ms, abs=2)


@pytest.mark.parametrize("speed", [4.0, 16.0])
async def test_faster_is_without_sound_and_above_four_with_key_frames_only(stage: Stage, speed: float) -> None:
    receiver = stage.open(speed=speed)
    viewer = asyncio.create_task(stage.watch())
    await stage.viewers(1)
    loop = asyncio.get_running_loop()
    stage.relay.playback_pause(receiver, False)
    begun = loop.time()
    pictures, _, sound = await asyncio.to_thread(played, await asyncio.wait_for(viewer, 30))
    took = loop.time() - begun
    everything = await asyncio.to_thread(in_files, stage)
    keys = sum(len(file_facts(path).entries) for path, _ in stage.files)
    assert sound == 0
    assert len(pictures) == (keys if speed > 4 else len(everything))
    assert took < len(everything) / SPEC.fps / speed + 3


async def test_what_stands_still_brings_nothing_and_goes_on(stage: Stage) -> None:
    receiver = stage.open(paused=False)
    await asyncio.sleep(0.6)
    stage.relay.playback_pause(receiver, True)
    await asyncio.sleep(0.2)
    first = await asyncio.to_thread(stage.relay.stream, "test", "replay")
    await asyncio.sleep(0.4)
    second = await asyncio.to_thread(stage.relay.stream, "test", "replay")
    assert first is not None and second is not None
    assert 0 < first.received == second.received and first.transport == "playback"
    stage.relay.playback_pause(receiver, False)
    await asyncio.sleep(0.4)
    third = await asyncio.to_thread(stage.relay.stream, "test", "replay")
    assert third is not None and third.received > second.received
    stage.relay.close_receiver(receiver)


async def test_segments_hold_every_picture_once(stage: Stage) -> None:
    for path, _ in stage.files[:2]:
        facts = file_facts(path)
        starts = [at for at, _ in facts.entries]
        ends = [*starts[1:], facts.duration_ms + 1000]
        for form in ("fmp4", "ts"):
            parts = [segment(path, start, end, form) for start, end in zip(starts, ends, strict=True)]  # type: ignore[arg-type]
            file = stage.folder / f"parts.{form}"
            file.write_bytes((init_segment(path) if form == "fmp4" else b"") + b"".join(parts))
            assert hashes(file) == hashes(Path(path)), form


async def test_the_newest_key_frame_is_a_picture(stage: Stage) -> None:
    receiver = stage.open(paused=False, position_ms=stage.files[0][1])
    await asyncio.sleep(0.3)
    found = await asyncio.to_thread(stage.relay.key_frame, receiver)
    assert found is not None
    assert (found.codec, found.width, found.height) == (file_facts(stage.files[0][0]).video, 320, 192)
    codec = av.CodecContext.create({"H264": "h264", "H265": "hevc"}[found.codec], "r")
    frames = [*codec.decode(av.Packet(found.data)), *codec.decode(None)]
    assert [(frame.width, frame.height) for frame in frames] == [(320, 192)]
    assert hashlib.sha256(found.data).digest()
    stage.relay.close_receiver(receiver)
    with pytest.raises(UnknownReceiverError):
        stage.relay.key_frame(10_000)


async def test_what_cannot_be_played_is_refused_or_left_out(stage: Stage) -> None:
    for wrong in ([], [("/x/1.avi", 1)], list(reversed(stage.files))):
        with pytest.raises(CoreError):
            stage.relay.open_playback("test", "replay", wrong)
    for speed in (0.0, 0.2, 17.0, float("nan")):
        with pytest.raises(CoreError):
            stage.relay.open_playback("test", "replay", stage.files, speed=speed)
    broken = stage.folder / "1-2.flv"
    broken.write_bytes(b"FLV\x01" + bytes(100))
    missing = (str(stage.folder / "2-3.mp4"), 2)
    receiver = stage.relay.open_playback("test", "replay", [(str(broken), 1), missing, *stage.files], private=False)
    async with asyncio.timeout(10):
        while ("first_key_frame", receiver.id) not in [(event.kind, event.receiver) for event in stage.events]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    problems = [event.detail["problem"] for event in stage.events if "problem" in event.detail]
    assert len(problems) == 2
    stage.relay.close_receiver(receiver.id)
