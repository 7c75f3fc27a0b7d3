"""From the spool to a bucket of a real S3 server, while the way there breaks and processes die."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import obstore
import pytest

from gateway.retention.depot import Depot
from gateway.retention.model import Recording, RecordingForm, Slice, SliceState, StoreType
from gateway.retention.names import next_key, playlist_key
from gateway.retention.places import Outcome
from gateway.retention.playlists import beside
from gateway.retention.spool import Closed, Spool
from gateway.retention.uploader import Uploader
from gateway.store import SecretBox, Store
from media._core import salvage
from tests import s3
from tests.databases import sqlite
from tests.gateway.retention.samples import NOW, recording


def _box(name: bytes, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4) + name + content


HEAD = _box(b"ftyp", b"iso5") + _box(b"moov")


class World:
    """A spool and what works on it; a new one over the same files is what comes after a crash."""

    def __init__(self, store: Store, root: Path, depot: Depot) -> None:
        self.store = store
        self.spool = Spool(root / "spool", store, salvage, self.ready)
        self.uploader = Uploader(store, self.spool, depot.at, at_once=3, jitter=lambda: 0.0)

    def ready(self, found: Slice) -> None:
        self.uploader.add(found)

    async def record(self, of: Recording, slices: int, size: int = 1000) -> list[Slice]:
        """Finished files, as the core makes them, and their slices."""
        if not await self.store.retention.recordings([of.recording_id]):
            await self.store.retention.begin([of])
        await self.spool.prepare([of.recording_id])
        for number in range(slices):
            await self.spool.take(of, self.write(of, number, size))
        return list(await self.store.retention.slices(of.stream_id, NOW, NOW + timedelta(days=1), limit=1000))

    def write(self, of: Recording, number: int, size: int = 1000) -> Closed:
        start = round(of.started_at.timestamp() * 1000) + number * 60_000
        content = bytes([number]) * size
        suffix = ".flv"
        if of.form is RecordingForm.HLS:
            suffix, content = ".mp4", HEAD + _box(b"moof") + _box(b"mdat", content)
        file = self.spool.directory(of.recording_id) / f"{start}-{start + 60_000}{suffix}"
        file.write_bytes(content)
        return Closed(file=file.name, size_bytes=len(content), frames=1500, reason="cut")

    def files(self) -> list[Path]:
        return [path for path in self.spool.directory("").rglob("*") if path.is_file()]

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.uploader.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not reached():  # noqa: ASYNC110  (what is waited for tells nobody)
                await asyncio.sleep(0.02)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(sqlite(tmp_path), secrets=SecretBox.load(tmp_path / "secret.key")) as store:
        yield store


@pytest.fixture
def of(bucket: str) -> Recording:
    return recording(bucket=bucket)


async def test_slices_are_stored_and_leave_the_spool(
    store: Store, tmp_path: Path, s3_server: s3.Server, of: Recording
) -> None:
    world = World(store, tmp_path, Depot(s3_server.storage(), tmp_path))
    async with world.working():
        slices = await world.record(of, 3)
        await world.until(lambda: world.uploader.counters.stored == 3)
        await world.until(lambda: not world.files())
    assert await s3_server.objects(of.bucket) == {one.key: bytes([n]) * 1000 for n, one in enumerate(slices)}
    assert set((await store.retention.known_slices([one.slice_id for one in slices])).values()) == {SliceState.UPLOADED}
    await world.spool.tidy([])
    assert not world.spool.directory(of.recording_id).exists()


async def test_a_bucket_that_is_away_gets_everything_when_it_is_back(
    store: Store, tmp_path: Path, s3_server: s3.Server, of: Recording, broken: tuple[int, s3.Faults]
) -> None:
    """It refuses, then is overloaded, then breaks connections; recording goes on meanwhile."""
    port, faults = broken
    world = World(store, tmp_path, Depot(s3_server.storage(port), tmp_path))
    other = recording(recording_id="2" * 32, stream_id="stream-2", name="other", bucket=of.bucket)
    async with world.working():
        faults.away()
        await world.record(of, 2)
        await world.until(lambda: world.uploader.counters.failed >= 1)
        faults.heal()
        faults.answer = (503, s3.SLOW_DOWN)
        before = world.uploader.counters.failed
        await world.record(other, 2)
        await world.until(lambda: world.uploader.counters.failed > before)
        faults.heal()
        faults.lose_answers = True
        before = world.uploader.counters.failed
        await world.until(lambda: world.uploader.counters.failed > before)
        faults.heal()
        await world.until(lambda: world.uploader.counters.stored == 4 and not world.files())
    found = await s3_server.objects(of.bucket)
    assert len(found) == 4, "and nothing twice, though answers were lost"
    assert world.uploader.counters.renamed == 0


async def test_after_a_crash_everything_is_stored_once(
    store: Store, tmp_path: Path, s3_server: s3.Server, of: Recording
) -> None:
    """Crashes: before a row was written, before an upload, and after an upload that nobody noted."""
    depot = Depot(s3_server.storage(), tmp_path)
    dead = World(store, tmp_path, depot)
    slices = await dead.record(of, 2)
    dead.write(of, 2)
    await depot.at(of.destination).put(slices[0], dead.spool.file(slices[0]))
    world = World(store, tmp_path, depot)
    async with world.working():
        await world.spool.rescan(await world.spool.recordings(), salvage=True)
        # A file goes last, after its slice is counted.
        await world.until(lambda: world.uploader.counters.stored == 3 and not world.files())
    assert sorted((await s3_server.objects(of.bucket)).values()) == [bytes([n]) * 1000 for n in range(3)]


async def test_a_file_that_was_stored_but_not_deleted_goes_at_the_next_look(
    store: Store, tmp_path: Path, of: Recording
) -> None:
    world = World(store, tmp_path, Depot(None, tmp_path))
    slices = await world.record(of, 2)
    await store.retention.set_state([slices[0].slice_id], SliceState.UPLOADED)
    await world.spool.rescan([of.recording_id])
    assert [path.name for path in world.files()] == [slices[1].file]


async def test_something_else_with_the_same_name_stays(
    store: Store, tmp_path: Path, s3_server: s3.Server, of: Recording
) -> None:
    world = World(store, tmp_path, Depot(s3_server.storage(), tmp_path))
    [one] = await world.record(of, 1)
    await obstore.put_async(s3_server.bucket(of.bucket), one.key, b"a stranger's")
    async with world.working():
        await world.until(lambda: world.uploader.counters.stored == 1)
    second = one.key.replace(".flv", "_2.flv")
    assert await s3_server.objects(of.bucket) == {one.key: b"a stranger's", second: bytes(1000)}
    [kept] = await store.retention.slices(of.stream_id, NOW, NOW + timedelta(days=1), limit=10)
    assert (kept.key, kept.state) == (second, SliceState.UPLOADED)


def listing(file: str, size_bytes: int) -> bytes:
    """The playlist of a file that `World.write` made."""
    return beside(
        file, NOW, head_bytes=len(HEAD), duration_ms=60_000, size_bytes=size_bytes, entries=[(0, len(HEAD))]
    ).encode()


@pytest.mark.parametrize("kept_in", StoreType)
async def test_a_crash_between_a_slice_and_its_playlist(
    store: Store, tmp_path: Path, s3_server: s3.Server, bucket: str, kept_in: StoreType
) -> None:
    """Before the playlist was stored, and before that was written down; of FLV there is none."""
    depot = Depot(s3_server.storage(), tmp_path / "kept")
    dead = World(store, tmp_path, depot)
    of = recording(bucket=bucket, store_type=kept_in, form=RecordingForm.HLS)
    slices = await dead.record(of, 3)
    dead.write(replace(of, form=RecordingForm.FLV), 9)  # sound alone
    place = depot.at(of.destination)
    for one in slices[:2]:
        await place.put(one, dead.spool.file(one))
    text = await dead.spool.playlist(slices[1])
    assert text is not None
    assert await place.put_playlist(slices[1], text) is Outcome.STORED
    world = World(store, tmp_path, depot)
    async with world.working():
        await world.spool.rescan(await world.spool.recordings(), salvage=True)
        await world.until(lambda: world.uploader.counters.stored == 4 and not world.files())
    assert world.uploader.counters.renamed == 0
    found = await everything(s3_server, of, tmp_path / "kept")
    assert len(found) == 7, sorted(found)
    name = slices[0].key.rpartition("/")[2]
    assert found[playlist_key(slices[0].key)] == listing(name, slices[0].size_bytes)
    for one in slices:
        assert len(found[one.key]) == one.size_bytes
        assert one.key.rpartition("/")[2].encode() in found[playlist_key(one.key)]


async def everything(server: s3.Server, of: Recording, root: Path) -> dict[str, bytes]:
    if of.store_type is StoreType.OBS:
        return await server.objects(of.bucket)
    files = [path for path in (root / of.project_id).rglob("*") if path.is_file()]
    return {str(path.relative_to(root / of.project_id)): path.read_bytes() for path in files}


@pytest.mark.parametrize("kept_in", StoreType)
async def test_a_stranger_s_playlist_stays_and_ours_keeps_the_name_of_its_slice(
    store: Store, tmp_path: Path, s3_server: s3.Server, bucket: str, kept_in: StoreType
) -> None:
    world = World(store, tmp_path, Depot(s3_server.storage(), tmp_path / "kept"))
    of = recording(bucket=bucket, store_type=kept_in, form=RecordingForm.HLS)
    [one] = await world.record(of, 1)
    if kept_in is StoreType.OBS:
        await obstore.put_async(s3_server.bucket(bucket), playlist_key(one.key), b"a stranger's")
    else:
        target = tmp_path / "kept" / of.project_id / playlist_key(one.key)
        target.parent.mkdir(parents=True)
        target.write_bytes(b"a stranger's")
    async with world.working():
        await world.until(lambda: world.uploader.counters.stored == 1)
    second = next_key(one.key)
    found = await everything(s3_server, of, tmp_path / "kept")
    assert sorted(found) == sorted([playlist_key(one.key), second, playlist_key(second)])
    assert found[playlist_key(one.key)] == b"a stranger's"
    assert found[playlist_key(second)] == listing(second.rpartition("/")[2], one.size_bytes)


async def test_a_slice_that_no_playlist_can_be_made_of_is_stored(store: Store, tmp_path: Path) -> None:
    world = World(store, tmp_path, Depot(None, tmp_path / "kept"))
    of = recording(store_type=StoreType.LOCAL, form=RecordingForm.HLS)
    await store.retention.begin([of])
    await world.spool.prepare([of.recording_id])
    closed = world.write(of, 0)
    (world.spool.directory(of.recording_id) / closed.file).write_bytes(bytes(closed.size_bytes))
    async with world.working():
        await world.spool.take(of, closed)
        await world.until(lambda: world.uploader.counters.stored == 1)
    [kept] = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    [one] = await store.retention.slices(of.stream_id, NOW, NOW + timedelta(days=1), limit=10)
    assert (kept.suffix, one.playlist) == (".mp4", False), (
        "what else may have the name of a playlist is not the slice's"
    )


async def test_a_file_that_is_gone_is_told_and_does_not_stop_the_rest(
    store: Store, tmp_path: Path, s3_server: s3.Server, of: Recording
) -> None:
    world = World(store, tmp_path, Depot(s3_server.storage(), tmp_path))
    slices = await world.record(of, 2)
    world.spool.file(slices[0]).unlink()
    async with world.working():
        await world.until(lambda: world.uploader.counters.stored == 1)
    states = await store.retention.known_slices([one.slice_id for one in slices])
    assert [states[one.slice_id] for one in slices] == [SliceState.MISSING, SliceState.UPLOADED]


async def test_local_slices_are_moved(store: Store, tmp_path: Path) -> None:
    world = World(store, tmp_path, Depot(None, tmp_path / "kept"))
    of = recording(store_type=StoreType.LOCAL, bucket="")
    async with world.working():
        [one] = await world.record(of, 1)
        await world.until(lambda: not world.files())
    assert (tmp_path / "kept" / of.project_id / one.key).read_bytes() == bytes(1000)


async def test_a_bucket_without_keys_waits_for_them(store: Store, tmp_path: Path, of: Recording) -> None:
    """The gateway was started without its access keys: nothing is lost, and other places are served."""
    world = World(store, tmp_path, Depot(None, tmp_path / "kept"))
    local = recording(recording_id="2" * 32, stream_id="stream-2", store_type=StoreType.LOCAL, bucket="")
    async with world.working():
        await world.record(of, 1)
        await world.record(local, 1)
        await world.until(lambda: world.uploader.counters.stored == 1 and len(world.files()) == 1)
        await world.until(lambda: world.uploader.counters.failed >= 1)
    assert len(world.files()) == 1
    assert world.uploader.backlog.away() == [of.destination]


async def test_the_spool_is_measured(store: Store, tmp_path: Path, of: Recording) -> None:
    world = World(store, tmp_path, Depot(None, tmp_path))
    assert (await world.spool.usage()).used_bytes == 0
    await world.record(of, 3)
    usage = await world.spool.usage()
    assert usage.used_bytes == 3000
    assert usage.free_bytes > 0
