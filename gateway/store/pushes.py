"""Pushes in the database; their addresses are sealed."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import NotFoundError, QuotaError
from gateway.pushes.model import PushRecord
from gateway.store.base import Database
from gateway.store.push_tables import stream_pushes
from gateway.store.tables import projects, streams

_query = (
    sa.select(stream_pushes, streams.c.name.label("stream_name"), projects.c.name.label("app"))
    .join(streams, streams.c.stream_id == stream_pushes.c.stream_id)
    .join(projects, projects.c.project_id == streams.c.project_id)
)


class PushStore:
    """Pushes by stream."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, push: PushRecord, *, most: int) -> None:
        """QuotaError if the stream has `most` already, NotFoundError if the stream is gone."""
        values = {
            "push_id": push.push_id,
            "stream_id": push.stream_id,
            "url": self._database.secrets.seal(push.url, push.push_id),
            "created_at": push.created_at,
        }
        held = sa.select(sa.func.count()).where(stream_pushes.c.stream_id == push.stream_id)
        there = sa.select(streams.c.stream_id).where(streams.c.stream_id == push.stream_id).with_for_update()

        async def write(connection: AsyncConnection) -> None:
            if await connection.scalar(there) is None:
                raise NotFoundError("stream", push.stream_name)
            if int(await connection.scalar(held) or 0) >= most:
                raise QuotaError("push", most)
            await connection.execute(sa.insert(stream_pushes).values(values))

        await self._database.writer.run(write)

    async def of(self, stream_id: str) -> Sequence[PushRecord]:
        """Those of a stream, the oldest first."""
        query = _query.where(stream_pushes.c.stream_id == stream_id)
        rows = await self._database.all(query.order_by(stream_pushes.c.created_at, stream_pushes.c.push_id))
        return [self._value(row) for row in rows]

    async def every(self) -> Sequence[PushRecord]:
        """All, read in parts."""
        return [self._value(row) async for row in self._database.stream(_query, stream_pushes.c.push_id)]

    async def delete(self, stream_id: str, push_id: str) -> None:
        """NotFoundError."""
        one = sa.and_(stream_pushes.c.stream_id == stream_id, stream_pushes.c.push_id == push_id)

        async def write(connection: AsyncConnection) -> None:
            if (await connection.execute(sa.delete(stream_pushes).where(one))).rowcount == 0:
                raise NotFoundError("push", push_id)

        await self._database.writer.run(write)

    def _value(self, row: sa.Row[Any]) -> PushRecord:
        return PushRecord(
            push_id=row.push_id,
            stream_id=row.stream_id,
            app=row.app,
            stream_name=row.stream_name,
            url=self._database.unsealed(row.url, row.push_id, instead=""),
            created_at=row.created_at,
        )
