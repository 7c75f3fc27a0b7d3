"""Recordings that lie in a bucket of a real S3 server: what is moved from there, in which order, and when it breaks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest

from gateway.playback.service import Playbacks, Steering
from gateway.retention.model import Slice, SliceState
from gateway.scope import Scope
from gateway.simulator.clip import clip
from gateway.simulator.model import AudioCodec
from gateway.streams.siblings import SUFFIX
from media._core import file_facts, init_segment, segment
from media.relay import Relay
from tests import s3
from tests.api.conftest import Client, Opener
from tests.api.world import World
from tests.gateway.retention.samples import a_slice, recording
from tests.media.test_play_forms import decode
from tests.media.test_recording import HOST, SPEC, Bench, bursts, recorded, send

BEGIN = datetime(2026, 3, 1, 6, tzinfo=UTC)
KIB = 1024


@dataclass
class Shelf:
    """A gateway with a stream of which slices lie in a bucket, behind a proxy."""

    world: World
    client: Client
    server: s3.Server
    bucket: str
    faults: s3.Faults
    slices: list[Slice]
    kept: Path

    @property
    def scope(self) -> Scope:
        return Scope(self.client.project_id)

    async def add(self, data: bytes, suffix: str, start_at: datetime, seconds: float) -> None:
        stream = await self.world.store.streams.get(self.scope, "kept")
        assert stream is not None
        of = recording(
            recording_id=f"{len(self.slices) + 1:032x}",
            stream_id=stream.stream_id,
            project_id=self.client.project_id,
            app=stream.app,
            name="kept",
            bucket=self.bucket,
        )
        await self.world.store.retention.begin([of])
        found = a_slice(of, start_at, seconds, size_bytes=len(data), state=SliceState.UPLOADED)
        found = replace(found, file=found.file.replace(".flv", suffix), key=found.key.replace(".flv", suffix))
        kept = await self.world.store.retention.add_slice(found)
        assert kept is not None
        await obstore.put_async(self.server.bucket(self.bucket), kept.key, data)
        self.slices.append(kept)

    async def listed(self) -> Any:
        times = {"begin": BEGIN.isoformat(), "end": (BEGIN + timedelta(hours=6)).isoformat()}
        answer = await self.client("GET", "/gb/v1/streams/kept/recordings", **times)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def get(self, url: str, **headers: str) -> httpx.Response:
        return await self.client.http.get(url.replace("https://", "http://"), headers=headers)

    def fetched(self) -> list[int]:
        """Slices of which anything was read, in order of the first request."""
        keys = {f"/{self.bucket}/{one.key}": number for number, one in enumerate(self.slices)}
        return list(dict.fromkeys(keys[path] for method, path in self.faults.requests if method == "GET"))


@pytest.fixture
async def shelf(
    opened: Opener, s3_server: s3.Server, bucket: str, broken: tuple[int, s3.Faults], tmp_path: Path
) -> AsyncIterator[Shelf]:
    port, faults = broken
    world, client = await opened(object_storage=s3_server.storage(port))
    await client.ok("POST", "streams", {"name": "kept", "access_type": "RTMP", "encode_type": "H264"})
    yield Shelf(world, client, s3_server, bucket, faults, [], tmp_path / "kept")
    await end(world.gateway.playbacks)


async def end(playbacks: Playbacks) -> None:
    task = asyncio.create_task(playbacks.run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while True:
            found = true()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)


async def test_a_range_moves_itself_and_no_file(shelf: Shelf) -> None:
    data = bytes(range(256)) * 8 * KIB
    await shelf.add(data, ".flv", BEGIN, 60)
    url = (await shelf.listed())["recordings"][0]["url"]
    answer = await shelf.get(url, Range="bytes=1000000-1001023")
    assert (answer.status_code, answer.content) == (206, data[1_000_000:1_001_024])
    assert answer.headers["content-range"] == f"bytes 1000000-1001023/{len(data)}"
    assert KIB <= shelf.faults.moved < 4 * KIB, "1 KiB, and the heads of two answers"
    head = await shelf.client.http.head(url)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(data)))
    assert shelf.faults.moved < 6 * KIB
    assert (await shelf.get(url)).content == data
    assert not list(shelf.kept.glob("fetched/*"))


async def test_a_bucket_that_breaks_off_is_asked_again_and_one_that_is_away_is_told_of(shelf: Shelf) -> None:
    data = bytes(range(256)) * 8 * KIB
    await shelf.add(data, ".flv", BEGIN, 60)
    url = (await shelf.listed())["recordings"][0]["url"]
    shelf.faults.cut_answers = 2
    assert (await shelf.get(url)).content == data
    assert shelf.faults.cut_answers == 0
    shelf.faults.answer = (404, b"<Error><Code>NoSuchKey</Code></Error>")
    shelf.faults.away()
    shelf.faults.refuse = False
    assert (await shelf.get(url, Range="bytes=0-9")).status_code == 404
    shelf.faults.answer = (403, s3.DENIED)
    answer = await shelf.get(url, Range="bytes=0-9")
    assert answer.status_code >= 400
    assert shelf.bucket in answer.text


async def test_a_playback_fetches_in_order_of_need(shelf: Shelf) -> None:
    for number in range(5):
        await shelf.add(bytes(5000 + number), ".flv", BEGIN + number * timedelta(minutes=1), 60)
    playbacks = shelf.world.gateway.playbacks
    begin, end_at = BEGIN + timedelta(minutes=2, seconds=10), BEGIN + timedelta(minutes=5)
    first = await playbacks.create(shelf.scope, "kept", BEGIN + timedelta(seconds=10), end_at)
    assert shelf.fetched() == [0]
    assert not first.still
    await until(lambda: shelf.fetched() == [0, 1])
    shelf.faults.requests.clear()
    await playbacks.steer(shelf.scope, "kept", first.playback_id, Steering(position=begin))
    assert shelf.fetched()[0] == 2
    await until(lambda: shelf.fetched() == [2, 3])
    await asyncio.gather(*(playbacks.create(shelf.scope, "kept", begin, end_at) for _ in range(3)))
    reads = [path for method, path in shelf.faults.requests if method == "GET" and path.endswith(shelf.slices[2].key)]
    assert len(reads) == 1, "one fetch, however many want it"


async def test_a_playback_that_begins_in_the_third_does_not_fetch_the_first_two(shelf: Shelf) -> None:
    for number in range(5):
        await shelf.add(bytes(5000 + number), ".flv", BEGIN + number * timedelta(minutes=1), 60)
    playbacks = shelf.world.gateway.playbacks
    made = await playbacks.create(shelf.scope, "kept", BEGIN, BEGIN + timedelta(minutes=5), paused=True)
    await playbacks.delete(shelf.scope, "kept", made.playback_id)
    shelf.faults.requests.clear()
    await playbacks.create(shelf.scope, "kept", BEGIN + timedelta(minutes=2, seconds=30), BEGIN + timedelta(minutes=5))
    await until(lambda: shelf.fetched() == [2, 3])


async def test_who_hears_a_playback_as_aac_watches_it(shelf: Shelf) -> None:
    await shelf.add(bytes(5000), ".flv", BEGIN, 60)
    world, playbacks = shelf.world, shelf.world.gateway.playbacks
    made = await playbacks.create(shelf.scope, "kept", BEGIN, BEGIN + timedelta(minutes=1))
    beside = (made.app, made.name + SUFFIX)
    world.relay.live[made.app, made.name] = replace(world.relay.live[made.app, made.name], viewers={})
    world.relay.live[beside] = replace(world.relay.live[made.app, made.name], viewers={"rtsp": 1})
    world.now += timedelta(minutes=2)
    await playbacks.look()
    assert await playbacks.find(made.app, made.name) is made
    world.relay.live[beside] = replace(world.relay.live[beside], viewers={"rtsp": 0})
    world.now += timedelta(minutes=2)
    await playbacks.look()
    assert await playbacks.find(made.app, made.name) is None


async def test_a_bucket_that_fails_holds_a_playback_up_until_it_is_back(shelf: Shelf) -> None:
    for number in range(2):
        await shelf.add(bytes(5000), ".flv", BEGIN + number * timedelta(seconds=1), 1)
    playbacks = shelf.world.gateway.playbacks
    shelf.faults.answer = (403, s3.DENIED)
    answer = await shelf.client(
        "POST",
        "/gb/v1/streams/kept/playbacks",
        {"begin": BEGIN.isoformat(), "end": (BEGIN + timedelta(seconds=2)).isoformat()},
    )
    assert answer.status_code >= 400
    assert shelf.bucket in answer.text
    shelf.faults.heal()
    await shelf.add(bytes(5000), ".flv", BEGIN + timedelta(seconds=10), 5)
    await shelf.add(bytes(5000), ".flv", BEGIN + timedelta(seconds=15), 5)
    found = await playbacks.create(
        shelf.scope, "kept", BEGIN + timedelta(seconds=10), BEGIN + timedelta(seconds=20), paused=True
    )
    shelf.faults.answer = (403, s3.DENIED)
    shelf.faults.away()
    shelf.faults.refuse = False
    made = await playbacks.create(
        shelf.scope, "kept", BEGIN + timedelta(seconds=10), BEGIN + timedelta(seconds=20), speed=16
    )
    assert made.still, "5 s at 16 times the speed, and the next file is missing"
    assert not made.paused
    await until(lambda: shelf.bucket in made.waiting)
    shelf.faults.heal()
    await until(lambda: not made.still)
    assert made.waiting == ""
    assert found.still, "somebody wants it so"


@pytest.mark.timeout(90)
async def test_pictures_come_from_a_bucket(shelf: Shelf, tmp_path: Path) -> None:
    """All of them by playback, one file after the other; by HLS, of which a segment moves its part alone."""
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=22000, rtp_port_max=22999, threads=1) as relay:
        source = await asyncio.to_thread(clip, replace(SPEC, audio=AudioCodec.AAC))
        files = (await recorded(Bench(relay, tmp_path), source))[:4]
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=22000, rtp_port_max=22999, threads=1) as relay:
        start_at = BEGIN
        for file in files:
            seconds = file_facts(str(file)).duration_ms / 1000
            await shelf.add(file.read_bytes(), file.suffix, start_at, seconds)
            start_at += timedelta(seconds=seconds)

        listing = await shelf.listed()
        playlist = (await shelf.get(listing["hls"])).text
        base = listing["hls"].partition("hls.m3u8")[0]
        lines = [line for line in playlist.splitlines() if line and not line.startswith("#")]
        assert [line.partition("/")[0] for line in lines] == [one.slice_id for one in shelf.slices]
        for number, line in enumerate(lines):
            from_ms, to_ms = line.partition("/")[2].partition(".")[0].split("-")
            made = segment(str(files[number]), int(from_ms), int(to_ms), "fmp4")
            assert (await shelf.get(base + line)).content == made
            init = line.partition("/")[0] + "/init.mp4?" + line.partition("?")[2]
            assert (await shelf.get(base + init)).content == init_segment(str(files[number]))
        assert not list(shelf.kept.glob("fetched/*"))

        world = shelf.world
        playbacks = Playbacks(world.store, relay, world.gateway.recordings, lambda: world.now)
        relay.listen(playbacks.handle_media)
        http = relay.listen_http(HOST, 0, "/nonexistent")
        made_ = await playbacks.create(shelf.scope, "kept", BEGIN, start_at, paused=True)
        try:
            query = relay.sign(made_.app, made_.name, 4_000_000_000)
            url = f"http://{HOST}:{http}/{made_.app}/{made_.name}.live.flv?{query}"
            async with httpx.AsyncClient(timeout=30) as client, client.stream("GET", url) as response:
                assert response.status_code == 200
                await playbacks.steer(shelf.scope, "kept", made_.playback_id, Steering(paused=False))
                pieces = []
                with suppress(httpx.RemoteProtocolError):
                    async for piece in response.aiter_raw():
                        pieces.append(piece)  # noqa: PERF401  (kept when the connection breaks)
        finally:
            await end(playbacks)
        wanted = [picture for file in files for picture in decode(file.read_bytes(), "flv").pictures]
        assert decode(b"".join(pieces), "flv").pictures == wanted
        assert made_.problems == 0


@pytest.mark.timeout(60)
async def test_the_first_picture_of_a_large_recording_does_not_wait_for_the_rest(shelf: Shelf, tmp_path: Path) -> None:
    """From the middle of a file, over a way on which nothing more of it comes until the first picture did."""
    spec = replace(SPEC, width=640, height=360, seconds=10, bitrate_bps=4_000_000, audio=AudioCodec.AAC)
    source = await asyncio.to_thread(clip, spec)
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=22000, rtp_port_max=22999, threads=1) as relay:
        bench = Bench(relay, tmp_path)
        recording = relay.record(
            bench.receiver.id, directory=str(tmp_path), slice_ms=600_000, utc_offset_ms=0, tag="large"
        )
        await send(bench.receiver.port, bursts(source))
        relay.stop_recording(recording)
        await bench.wait("slice", "stopped")
        [file] = bench.slices()
    facts, data = file_facts(str(file)), file.read_bytes()
    await shelf.add(data, file.suffix, BEGIN, facts.duration_ms / 1000)
    assert len(data) > 3 * KIB * KIB
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=22000, rtp_port_max=22999, threads=1) as relay:
        world = shelf.world
        playbacks = Playbacks(world.store, relay, world.gateway.recordings, lambda: world.now)
        relay.listen(playbacks.handle_media)
        http = relay.listen_http(HOST, 0, "/nonexistent")
        shelf.faults.delay = 0.05  # for each 64 KiB
        shelf.faults.hold_after = len(data) * 6 // 10
        begin = BEGIN + timedelta(seconds=3)
        made = await playbacks.create(shelf.scope, "kept", begin, begin + timedelta(seconds=2.5))
        try:
            url = (
                f"http://{HOST}:{http}/{made.app}/{made.name}.live.flv?{relay.sign(made.app, made.name, 4_000_000_000)}"
            )
            pieces: list[bytes] = []
            async with httpx.AsyncClient(timeout=30) as client, client.stream("GET", url) as response:
                assert response.status_code == 200
                with suppress(httpx.RemoteProtocolError):
                    async for piece in response.aiter_raw():
                        if not pieces:
                            shelf.faults.delay, shelf.faults.hold_after = 0.01, None
                        pieces.append(piece)
        finally:
            await end(playbacks)
        wanted = decode(data, file.suffix[1:]).pictures
        played = decode(b"".join(pieces), "flv").pictures
        assert len(played) >= 60
        first = wanted.index(played[0])
        assert played == wanted[first : first + len(played)], "nothing is missing"
        assert made.problems == 0
