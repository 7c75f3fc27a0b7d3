"""Streams in the database; the URLs that they are pulled from are sealed."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import ConflictError, NotFoundError, QuotaError
from gateway.paging import Listing, Page
from gateway.scope import Scope
from gateway.store.base import Database, Sortable, contains, one
from gateway.store.channels import active_streams
from gateway.store.credentials import lock_project
from gateway.store.retention_tables import retentions
from gateway.store.scoping import within
from gateway.store.stream_tables import push_keys
from gateway.store.tables import channels, projects, streams
from gateway.streams.model import AccessType, ShareType, StreamRecord, StreamState, Tag

retained: Final = streams.c.stream_id.in_(
    sa.select(retentions.c.stream_id).where(retentions.c.state == StreamState.ACTIVE.value)
)
"""Whether the stream's retention is ACTIVE."""
SORTABLE: Final[Sortable] = {
    **{
        name: streams.c[name]
        for name in ("created_at", "name", "encode_type", "access_type", "share_type", "state", "updated_at")
    },
    "retention_state": sa.case((retained, StreamState.ACTIVE.value), else_=StreamState.STOPPED.value),
}
_query: Final = (
    sa.select(streams, projects.c.name.label("app"), channels.c.tcp_priority)
    .join(projects, projects.c.project_id == streams.c.project_id)
    .outerjoin(channels, channels.c.stream_id == streams.c.stream_id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFilter:
    """What a list is narrowed to; None is everything."""

    name: str | None = None
    """A part of the name."""
    state: StreamState | None = None
    retention_state: StreamState | None = None
    own: bool = False
    """Only those made by hand, not the channels'."""


@dataclass(frozen=True, slots=True)
class StreamQuotas:
    """How many streams a project may have, and how many of them active."""

    total: int
    active: int


class StreamStore:
    """Streams by project and name; those of channels are made and deleted with them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, scope: Scope, name: str) -> StreamRecord | None:
        """The stream, if it is in the scope."""
        there = within(scope, streams.c.project_id, streams.c.device_id, by_device=True)
        row = await self._database.first(_query.where(*there, streams.c.name == name))
        return None if row is None else self._value(row)

    async def find(self, app: str, name: str) -> StreamRecord | None:
        """The stream of a play address."""
        row = await self._database.first(_query.where(projects.c.name == app, streams.c.name == name))
        return None if row is None else self._value(row)

    async def own(self, name: str) -> StreamRecord | None:
        """The stream of this name that is no channel's: there is one in all projects."""
        own = streams.c.access_type != AccessType.GB28181.value
        row = await self._database.first(_query.where(streams.c.name == name, own))
        return None if row is None else self._value(row)

    async def active(self, access_type: AccessType) -> AsyncIterator[tuple[str, str]]:
        """App and name of every active stream of this kind, in all projects; read in parts."""
        wanted = (streams.c.access_type == access_type.value, streams.c.state == StreamState.ACTIVE.value)
        async for row in self._database.stream(_query.where(*wanted), streams.c.stream_id):
            yield row.app, row.name

    async def list(self, scope: Scope, wanted: StreamFilter, page: Page | None) -> Listing[StreamRecord]:
        """InvalidError if it may not be sorted so."""
        conditions = within(scope, streams.c.project_id, streams.c.device_id, by_device=True)
        if wanted.name is not None:
            conditions.append(contains(streams.c.name, wanted.name))
        if wanted.state is not None:
            conditions.append(streams.c.state == wanted.state.value)
        if wanted.own:
            conditions.append(streams.c.access_type != AccessType.GB28181.value)
        if wanted.retention_state is not None:
            conditions.append(retained if wanted.retention_state is StreamState.ACTIVE else ~retained)
        return await self._database.list(
            _query, key=streams.c.stream_id, conditions=conditions, sortable=SORTABLE, page=page, value=self._value
        )

    async def count(self, project_id: str) -> tuple[int, int]:
        """How many the project has, and how many of them are active."""
        return int(await self._database.scalar(_count(project_id))), int(
            await self._database.scalar(active_streams(project_id))
        )

    async def add(self, stream: StreamRecord, *, quotas: StreamQuotas) -> None:
        """Adds a stream that is no channel's.

        ConflictError if its name is taken in any project, NotFoundError for an unknown access key, QuotaError.
        """

        async def write(connection: AsyncConnection) -> None:
            await lock_project(connection, stream.project_id)
            if int(await connection.scalar(_count(stream.project_id)) or 0) >= quotas.total:
                raise QuotaError("stream", quotas.total)
            await _check_key(connection, stream)
            await connection.execute(sa.insert(streams).values(self._values(stream)))

        try:
            await self._database.writer.run(write)
        except sa.exc.IntegrityError as error:
            raise ConflictError(f"a stream named {stream.name} exists already") from error

    async def update(
        self,
        project_id: str,
        name: str,
        change: Callable[[StreamRecord], StreamRecord],
        *,
        quotas: StreamQuotas,
    ) -> tuple[StreamRecord, StreamRecord]:
        """Writes what `change` makes of the stream, which may raise, and returns it as it was and as it is.

        Name, owner and the coding that was seen stay. QuotaError if it becomes active and the project has enough that
        are; NotFoundError if it, or its access key, is not there (any more).
        """

        async def write(connection: AsyncConnection) -> tuple[StreamRecord, StreamRecord]:
            await lock_project(connection, project_id)
            row = await one(connection, _query.where(streams.c.project_id == project_id, streams.c.name == name))
            if row is None:
                raise NotFoundError("stream", name)
            before = self._value(row)
            after = change(before)
            starts = after.state is StreamState.ACTIVE and before.state is not StreamState.ACTIVE
            if starts and int(await connection.scalar(active_streams(project_id)) or 0) >= quotas.active:
                raise QuotaError("active_stream", quotas.active)
            if after.access_key != before.access_key:
                await _check_key(connection, after)
            values = {column: value for column, value in self._values(after).items() if column in CHANGEABLE}
            await connection.execute(sa.update(streams).where(streams.c.stream_id == before.stream_id).values(values))
            return before, after

        return await self._database.writer.run(write)

    async def delete(self, stream_id: str) -> bool:
        """False if there is none such."""

        async def write(connection: AsyncConnection) -> bool:
            result = await connection.execute(sa.delete(streams).where(streams.c.stream_id == stream_id))
            return result.rowcount == 1

        return await self._database.writer.run(write)

    async def next_generation(self, stream_id: str, at: datetime) -> int | None:
        """Makes the play addresses given out so far void and returns the new generation; None if there is none such."""

        async def write(connection: AsyncConnection) -> int | None:
            mine = streams.c.stream_id == stream_id
            await connection.execute(
                sa.update(streams).where(mine).values(generation=streams.c.generation + 1, updated_at=at)
            )
            return await connection.scalar(sa.select(streams.c.generation).where(mine))

        return await self._database.writer.run(write)

    async def set_encode_types(self, seen: Sequence[tuple[str, str, str]], at: datetime) -> None:
        """Keeps the coding that was seen of each (app, name, coding)."""

        async def write(connection: AsyncConnection) -> None:
            owner = sa.select(projects.c.project_id).where(projects.c.name == sa.bindparam("app")).scalar_subquery()
            await connection.execute(
                sa.update(streams)
                .where(
                    streams.c.project_id == owner,
                    streams.c.name == sa.bindparam("stream"),
                    streams.c.encode_type != sa.bindparam("coding"),
                )
                .values(encode_type=sa.bindparam("coding"), updated_at=at),
                [{"app": app, "stream": name, "coding": coding} for app, name, coding in seen],
            )

        if seen:
            await self._database.writer.run(write)

    def _values(self, stream: StreamRecord) -> dict[str, Any]:
        url = stream.url
        return {
            "stream_id": stream.stream_id,
            "project_id": stream.project_id,
            "name": stream.name,
            "access_type": stream.access_type.value,
            "share_type": stream.share_type.value,
            "state": stream.state.value,
            "description": stream.description,
            "encode_type": stream.encode_type,
            "url": None if url is None else self._database.secrets.seal(url, stream.stream_id),
            "access_key": stream.access_key,
            "tags": [list(tag) for tag in stream.tags],
            "generation": stream.generation,
            "device_id": stream.device_id,
            "channel_id": stream.channel_id,
            "created_at": stream.created_at,
            "updated_at": stream.updated_at,
        }

    def _value(self, row: sa.Row[Any]) -> StreamRecord:
        return StreamRecord(
            stream_id=row.stream_id,
            project_id=row.project_id,
            app=row.app,
            name=row.name,
            access_type=AccessType(row.access_type),
            share_type=ShareType(row.share_type),
            state=StreamState(row.state),
            description=row.description,
            encode_type=row.encode_type,
            url=None if row.url is None else self._database.unsealed(row.url, row.stream_id, instead=""),
            access_key=row.access_key,
            tags=tuple(Tag(key, value) for key, value in row.tags),
            generation=row.generation,
            device_id=row.device_id,
            channel_id=row.channel_id,
            tcp_priority=bool(row.tcp_priority),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


CHANGEABLE: Final = frozenset(
    {"access_type", "share_type", "state", "description", "url", "access_key", "tags", "updated_at"}
)


def _count(project_id: str) -> sa.Select[int]:
    return sa.select(sa.func.count()).select_from(streams).where(streams.c.project_id == project_id)


async def _check_key(connection: AsyncConnection, stream: StreamRecord) -> None:
    """NotFoundError unless the stream's key is there, and its project's."""
    if stream.access_key is None:
        return
    query = (
        sa.select(push_keys.c.access_key)
        .where(push_keys.c.access_key == stream.access_key, push_keys.c.project_id == stream.project_id)
        .with_for_update(key_share=True)
    )
    if await connection.scalar(query) is None:
        raise NotFoundError("access key", stream.access_key)
