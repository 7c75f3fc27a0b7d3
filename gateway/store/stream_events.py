"""The append-only history of streams that are pushed or pulled."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.base import Database
from gateway.store.stream_tables import stream_events
from gateway.streams.model import StreamEvent


class StreamEventStore:
    """Nothing here is ever changed; what is old is deleted. It outlives the streams."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, events: Sequence[StreamEvent]) -> None:
        """Returns when they are durable."""
        await self._database.writer.batch(_append, events)

    async def history(
        self, project_id: str, stream_name: str, *, before: int | None = None, limit: int = 100
    ) -> Sequence[tuple[int, StreamEvent]]:
        """Events with their numbers, newest first; `before` is the number of the last one seen, to read on."""
        query = sa.select(stream_events).where(
            stream_events.c.project_id == project_id, stream_events.c.stream_name == stream_name
        )
        if before is not None:
            query = query.where(stream_events.c.event_id < before)
        rows = await self._database.all(query.order_by(stream_events.c.event_id.desc()).limit(limit))
        return [(row.event_id, _event(row)) for row in rows]

    async def prune(self, before: datetime, *, limit: int = 1000) -> int:
        """Deletes the events of an earlier time among the `limit` that were written first, of whatever project; gives
        how many: with none there is nothing left to do. They are written in the order of their times but for some
        seconds, so no index and no look at the whole table is needed."""
        event_id = stream_events.c.event_id

        async def write(connection: AsyncConnection) -> int:
            first = sa.select(event_id, stream_events.c.at).order_by(event_id).limit(limit)
            doomed = [{"id": row.event_id} for row in (await connection.execute(first)).all() if row.at < before]
            if doomed:
                await connection.execute(sa.delete(stream_events).where(event_id == sa.bindparam("id")), doomed)
            return len(doomed)

        return await self._database.writer.run(write)


async def _append(connection: AsyncConnection, events: Sequence[StreamEvent]) -> None:
    await connection.execute(
        sa.insert(stream_events), [{**asdict(event), "detail": event.detail.replace("\x00", "")} for event in events]
    )


def _event(row: sa.Row[Any]) -> StreamEvent:
    return StreamEvent(
        at=row.at,
        project_id=row.project_id,
        stream_name=row.stream_name,
        before=row.before,
        after=row.after,
        cause=row.cause,
        detail=row.detail,
        reason_code=row.reason_code,
    )
