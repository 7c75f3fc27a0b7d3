"""The append-only history of state events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.devices.model import ChannelId, DeviceId, StateCause, StateEvent
from gateway.store.base import Database
from gateway.store.tables import state_events

PROVISIONED: Final = StateCause.PROVISION.value
"""Events that are kept for ever: an id that was given once is known by them, and never given again."""


Position = tuple[datetime, int]
"""Time and number of an event: their order."""


class EventStore:
    """Nothing here is ever changed; what is old is deleted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, events: Sequence[StateEvent]) -> None:
        """Events that go with no change of state here; those of devices and channels are written with the change."""
        await self._database.writer.batch(append_events, events)

    async def history(
        self,
        device_id: DeviceId,
        *,
        channel_id: ChannelId | None = None,
        since: datetime | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[tuple[int, StateEvent]]:
        """Events with their numbers, newest first: of the device and its channels, or of one channel.

        `before` is the number of the last one seen, to read on.
        """
        query = sa.select(state_events).where(state_events.c.device_id == device_id)
        if channel_id is not None:
            query = query.where(state_events.c.channel_id == channel_id)
        if since is not None:
            query = query.where(state_events.c.at >= since)
        if before is not None:
            query = query.where(state_events.c.event_id < before)
        rows = await self._database.all(query.order_by(state_events.c.event_id.desc()).limit(limit))
        return [(row.event_id, _event(row)) for row in rows]

    async def prune(
        self, project_id: str, before: datetime, *, after: Position | None = None, limit: int = 1000
    ) -> tuple[Position | None, int]:
        """Deletes events of an earlier time, oldest first, among at most `limit` that it looks at.

        Gives where it came to, to go on `after` that, and how many it deleted; None at the end.
        """
        at, event_id = state_events.c.at, state_events.c.event_id
        query = sa.select(at, event_id, state_events.c.cause).where(
            state_events.c.project_id == project_id, at < before
        )
        if after is not None:
            query = query.where(
                sa.tuple_(at, event_id) > sa.tuple_(sa.literal(after[0], at.type), sa.literal(after[1]))
            )

        async def write(connection: AsyncConnection) -> tuple[Position | None, int]:
            rows = (await connection.execute(query.order_by(at, event_id).limit(limit))).all()
            doomed = [{"id": row.event_id} for row in rows if row.cause != PROVISIONED]
            if doomed:
                await connection.execute(sa.delete(state_events).where(event_id == sa.bindparam("id")), doomed)
            return ((rows[-1].at, rows[-1].event_id) if rows else None), len(doomed)

        return await self._database.writer.run(write)


async def append_events(connection: AsyncConnection, events: Sequence[StateEvent]) -> None:
    """Inside any transaction."""
    if events:
        await connection.execute(sa.insert(state_events), [_values(event) for event in events])


def _values(event: StateEvent) -> dict[str, Any]:
    return {
        "at": event.at,
        "project_id": event.project_id,
        "device_id": event.device_id,
        "channel_id": event.channel_id,
        "before": event.before,
        "after": event.after,
        "cause": event.cause.value,
        "detail": event.detail.replace("\x00", ""),
    }


def _event(row: sa.Row[Any]) -> StateEvent:
    return StateEvent(
        at=row.at,
        project_id=row.project_id,
        device_id=DeviceId(row.device_id),
        channel_id=None if row.channel_id is None else ChannelId(row.channel_id),
        before=row.before,
        after=row.after,
        cause=StateCause(row.cause),
        detail=row.detail,
    )
