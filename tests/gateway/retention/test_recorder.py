"""Recording over the real relay: what is to be retained is, from the first picture to the last, and nothing else."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts.model import Project
from gateway.clock import utc_now
from gateway.credentials.model import Credential, CredentialType
from gateway.devices.model import CatalogueEntry, DeviceId, DeviceType
from gateway.media_event import MediaEvent
from gateway.retention.depot import Depot
from gateway.retention.model import MarkKind, RecordingForm, Slice, SliceState, StoreType
from gateway.retention.names import playlist_key
from gateway.retention.recorder import Recorder
from gateway.retention.rules import Wish
from gateway.retention.spool import SpoolLimits
from gateway.retention.works import RetentionWorks
from gateway.scope import Scope
from gateway.simulator.clip import ClipSpec, clip
from gateway.simulator.model import AudioCodec, VideoCodec
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import RtpStream, StreamFaults
from gateway.store import NewDevices, SecretBox, Store, StreamFilter
from gateway.streams.model import StreamState
from media._core import Stream, salvage
from media.relay import Relay
from tests import s3
from tests.databases import sqlite
from tests.e2e.files import serving_files
from tests.e2e.playing import picture_sums, run, sent_sums
from tests.gateway.media_events import Event
from tests.gateway.retention.samples import NOW, PROJECT

HOST = "127.0.0.1"
SPEC = ClipSpec(width=320, height=192, fps=25, gop=50, seconds=4, bitrate_bps=400_000, audio=None)
START = Wish(zone_hours=8, hours=1, store_type=StoreType.LOCAL, state=StreamState.ACTIVE)
STOP = Wish(zone_hours=8, state=StreamState.STOPPED)
PLENTY = SpoolLimits(1 << 40, 0)


class Hasty:
    """The relay, with minutes that last a second or so: slices need not be waited for."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.started = 0
        self.haste = 60

    def record(
        self, receiver: int, *, directory: str, slice_ms: int, utc_offset_ms: int, tag: str, form: str | None = None
    ) -> int:
        self.started += 1
        return self._relay.record(
            receiver,
            directory=directory,
            slice_ms=slice_ms // self.haste,
            utc_offset_ms=utc_offset_ms,
            tag=tag,
            form=form,
        )

    def stop_recording(self, recording: int) -> None:
        self._relay.stop_recording(recording)

    def streams(self) -> Sequence[Stream]:
        return self._relay.streams()


class Camera:
    """Sends pictures to a receiver, one every few milliseconds."""

    def __init__(self, relay: Relay, name: str, ssrc: int, spec: ClipSpec = SPEC) -> None:
        self._relay, self._name, self._spec = relay, name, spec
        self.receiver = relay.open_receiver("default", name, transport="udp", ssrc=ssrc, peer=HOST)
        self._stream = RtpStream(PsWriter(spec.video, spec.audio), ssrc, StreamFaults())
        self.sent = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    async def send(self, seconds: float) -> None:
        source = clip(self._spec)
        units = source.units
        for _ in range(round(seconds * 50)):
            unit = units[self.sent % len(units)].at(self.sent // len(units) * source.duration)
            for packet in self._stream.packetise(unit):
                self._socket.sendto(packet, (HOST, self.receiver.port))
            self.sent += 1
            await asyncio.sleep(0.02)

    def close(self) -> None:
        self._socket.close()
        self._relay.close_receiver(self.receiver.id)


class World:
    def __init__(self, store: Store, relay: Relay, root: Path, name: str, stream_id: str) -> None:
        self.store, self.relay, self.root = store, relay, root
        self.name, self.stream_id = name, stream_id
        self.hasty = Hasty(relay)
        self.form = RecordingForm.AUTO
        self.depot = Depot(None, root / "kept")
        self.works = self.build(PLENTY)
        self.ssrc = 115_000_000
        self.cameras: list[Camera] = []

    def build(self, limits: SpoolLimits) -> RetentionWorks:
        return RetentionWorks(
            self.store,
            self.hasty,
            self.depot,
            spool_root=self.root / "spool",
            limits=limits,
            uploads=2,
            salvage=salvage,
            clock=utc_now,
            look_seconds=0.2,
            form=lambda app, name: self.form,
        )

    @property
    def recorder(self) -> Recorder:
        return self.works.recorder

    def camera(self, spec: ClipSpec = SPEC) -> Camera:
        self.ssrc += 1
        self.cameras.append(Camera(self.relay, self.name, self.ssrc, spec))
        return self.cameras[-1]

    async def want(self, wish: Wish) -> None:
        self.recorder.changed(await self.store.retention.set(PROJECT, self.name, wish, utc_now()))

    @asynccontextmanager
    async def working(self, *, upload: bool = True) -> AsyncIterator[None]:
        tasks: list[asyncio.Task[None]] = []
        if upload:
            self.works.start(lambda work, name: tasks.append(asyncio.create_task(work, name=name)))
        else:
            tasks.append(asyncio.create_task(self.recorder.run()))
        try:
            yield
        finally:
            await self.recorder.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, good: Callable[[], bool], *, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not good():  # noqa: ASYNC110  (the other side is a thread of Rust)
                await asyncio.sleep(0.02)

    async def slices(self) -> Sequence[Slice]:
        return await self.store.retention.slices(self.stream_id, NOW, datetime.max.replace(tzinfo=NOW.tzinfo), limit=99)

    async def kinds(self) -> list[MarkKind]:
        end = utc_now() + timedelta(days=1)
        return [mark.kind for mark in await self.store.retention.history(self.stream_id, NOW, end)]

    def kept(self) -> list[Path]:
        return sorted((self.root / "kept").rglob("*.flv"))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    url, secrets = sqlite(tmp_path), SecretBox.load(tmp_path / "secret.key")
    async with (
        Store.open(url, secrets=secrets) as store,
        Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=22000, rtp_port_max=22999, threads=1) as relay,
    ):
        project = Project(project_id=PROJECT, name="default", created_at=NOW, subscribed_at=None, quotas={})
        await store.accounts.add_project(project)
        credential = Credential(
            username="0100",
            project_id=PROJECT,
            type=CredentialType.NORMAL,
            password="Secret-1234",
            description="",
            created_at=NOW,
            updated_at=NOW,
        )
        await store.credentials.add(credential, quota=1)
        new = NewDevices(project_id=PROJECT, type=DeviceType.IPC, credential="0100", suffix="", description="", at=NOW)
        [device] = await store.devices.create(new, domain="3402000000", quantity=1, quota=10)
        entry = CatalogueEntry(node_id="34020000001310000001", name="gate", video=True, reported_on=True)
        await store.channels.upsert_catalogue(DeviceId(device), [entry], complete=True, at=NOW)
        stream = (await store.streams.list(Scope(PROJECT), StreamFilter(), None)).entries[0]
        world = World(store, relay, tmp_path, stream.name, stream.stream_id)

        def handle(event: MediaEvent) -> None:
            world.recorder.handle_media(event)

        relay.listen(handle)
        yield world
        for camera in world.cameras:
            camera.close()


async def test_a_stream_is_recorded_from_its_start_and_cut(world: World) -> None:
    await asyncio.to_thread(clip, SPEC)
    await world.want(START)
    async with world.working():
        camera = world.camera()
        await camera.send(7)
        assert world.recorder.running == 1
        assert world.recorder.running_since("default", world.name) is not None
        await world.want(STOP)
        await world.until(lambda: world.recorder.running == 0)
        await world.until(lambda: not list((world.root / "spool").rglob("*.*")))
    slices = await world.slices()
    assert len(slices) == len(world.kept()) >= 2, "cut every five seconds"
    assert sum(one.frames for one in slices) == camera.sent, "every picture, from the first"
    assert [one.reason for one in slices] == ["cut"] * (len(slices) - 1) + ["stopped"]
    assert world.hasty.started == 1
    assert not [path for path in (world.root / "spool").rglob("*") if path.is_file()]


async def test_what_is_not_to_be_retained_is_not_recorded(world: World) -> None:
    async with world.working():
        await world.camera().send(0.5)
        await asyncio.sleep(0.5)
        assert world.hasty.started == 0
        await world.want(START)
        await world.until(lambda: world.recorder.running == 1)


async def test_a_stream_that_comes_back_is_recorded_anew(world: World) -> None:
    await world.want(START)
    async with world.working():
        first = world.camera()
        await first.send(1)
        first.close()
        await world.until(lambda: world.recorder.running == 0)
        assert not world.recorder.flows("default", world.name)
        second = world.camera()
        await second.send(1)
        await world.recorder.close()
        await world.until(lambda: world.recorder.counters.slices == 2)
        slices = await world.slices()
    assert sum(one.frames for one in slices) == first.sent + second.sent
    assert len({one.recording_id for one in slices}) == 2
    kinds = await world.kinds()
    assert kinds.index(MarkKind.FLOWING) < kinds.index(MarkKind.ABSENT)


async def test_a_full_spool_stops_recording_and_loses_nothing(world: World) -> None:
    world.works = world.build(SpoolLimits(20_000, 0))
    await world.want(START)
    async with world.working(upload=False):
        camera = world.camera()
        sending = asyncio.create_task(camera.send(3))
        await world.until(lambda: world.recorder.full)
        await world.until(lambda: world.recorder.running == 0)
        await sending
        await world.until(lambda: world.recorder.counters.slices > 0)
        slices = await world.slices()
        started = world.hasty.started
        assert started == 1, "and it does not begin again"
    assert slices, "what was recorded is still there"
    assert sum(path.stat().st_size for path in (world.root / "spool").rglob("*.flv")) >= 18_000
    world.works = world.build(SpoolLimits(20_000, 0))
    async with world.working():
        more = asyncio.create_task(camera.send(3))
        await world.until(lambda: world.works.uploader.counters.stored >= 1)
        await world.until(lambda: world.hasty.started > started and not world.recorder.full)
        await more
    kinds = await world.kinds()
    assert MarkKind.SPOOL_FULL in kinds
    assert MarkKind.SPOOL_FREE in kinds


async def test_what_a_crash_left_is_finished_and_stored(world: World) -> None:
    await world.want(START)
    async with world.working():
        camera = world.camera()
        await camera.send(2)
        await world.until(lambda: bool(list((world.root / "spool").rglob("*.part"))))
        [part] = (world.root / "spool").rglob("*.part")
        content = part.read_bytes()
        await world.recorder.close()
    await world.until(lambda: not part.exists())
    for path in (world.root / "spool").rglob("*.flv"):
        path.unlink()
    part.write_bytes(content[:-3])  # as the kernel had it when the process died
    world.works = world.build(PLENTY)
    async with world.working():
        await world.until(lambda: world.works.counts()["spool_salvaged"] == 1)
        await world.until(lambda: world.works.uploader.counters.stored >= 1)
    assert "salvaged" in {one.reason for one in await world.slices()}
    kinds = await world.kinds()
    assert kinds.index(MarkKind.DOWN) < len(kinds) - 1 - kinds[::-1].index(MarkKind.UP)


async def test_events_that_were_lost_are_made_good(world: World) -> None:
    """The relay's queue overflowed: neither the stream's beginning nor its slices were told."""
    await world.want(START)
    camera = world.camera()
    recorder = world.recorder
    told: list[MediaEvent] = []
    recorder.handle_media = told.append  # type: ignore[method-assign, assignment]
    async with world.working():
        await camera.send(1)
        await world.until(lambda: recorder.running == 1)
        await camera.send(1)
        camera.close()
        await world.until(lambda: any(event.kind == "slice" for event in told))
        Recorder.handle_media(recorder, Event("overflow", detail={"lost": "3"}))
        await world.until(lambda: world.works.uploader.counters.stored >= 1)
    assert {one.reason for one in await world.slices()} == {"found"}, "one, or two where a minute ended meanwhile"


@pytest.mark.parametrize("kept_in", StoreType)
async def test_what_is_kept_as_hls_needs_no_gateway(
    world: World, s3_server: s3.Server, bucket: str, tmp_path: Path, kept_in: StoreType
) -> None:
    """FFmpeg plays H.264 with G.711 of a bucket, and H.265 of a directory, from a plain server of files: what was sent,
    picture for picture, and as long as it was. It was FLV, or fMP4 without a playlist, until that was chosen."""
    stored = kept_in is StoreType.OBS
    coded = VideoCodec.H264 if stored else VideoCodec.H265
    spec = replace(SPEC, video=coded, width=160, height=96, gop=25, audio=AudioCodec.G711A if stored else None)
    sent = await sent_sums(spec, tmp_path)
    world.hasty.haste = 10
    world.depot = Depot(s3_server.storage(), tmp_path / "kept")
    world.works = world.build(PLENTY)
    await world.want(replace(START, store_type=kept_in, bucket=bucket if stored else None, path="kept/"))
    async with world.working():
        camera = world.camera(spec)
        await camera.send(0.6)
        world.form = RecordingForm.HLS
        await camera.send(3.6)
        await world.until(lambda: world.hasty.started == 2)
        await world.want(STOP)
        await world.until(lambda: not list((world.root / "spool").rglob("*.*")))
    slices = await world.slices()
    assert [one.playlist for one in slices] == [False] + [True] * (len(slices) - 1), slices
    assert slices[0].key.endswith(".flv" if stored else ".mp4")
    root = tmp_path / "kept" / PROJECT
    if stored:
        for key, content in (await s3_server.objects(bucket)).items():
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).write_bytes(content)
    pictures: list[int] = []
    with serving_files(root) as url:
        for one in slices[1:]:
            address = f"{url}/{playlist_key(one.key)}"
            shown = await picture_sums(address)
            pictures += [sent.index(picture) for picture in shown]
            played = await probed(address)
            assert played["packets"] == (await probed(f"{url}/{one.key}"))["packets"], "all of the file, at its times"
            assert {packet["codec_type"] for packet in played["packets"]} == {"video"} | (
                {"audio"} if stored else set()
            )
            assert abs(float(played["format"]["duration"]) - len(shown) / spec.fps) < 0.1
    count = sum(unit.is_video for unit in islice(cycle(clip(spec).units), camera.sent))
    assert pictures == [number % len(sent) for number in range(count - len(pictures), count)]
    assert len(pictures) > count / 2


async def probed(address: str) -> dict[str, Any]:
    """Packets by kind and time, and how long it is, as ffprobe sees it."""
    wanted = "packet=codec_type,pts_time,size:format=duration"
    found: dict[str, Any] = json.loads(
        await run("ffprobe", "-v", "error", "-show_entries", wanted, "-of", "json", address)
    )
    found["packets"].sort(key=lambda packet: (packet["codec_type"], float(packet["pts_time"])))
    return found


async def test_a_bucket_that_is_away_for_an_hour_misses_no_picture(
    world: World, s3_server: s3.Server, bucket: str, broken: tuple[int, s3.Faults], tmp_path: Path
) -> None:
    """An hour of half a minute: recording goes on, and afterwards every picture is there once, in order."""
    port, faults = broken
    world.hasty.haste = 120
    world.depot = Depot(s3_server.storage(port), tmp_path / "kept")
    world.works = world.build(PLENTY)
    await world.want(replace(START, store_type=StoreType.OBS, bucket=bucket, path="", slice_minutes=1))
    async with world.working():
        camera = world.camera()
        await camera.send(2)
        await world.until(lambda: world.works.uploader.counters.stored >= 1)
        faults.away()
        await camera.send(30)
        waiting = world.works.uploader.backlog
        assert len(waiting) >= 20, "recording goes on"
        assert waiting.away() == [f"OBS/{bucket}"]
        assert world.works.uploader.counters.failed < 15, "and the bucket is not stormed"
        faults.heal()
        await camera.send(2)
        await world.want(STOP)
        await world.until(lambda: not list((world.root / "spool").rglob("*.*")), seconds=60)
    objects = await s3_server.objects(bucket)
    slices = [one for one in await world.slices() if one.state is SliceState.UPLOADED]
    assert sorted(one.key for one in slices) == sorted(objects)
    sent = await sent_sums(SPEC, tmp_path)
    pictures: list[int] = []
    for one in slices:
        file = tmp_path / "slice.flv"
        file.write_bytes(objects[one.key])
        pictures += [sent.index(picture) for picture in await picture_sums(file)]
    assert pictures == [number % len(sent) for number in range(camera.sent)]
