"""Retention in the database: settings of streams, recordings, slices and the history of recording."""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import ConflictError, NotFoundError
from gateway.retention.model import (
    HourDirectory,
    Mark,
    MarkKind,
    Recording,
    RecordingForm,
    Retained,
    Retention,
    Slice,
    SliceState,
    StoreType,
)
from gateway.retention.names import numbered_keys
from gateway.retention.rules import Wish, settle
from gateway.store.base import Database, one
from gateway.store.retention_tables import recording_marks, recordings, retentions, slices
from gateway.store.tables import marks, projects, streams
from gateway.streams.model import StreamState

IDS_AT_ONCE: Final = 500
"""Bound parameters in one statement."""
ALIVE_MARK: Final = "recording_alive"
KEYS_AT_ONCE: Final = 16
"""Names tried at once for a slice whose own is taken."""
_SLICE: Final = slices.c.keys()
_RECORDING: Final = recordings.c.keys()
retained_query: Final = (
    sa.select(
        retentions,
        streams.c.project_id,
        streams.c.name,
        streams.c.state.label("stream_state"),
        projects.c.name.label("app"),
    )
    .join(streams, streams.c.stream_id == retentions.c.stream_id)
    .join(projects, projects.c.project_id == streams.c.project_id)
)


class RetentionStore:
    """What streams keep, and what is known of what they kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, project_id: str, name: str) -> Retained | None:
        """The retention of a stream; None if it never had one."""
        row = await self._database.first(
            retained_query.where(streams.c.project_id == project_id, streams.c.name == name)
        )
        return None if row is None else to_retained(row)

    async def of_streams(self, stream_ids: Collection[str]) -> dict[str, Retention]:
        """Those of them that have a retention, by stream."""
        found: dict[str, Retention] = {}
        for part in _parts(list(stream_ids)):
            rows = await self._database.all(sa.select(retentions).where(retentions.c.stream_id.in_(part)))
            found |= {row.stream_id: _to_retention(row) for row in rows}
        return found

    async def active(self) -> AsyncIterator[Retained]:
        """Every stream whose retention is ACTIVE."""
        query = retained_query.where(retentions.c.state == StreamState.ACTIVE.value)
        async for row in self._database.stream(query, retentions.c.stream_id):
            yield to_retained(row)

    async def set(self, project_id: str, name: str, wish: Wish, at: datetime) -> Retained:
        """Makes or changes the retention by the rules of `settle`; NotFoundError, and what `settle` raises."""

        async def write(connection: AsyncConnection) -> Retained:
            stream = await one(
                connection,
                sa.select(streams.c.stream_id, streams.c.state, projects.c.name.label("app"))
                .join(projects, projects.c.project_id == streams.c.project_id)
                .where(streams.c.project_id == project_id, streams.c.name == name),
            )
            if stream is None:
                raise NotFoundError("stream", name)
            row = await one(connection, sa.select(retentions).where(retentions.c.stream_id == stream.stream_id))
            retention = settle(None if row is None else _to_retention(row), wish)
            values = _retention_values(retention) | {"updated_at": at}
            if row is None:
                await connection.execute(sa.insert(retentions).values(stream_id=stream.stream_id, **values))
            else:
                await connection.execute(
                    sa.update(retentions).where(retentions.c.stream_id == stream.stream_id).values(**values)
                )
            return Retained(
                stream_id=stream.stream_id,
                project_id=project_id,
                app=stream.app,
                name=name,
                active=stream.state == StreamState.ACTIVE.value,
                retention=retention,
            )

        return await self._database.writer.run(write)

    async def begin(self, new: Sequence[Recording]) -> None:
        """Keeps where the slices of these recordings belong; durable before their first files are."""
        await self._database.writer.batch(_insert_recordings, new)

    async def end_all(self, at: datetime) -> None:
        """Recordings that an earlier process left running ended `at`."""

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(sa.update(recordings).where(recordings.c.ended_at.is_(None)).values(ended_at=at))

        await self._database.writer.run(write)

    async def end(self, recording_id: str, at: datetime) -> None:
        """The recording takes no more slices."""

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(
                sa.update(recordings).where(recordings.c.recording_id == recording_id).values(ended_at=at)
            )

        await self._database.writer.run(write)

    async def recordings(self, recording_ids: Collection[str]) -> dict[str, Recording]:
        """Those that are known, by id."""
        found: dict[str, Recording] = {}
        for part in _parts(list(recording_ids)):
            rows = await self._database.all(sa.select(recordings).where(recordings.c.recording_id.in_(part)))
            found |= {row.recording_id: _to_recording(row) for row in rows}
        return found

    async def add_slice(self, found: Slice) -> Slice | None:
        """Keeps a closed slice, under the first free key; None if it was known already."""

        async def write(connection: AsyncConnection) -> Slice | None:
            if await one(connection, sa.select(slices.c.slice_id).where(slices.c.slice_id == found.slice_id)):
                return None
            key = await _free_key(connection, found.destination, found.key)
            values = {name: getattr(found, name) for name in _SLICE} | {"key": key, "state": found.state.value}
            await connection.execute(sa.insert(slices).values(**values))
            return _to_slice(values)

        return await self._database.writer.run(write)

    async def known_slices(self, slice_ids: Collection[str]) -> dict[str, SliceState]:
        """The state of those that are known."""
        found: dict[str, SliceState] = {}
        for part in _parts(list(slice_ids)):
            query = sa.select(slices.c.slice_id, slices.c.state).where(slices.c.slice_id.in_(part))
            found |= {row.slice_id: SliceState(row.state) for row in await self._database.all(query)}
        return found

    async def destinations(self, state: SliceState) -> Sequence[str]:
        """Where slices in a state belong."""
        query = sa.select(slices.c.destination).where(slices.c.state == state.value).distinct()
        return [row.destination for row in await self._database.all(query)]

    async def in_state(self, state: SliceState, destination: str, limit: int) -> Sequence[Slice]:
        """The oldest slices in a state of one destination."""
        query = (
            sa.select(slices)
            .where(slices.c.state == state.value, slices.c.destination == destination)
            .order_by(slices.c.start_at, slices.c.slice_id)
            .limit(limit)
        )
        return [_to_slice(row._mapping) for row in await self._database.all(query)]

    async def waiting(self) -> tuple[int, int, datetime | None]:
        """How many slices are pending, their bytes, and when the oldest begins."""
        query = sa.select(
            sa.func.count(), sa.func.coalesce(sa.func.sum(slices.c.size_bytes), 0), sa.func.min(slices.c.start_at)
        ).where(slices.c.state == SliceState.PENDING.value)
        row: Any = await self._database.first(query)
        return int(row[0]), int(row[1]), row[2]

    async def set_state(self, slice_ids: Sequence[str], state: SliceState) -> None:
        """What became of them."""

        async def write(connection: AsyncConnection) -> None:
            for part in _parts(slice_ids):
                await connection.execute(sa.update(slices).where(slices.c.slice_id.in_(part)).values(state=state.value))

        await self._database.writer.run(write)

    async def set_without_playlist(self, slice_id: str) -> None:
        """No playlist could be made of the slice: none is stored beside it."""

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(sa.update(slices).where(slices.c.slice_id == slice_id).values(playlist=False))

        await self._database.writer.run(write)

    async def set_key(self, slice_id: str, key: str) -> str:
        """Gives a pending slice another key, because a stranger's object has the old one: `key`, or the first free one
        after it. Returns it; NotFoundError."""

        async def write(connection: AsyncConnection) -> str:
            row = await one(connection, sa.select(slices).where(slices.c.slice_id == slice_id))
            if row is None:
                raise NotFoundError("slice", slice_id)
            free = await _free_key(connection, row.destination, key)
            await connection.execute(sa.update(slices).where(slices.c.slice_id == slice_id).values(key=free))
            return free

        return await self._database.writer.run(write)

    async def slices(self, stream_id: str, begin: datetime, end: datetime, *, limit: int) -> Sequence[Slice]:
        """Slices of a stream that overlap an interval, oldest first, expired and missing ones too."""
        query = (
            sa.select(slices)
            .where(slices.c.stream_id == stream_id, slices.c.start_at < end, slices.c.end_at > begin)
            .order_by(slices.c.start_at, slices.c.slice_id)
            .limit(limit)
        )
        return [_to_slice(row._mapping) for row in await self._database.all(query)]

    async def slice(self, stream_id: str, slice_id: str) -> Slice | None:
        """One slice of a stream."""
        query = sa.select(slices).where(slices.c.stream_id == stream_id, slices.c.slice_id == slice_id)
        rows = await self._database.all(query)
        return _to_slice(rows[0]._mapping) if rows else None

    async def hour_directories(self, stream_ids: Sequence[str], before: datetime) -> Sequence[HourDirectory]:
        """Directories of these streams in which a slice begins `before`, with all that is in them, by stream."""
        kept = slices.c.state.in_([SliceState.PENDING.value, SliceState.UPLOADED.value])
        unstored = sa.func.sum(sa.case((slices.c.state == SliceState.PENDING.value, 1), else_=0))
        place = (slices.c.stream_id, slices.c.destination, slices.c.directory)
        found: list[HourDirectory] = []
        for part in _parts(stream_ids):
            query = (
                sa.select(*place, sa.func.max(slices.c.end_at), sa.func.count(), unstored)
                .where(slices.c.stream_id.in_(part), kept, slices.c.start_at < before + timedelta(hours=1))
                .group_by(*place)
                .having(sa.func.min(slices.c.start_at) < before)
                .order_by(*place)
            )
            rows: Sequence[Any] = await self._database.all(query)
            found += [
                HourDirectory(
                    stream_id=row[0],
                    destination=row[1],
                    directory=row[2],
                    newest_end_at=row[3],
                    slices=int(row[4]),
                    unstored=int(row[5]),
                )
                for row in rows
            ]
        return found

    async def expire(self, found: Sequence[HourDirectory]) -> None:
        """Marks what is stored in these directories: it is to be deleted."""

        async def write(connection: AsyncConnection) -> None:
            for place in found:
                await connection.execute(
                    sa.update(slices)
                    .where(
                        slices.c.stream_id == place.stream_id,
                        slices.c.destination == place.destination,
                        slices.c.directory == place.directory,
                        slices.c.state == SliceState.UPLOADED.value,
                    )
                    .values(state=SliceState.EXPIRING.value)
                )

        if found:
            await self._database.writer.run(write)

    async def forget(self, *, slices_before: datetime, marks_before: datetime) -> None:
        """Drops what is of no more use: expired slices, slices of streams that are gone (their files stay where they
        are stored), recordings without slices, old history."""

        gone = ~sa.exists().where(streams.c.stream_id == slices.c.stream_id)
        expired = slices.c.state == SliceState.EXPIRED.value
        settled = slices.c.state.in_([SliceState.UPLOADED.value, SliceState.MISSING.value])
        old = (slices.c.end_at < slices_before, sa.or_(expired, sa.and_(settled, gone)))
        await self._forget(slices.c.slice_id, *old)
        empty = ~sa.exists().where(slices.c.recording_id == recordings.c.recording_id)
        await self._forget(recordings.c.recording_id, recordings.c.ended_at < slices_before, empty)
        await self._forget(recording_marks.c.mark_id, recording_marks.c.at < marks_before)

    async def _forget(self, key: sa.Column[Any], *conditions: sa.ColumnElement[bool]) -> None:
        """Deletes rows in parts, which readers find: nobody else's write waits for more than one part."""
        part: list[Any] = []

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(sa.delete(key.table).where(key.in_(part)))

        async for row in self._database.stream(sa.select(key).where(*conditions), key):
            part.append(row[0])
            if len(part) == IDS_AT_ONCE:
                await self._database.writer.run(write)
                part.clear()
        if part:
            await self._database.writer.run(write)

    async def alive(self) -> datetime | None:
        """When recording was last known to run: it said so, or noted something since."""
        text = await self._database.scalar(sa.select(marks.c.value).where(marks.c.name == ALIVE_MARK))
        if text is None:
            return None
        newest = sa.select(recording_marks.c.at).order_by(recording_marks.c.mark_id.desc()).limit(1)
        noted = await self._database.scalar(newest)
        said = datetime.fromisoformat(text)
        return said if noted is None else max(said, noted)

    async def set_alive(self, at: datetime) -> None:
        """Recording runs."""

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(sa.delete(marks).where(marks.c.name == ALIVE_MARK))
            await connection.execute(sa.insert(marks).values(name=ALIVE_MARK, value=at.isoformat()))

        await self._database.writer.run(write)

    async def mark(self, new: Sequence[Mark]) -> None:
        """Adds to the history."""
        await self._database.writer.batch(_insert_marks, new)

    async def history(self, stream_id: str, begin: datetime, end: datetime) -> Sequence[Mark]:
        """The history of a stream, and what holds for all, inside an interval; before it, the last mark of each
        kind."""
        of_it = recording_marks.c.stream_id.in_([stream_id, ""])
        before = (
            sa.select(sa.func.max(recording_marks.c.mark_id))
            .where(of_it, recording_marks.c.at < begin)
            .group_by(recording_marks.c.kind)
        )
        inside = sa.and_(of_it, recording_marks.c.at >= begin, recording_marks.c.at < end)
        query = sa.select(recording_marks).where(sa.or_(recording_marks.c.mark_id.in_(before), inside))
        rows = await self._database.all(query.order_by(recording_marks.c.at, recording_marks.c.mark_id))
        return [Mark(at=row.at, kind=MarkKind(row.kind), stream_id=row.stream_id, detail=row.detail) for row in rows]


async def _free_key(connection: AsyncConnection, destination: str, key: str) -> str:
    """The key, or the first numbered one after it that no slice of ours has."""
    candidates = numbered_keys(key)
    while part := list(islice(candidates, KEYS_AT_ONCE)):
        query = sa.select(slices.c.key).where(slices.c.destination == destination, slices.c.key.in_(part))
        taken = {row.key for row in (await connection.execute(query)).all()}
        free = next((candidate for candidate in part if candidate not in taken), None)
        if free is not None:
            return free
    raise ConflictError(f"every name like {key} is taken")


async def _insert_recordings(connection: AsyncConnection, items: Sequence[Recording]) -> None:
    values = [{name: getattr(item, name) for name in _RECORDING} for item in items]
    await connection.execute(
        sa.insert(recordings),
        [row | {"store_type": row["store_type"].value, "form": row["form"].value} for row in values],
    )


async def _insert_marks(connection: AsyncConnection, items: Sequence[Mark]) -> None:
    await connection.execute(
        sa.insert(recording_marks),
        [{"at": m.at, "stream_id": m.stream_id, "kind": m.kind.value, "detail": m.detail[:1000]} for m in items],
    )


def _parts(ids: Sequence[str]) -> Sequence[Sequence[str]]:
    return [ids[start : start + IDS_AT_ONCE] for start in range(0, len(ids), IDS_AT_ONCE)]


def _retention_values(retention: Retention) -> dict[str, Any]:
    return {
        "state": retention.state.value,
        "hours": retention.hours,
        "forever": retention.forever,
        "store_type": retention.store_type.value,
        "bucket": retention.bucket,
        "path": retention.path,
        "slice_minutes": retention.slice_minutes,
        "zone_hours": retention.zone_hours,
    }


def _to_retention(row: sa.Row[Any]) -> Retention:
    return Retention(
        state=StreamState(row.state),
        hours=row.hours,
        forever=row.forever,
        store_type=StoreType(row.store_type),
        bucket=row.bucket,
        path=row.path,
        slice_minutes=row.slice_minutes,
        zone_hours=row.zone_hours,
    )


def to_retained(row: sa.Row[Any]) -> Retained:
    return Retained(
        stream_id=row.stream_id,
        project_id=row.project_id,
        app=row.app,
        name=row.name,
        active=row.stream_state == StreamState.ACTIVE.value,
        retention=_to_retention(row),
    )


def _to_recording(row: sa.Row[Any]) -> Recording:
    values = {name: getattr(row, name) for name in _RECORDING}
    return Recording(**(values | {"store_type": StoreType(row.store_type), "form": RecordingForm(row.form)}))


def _to_slice(row: Any) -> Slice:
    values = {name: row[name] for name in _SLICE}
    return Slice(**(values | {"state": SliceState(values["state"])}))
