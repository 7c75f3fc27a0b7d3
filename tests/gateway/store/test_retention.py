"""Retention in the database."""

import asyncio
from datetime import timedelta

import pytest

from gateway.devices.model import CatalogueEntry, DeviceId, DeviceType
from gateway.errors import NotFoundError
from gateway.retention.errors import RetainingError
from gateway.retention.model import HourDirectory, Mark, MarkKind, RecordingForm, SliceState, StoreType
from gateway.retention.names import next_key
from gateway.retention.rules import Wish
from gateway.scope import Scope
from gateway.store import NewDevices, Store, StreamFilter
from gateway.streams.model import StreamState
from tests.gateway.retention.samples import a_slice, recording
from tests.gateway.store.samples import NOW, PROJECT

WISH = Wish(
    zone_hours=8, hours=24.5, store_type=StoreType.OBS, bucket="obs-momo", path="视频/", state=StreamState.ACTIVE
)


@pytest.fixture
async def stream(store: Store) -> str:
    """The name of a camera's stream."""
    new = NewDevices(project_id=PROJECT, type=DeviceType.IPC, credential="0100", suffix="", description="", at=NOW)
    [device] = await store.devices.create(new, domain="3402000000", quantity=1, quota=10)
    entry = CatalogueEntry(node_id="34020000001310000001", name="gate", video=True, reported_on=True)
    await store.channels.upsert_catalogue(DeviceId(device), [entry], complete=True, at=NOW)
    return (await store.streams.list(Scope(PROJECT), StreamFilter(), None)).entries[0].name


async def test_a_retention_is_kept_as_it_was_settled(store: Store, stream: str) -> None:
    made = await store.retention.set(PROJECT, stream, WISH, NOW)
    assert await store.retention.get(PROJECT, stream) == made
    assert (made.retention.path, made.retention.hours, made.app, made.active) == ("视频/", 24.5, "default", False)
    assert [one async for one in store.retention.active()] == [made]
    assert await store.retention.of_streams([made.stream_id, "stream-nobody"]) == {made.stream_id: made.retention}
    with pytest.raises(RetainingError):
        await store.retention.set(PROJECT, stream, WISH, NOW)
    stopped = await store.retention.set(PROJECT, stream, Wish(zone_hours=8, state=StreamState.STOPPED), NOW)
    assert stopped.retention.state is StreamState.STOPPED
    assert [one async for one in store.retention.active()] == []


async def test_of_another_project_nothing_is_found(store: Store, stream: str) -> None:
    await store.retention.set(PROJECT, stream, WISH, NOW)
    assert await store.retention.get("b" * 32, stream) is None
    with pytest.raises(NotFoundError):
        await store.retention.set("b" * 32, stream, WISH, NOW)


async def test_a_slice_is_kept_once(store: Store) -> None:
    of = recording(form=RecordingForm.HLS)
    await store.retention.begin([of])
    assert await store.retention.recordings([of.recording_id, "x"]) == {of.recording_id: of}
    listed = a_slice(of, NOW + timedelta(hours=1), playlist=True)
    assert await store.retention.add_slice(listed) == listed
    await store.retention.set_state([listed.slice_id], SliceState.UPLOADED)
    assert [one.playlist for one in await store.retention.in_state(SliceState.UPLOADED, of.destination, 10)] == [True]
    assert await store.retention.add_slice(a_slice(of)) == a_slice(of)
    assert await store.retention.add_slice(a_slice(of)) is None
    assert await store.retention.in_state(SliceState.PENDING, of.destination, 10) == [a_slice(of)]
    assert await store.retention.waiting() == (1, 1000, a_slice(of).start_at)
    await store.retention.end(of.recording_id, NOW)
    assert (await store.retention.recordings([of.recording_id]))[of.recording_id].ended_at == NOW


async def test_two_slices_never_have_one_key(store: Store) -> None:
    one, other = recording(), recording(recording_id="2" * 32, project_id="b" * 32)
    first = await store.retention.add_slice(a_slice(one))
    second = await store.retention.add_slice(a_slice(other))
    third = await store.retention.add_slice(a_slice(recording(recording_id="3" * 32)))
    elsewhere = await store.retention.add_slice(a_slice(recording(recording_id="4" * 32, bucket="other")))
    assert first is not None
    assert second is not None
    assert third is not None
    assert elsewhere is not None
    assert second.key == next_key(first.key)
    assert third.key == next_key(second.key)
    assert elsewhere.key == first.key
    moved = await store.retention.set_key(first.slice_id, next_key(first.key))
    assert moved == next_key(third.key)


async def test_pending_slices_oldest_first_by_destination(store: Store) -> None:
    one, other = recording(), recording(recording_id="2" * 32, bucket="other")
    for minute in (3, 1, 2):
        await store.retention.add_slice(a_slice(one, NOW + timedelta(minutes=minute)))
    await store.retention.add_slice(a_slice(other, NOW))
    assert sorted(await store.retention.destinations(SliceState.PENDING)) == ["OBS/obs-momo", "OBS/other"]
    found = await store.retention.in_state(SliceState.PENDING, "OBS/obs-momo", 2)
    assert [one.start_at for one in found] == [NOW + timedelta(minutes=1), NOW + timedelta(minutes=2)]
    await store.retention.set_state([one.slice_id for one in found], SliceState.UPLOADED)
    assert len(await store.retention.in_state(SliceState.PENDING, "OBS/obs-momo", 9)) == 1
    states = await store.retention.known_slices([found[0].slice_id, "x"])
    assert states == {found[0].slice_id: SliceState.UPLOADED}


async def test_slices_that_overlap_an_interval(store: Store) -> None:
    of = recording()
    for minute in range(4):
        await store.retention.add_slice(a_slice(of, NOW + timedelta(minutes=minute)))
    begin, end = NOW + timedelta(minutes=1), NOW + timedelta(minutes=3)
    found = await store.retention.slices(of.stream_id, begin, end, limit=10)
    assert [one.start_at for one in found] == [begin, begin + timedelta(minutes=1)]


async def test_history_begins_with_what_held_before(store: Store) -> None:
    stream, kinds = "stream-00000001", MarkKind
    history = [
        (0, kinds.UP, ""),
        (1, kinds.EXPECTED, stream),
        (2, kinds.UNEXPECTED, stream),
        (3, kinds.EXPECTED, stream),
        (4, kinds.SILENT, "stream-00000002"),
        (5, kinds.SILENT, stream),
        (9, kinds.RESUMED, stream),
    ]
    await store.retention.mark(
        [Mark(at=NOW + timedelta(minutes=at), kind=kind, stream_id=of) for at, kind, of in history]
    )
    found = await store.retention.history(stream, NOW + timedelta(minutes=5), NOW + timedelta(minutes=9))
    assert [(mark.at - NOW, mark.kind) for mark in found] == [
        (timedelta(minutes=0), kinds.UP),
        (timedelta(minutes=2), kinds.UNEXPECTED),
        (timedelta(minutes=3), kinds.EXPECTED),
        (timedelta(minutes=5), kinds.SILENT),
    ]


async def test_hour_directories_that_begin_before_a_time(store: Store) -> None:
    of = recording(path="")
    hour = timedelta(hours=1)
    start = NOW.replace(minute=30)
    first = [a_slice(of, start + timedelta(minutes=minute)) for minute in (0, 10)]
    later = a_slice(of, start + hour)
    for one in [*first, later]:
        await store.retention.add_slice(one)
    await store.retention.set_state([first[0].slice_id], SliceState.UPLOADED)
    found = await store.retention.hour_directories([of.stream_id, "nobody"], start + timedelta(minutes=1))
    assert found == [
        HourDirectory(
            stream_id=of.stream_id,
            destination=of.destination,
            directory=first[0].directory,
            newest_end_at=first[1].end_at,
            slices=2,
            unstored=1,
        )
    ]
    assert len(await store.retention.hour_directories([of.stream_id], start + 2 * hour)) == 2
    assert await store.retention.hour_directories([of.stream_id], start) == []
    await store.retention.expire(found)
    states = await store.retention.known_slices([one.slice_id for one in [*first, later]])
    assert [states[one.slice_id] for one in [*first, later]] == [
        SliceState.EXPIRING,
        SliceState.PENDING,
        SliceState.PENDING,
    ]


async def test_what_is_of_no_more_use_is_forgotten(store: Store, stream: str) -> None:
    kept = await store.retention.set(PROJECT, stream, WISH, NOW)
    mine, gone = recording(stream_id=kept.stream_id), recording(recording_id="2" * 32, stream_id="stream-gone")
    await store.retention.begin([mine, gone])
    for of, states in ((mine, ("UPLOADED", "EXPIRED", "PENDING")), (gone, ("UPLOADED", "PENDING", "EXPIRING"))):
        for minute, state in enumerate(states):
            one = a_slice(of, NOW + timedelta(minutes=minute))
            await store.retention.add_slice(one)
            await store.retention.set_state([one.slice_id], SliceState(state))
    await store.retention.mark([Mark(at=NOW, kind=MarkKind.UP), Mark(at=NOW + timedelta(days=1), kind=MarkKind.DOWN)])
    await store.retention.end_all(NOW)
    later = NOW + timedelta(hours=1)
    await store.retention.forget(slices_before=later, marks_before=later)

    async def left(of: str) -> list[SliceState]:
        return [one.state for one in await store.retention.slices(of, NOW, later, limit=9)]

    assert await left(mine.stream_id) == [SliceState.UPLOADED, SliceState.PENDING]
    assert await left(gone.stream_id) == [SliceState.PENDING, SliceState.EXPIRING]
    assert len(await store.retention.recordings([mine.recording_id, gone.recording_id])) == 2
    assert [mark.kind for mark in await store.retention.history("", NOW, NOW + timedelta(days=2))] == [MarkKind.DOWN]
    waiting = [one.slice_id for one in await store.retention.slices(gone.stream_id, NOW, later, limit=9)]
    await store.retention.set_state(waiting, SliceState.UPLOADED)
    await store.retention.forget(slices_before=later, marks_before=later)
    assert list(await store.retention.recordings([mine.recording_id, gone.recording_id])) == [mine.recording_id]


async def test_much_is_forgotten_in_parts(store: Store) -> None:
    """Registrations wait for the same writer."""
    kept = recording()
    gone = [
        a_slice(kept, NOW + timedelta(minutes=minute), stream_id="stream-gone00000", state=SliceState.EXPIRED)
        for minute in range(1_200)
    ]
    await asyncio.gather(*map(store.retention.add_slice, gone))
    calls, later = store.writer.calls, NOW + timedelta(days=2)
    await store.retention.forget(slices_before=later, marks_before=later)
    assert await store.retention.slices("stream-gone00000", NOW, later, limit=9) == []
    assert store.writer.calls - calls >= 3


async def test_when_recording_was_last_known_to_run(store: Store) -> None:
    assert await store.retention.alive() is None
    for at in (NOW, NOW + timedelta(seconds=10)):
        await store.retention.set_alive(at)
        assert await store.retention.alive() == at
    noted = at + timedelta(seconds=3)
    await store.retention.mark([Mark(at=noted, kind=MarkKind.FLOWING, stream_id="stream-1")])
    assert await store.retention.alive() == noted, "what it noted since is as good a sign"
