"""Streams in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.paging import Listing, Page
from gateway.scope import Scope
from gateway.store.base import Database, Sortable, contains
from gateway.store.channels import active_streams
from gateway.store.scoping import within
from gateway.store.tables import channels, projects, streams
from gateway.streams.model import AccessType, ShareType, StreamRecord, StreamState

SORTABLE: Final[Sortable] = {
    **{
        name: streams.c[name]
        for name in ("created_at", "name", "encode_type", "access_type", "share_type", "state", "updated_at")
    },
    "retention_state": streams.c.created_at,  # it is the same for all: none is retained yet
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


class StreamStore:
    """Streams by project and name; those of channels are made and deleted with them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, scope: Scope, name: str) -> StreamRecord | None:
        """The stream, if it is in the scope."""
        there = within(scope, streams.c.project_id, streams.c.device_id)
        row = await self._database.first(_query.where(*there, streams.c.name == name))
        return None if row is None else _stream(row)

    async def find(self, app: str, name: str) -> StreamRecord | None:
        """The stream of a play address."""
        row = await self._database.first(_query.where(projects.c.name == app, streams.c.name == name))
        return None if row is None else _stream(row)

    async def list(self, scope: Scope, wanted: StreamFilter, page: Page | None) -> Listing[StreamRecord]:
        """InvalidError if it may not be sorted so."""
        conditions = within(scope, streams.c.project_id, streams.c.device_id)
        if wanted.name is not None:
            conditions.append(contains(streams.c.name, wanted.name))
        if wanted.state is not None:
            conditions.append(streams.c.state == wanted.state.value)
        return await self._database.list(
            _query, key=streams.c.stream_id, conditions=conditions, sortable=SORTABLE, page=page, value=_stream
        )

    async def count(self, project_id: str) -> tuple[int, int]:
        """How many the project has, and how many of them are active."""
        every = sa.select(sa.func.count()).select_from(streams).where(streams.c.project_id == project_id)
        return int(await self._database.scalar(every)), int(await self._database.scalar(active_streams(project_id)))

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


def _stream(row: sa.Row[Any]) -> StreamRecord:
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
        device_id=row.device_id,
        channel_id=row.channel_id,
        tcp_priority=bool(row.tcp_priority),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
