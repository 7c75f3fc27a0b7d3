"""Expiry over real stores: what is marked, deleted and remembered."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.accounts.model import Project
from gateway.credentials.model import Credential, CredentialType
from gateway.devices.model import CatalogueEntry, DeviceId, DeviceType
from gateway.retention.cleaner import GONE_KEPT, Cleaner
from gateway.retention.depot import Depot
from gateway.retention.model import Recording, RecordingForm, Slice, SliceState, StoreType
from gateway.retention.places import Outcome
from gateway.retention.rules import Wish
from gateway.scope import Scope
from gateway.store import NewDevices, SecretBox, Store, StreamFilter
from gateway.streams.model import StreamState
from tests import s3
from tests.databases import sqlite
from tests.gateway.retention.samples import NOW, PROJECT, a_slice, recording

HOUR = timedelta(hours=1)
WISH = Wish(zone_hours=8, hours=2, store_type=StoreType.LOCAL, state=StreamState.ACTIVE)


class World:
    def __init__(self, store: Store, stream_id: str, name: str, root: Path, depot: Depot) -> None:
        self.store, self.stream_id, self.name, self.root = store, stream_id, name, root
        self.now = NOW
        self.cleaner = Cleaner(store, depot.at, lambda: self.now)
        self.depot = depot
        self.of = recording(stream_id=stream_id, name=name, store_type=StoreType.LOCAL, bucket="", path="kept/")

    async def keep(self, minute: int, of: Recording | None = None) -> Slice:
        """A slice that is stored."""
        of = of or self.of
        hls = of.form is RecordingForm.HLS
        found = a_slice(of, NOW + timedelta(minutes=minute), size_bytes=5, playlist=hls)
        kept = await self.store.retention.add_slice(found)
        assert kept is not None
        file = self.root / "file"
        file.write_bytes(b"slice")
        await self.depot.at(kept.destination).put(kept, file)
        file.unlink()
        await self.store.retention.set_state([kept.slice_id], SliceState.UPLOADED)
        return kept

    async def states(self) -> list[SliceState]:
        found = await self.store.retention.slices(self.stream_id, NOW - HOUR, NOW + 100 * HOUR, limit=100)
        return [one.state for one in found]

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.root / "local").rglob("*.flv"))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(sqlite(tmp_path), secrets=SecretBox.load(tmp_path / "secret.key")) as store:
        yield store


@pytest.fixture
async def world(store: Store, tmp_path: Path, s3_server: s3.Server) -> World:
    project = Project(project_id=PROJECT, name="default", created_at=NOW, subscribed_at=None, quotas={})
    await store.accounts.add_project(project)
    await store.credentials.add(
        Credential(
            username="0100",
            project_id=PROJECT,
            type=CredentialType.NORMAL,
            password="Secret-1234",
            description="",
            created_at=NOW,
            updated_at=NOW,
        ),
        quota=10,
    )
    new = NewDevices(project_id=PROJECT, type=DeviceType.IPC, credential="0100", suffix="", description="", at=NOW)
    [device] = await store.devices.create(new, domain="3402000000", quantity=1, quota=10)
    entry = CatalogueEntry(node_id="34020000001310000001", name="gate", video=True, reported_on=True)
    await store.channels.upsert_catalogue(DeviceId(device), [entry], complete=True, at=NOW)
    stream = (await store.streams.list(Scope(PROJECT), StreamFilter(), None)).entries[0]
    depot = Depot(s3_server.storage(), tmp_path / "local")
    return World(store, stream.stream_id, stream.name, tmp_path, depot)


async def test_a_directory_goes_when_all_in_it_is_expired(world: World) -> None:
    await world.store.retention.set(PROJECT, world.name, WISH, NOW)
    for minute in (0, 1, 58, 60):  # NOW is a minute past the hour: the last one begins in the next directory
        await world.keep(minute)
    await world.cleaner.clean(NOW + 2 * HOUR + timedelta(minutes=58))
    assert world.files() == ["0100_0200.flv", "0100_0200.flv", "0200_0300.flv", "5900_0000.flv"]
    await world.cleaner.clean(NOW + 2 * HOUR + timedelta(minutes=59))
    assert world.files() == ["0100_0200.flv"]
    assert await world.states() == [SliceState.EXPIRED] * 3 + [SliceState.UPLOADED]
    assert world.cleaner.counters.expired == 3
    await world.cleaner.clean(NOW + 4 * HOUR)
    assert world.files() == []
    assert not list((world.root / "local" / PROJECT).iterdir()), "empty directories go too"
    await world.cleaner.clean(NOW + 4 * HOUR + GONE_KEPT)
    assert await world.states() == []


async def test_a_playlist_goes_with_its_slice(world: World, s3_server: s3.Server, bucket: str, store: Store) -> None:
    """In a directory and in a bucket; the playlist of a slice that is not expired stays."""
    await store.retention.set(PROJECT, world.name, WISH, NOW)
    there = recording(recording_id="2" * 32, stream_id=world.stream_id, name=world.name, bucket=bucket)
    for of in (replace(world.of, form=RecordingForm.HLS), replace(there, form=RecordingForm.HLS)):
        for minute in (0, 60):
            kept = await world.keep(minute, of)
            assert await world.depot.at(kept.destination).put_playlist(kept, b"#EXTM3U") is Outcome.STORED

    async def lists() -> list[list[str]]:
        lying = [path.name for path in (world.root / "local").rglob("*.m3u8")]
        return [sorted(lying), sorted(key for key in await s3_server.objects(bucket) if key.endswith(".m3u8"))]

    local, stored = await lists()
    assert (len(local), len(stored)) == (2, 2)
    await world.cleaner.clean(NOW + 2 * HOUR + timedelta(minutes=59))
    assert world.files() == ["0100_0200.flv"]
    assert await lists() == [local[1:], stored[1:]]
    assert len(await s3_server.objects(bucket)) == 2
    await world.cleaner.clean(NOW + 5 * HOUR)
    assert (await lists(), await s3_server.objects(bucket)) == ([[], []], {})
    assert not list((world.root / "local" / PROJECT).iterdir())


async def test_what_is_kept_for_no_time_goes_every_hour(world: World) -> None:
    await world.store.retention.set(
        PROJECT, world.name, Wish(zone_hours=8, hours=0, store_type=StoreType.LOCAL, state=StreamState.ACTIVE), NOW
    )
    await world.keep(0)
    await world.cleaner.clean(NOW + timedelta(minutes=1))
    assert world.files() == []


@pytest.mark.parametrize(
    "wish",
    [
        Wish(zone_hours=8, hours=2, store_type=StoreType.LOCAL),
        Wish(zone_hours=8, forever=True, store_type=StoreType.LOCAL, state=StreamState.ACTIVE),
    ],
    ids=["stopped", "for ever"],
)
async def test_what_is_not_expired(world: World, wish: Wish) -> None:
    await world.store.retention.set(PROJECT, world.name, wish, NOW)
    await world.keep(0)
    await world.cleaner.clean(NOW + 1000 * HOUR)
    assert world.files() == ["0100_0200.flv"]


async def test_a_directory_waits_for_what_is_not_stored_yet(world: World) -> None:
    await world.store.retention.set(PROJECT, world.name, WISH, NOW)
    await world.keep(0)
    pending = await world.store.retention.add_slice(a_slice(world.of, NOW + timedelta(minutes=1)))
    assert pending is not None
    await world.cleaner.clean(NOW + 10 * HOUR)
    assert world.files() == ["0100_0200.flv"]
    await world.store.retention.set_state([pending.slice_id], SliceState.UPLOADED)
    await world.cleaner.clean(NOW + 10 * HOUR)
    assert world.files() == []


async def test_objects_that_cannot_be_deleted_now_are_deleted_later(
    world: World, s3_server: s3.Server, bucket: str, broken: tuple[int, s3.Faults], tmp_path: Path
) -> None:
    port, faults = broken
    depot = Depot(s3_server.storage(port), tmp_path / "local")
    cleaner = Cleaner(world.store, depot.at, lambda: NOW)
    await world.store.retention.set(PROJECT, world.name, WISH, NOW)
    await world.keep(0, recording(stream_id=world.stream_id, name=world.name, bucket=bucket))
    assert len(await s3_server.objects(bucket)) == 1
    faults.answer = (503, s3.SLOW_DOWN)
    await cleaner.clean(NOW + 10 * HOUR)
    assert await world.states() == [SliceState.EXPIRING]
    assert (cleaner.counters.failed, len(await s3_server.objects(bucket))) == (1, 1)
    faults.heal()
    await cleaner.clean(NOW + 11 * HOUR)
    assert await world.states() == [SliceState.EXPIRED]
    assert await s3_server.objects(bucket) == {}
