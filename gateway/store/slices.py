"""The slices of access strategies in the database: when they are due, and what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.access.model import Span, StrategyState
from gateway.access.slices import AccessSlice, SliceState, moment_of
from gateway.devices.model import ChannelId, DeviceId
from gateway.paging import Listing
from gateway.scope import Scope
from gateway.store.base import Database, clip
from gateway.store.scoping import within
from gateway.store.strategy_tables import slices, strategies
from gateway.store.tables import marks

ALIVE: Final = "access_alive"
"""The mark that says when slices were last seen to."""

slice_query: Final = sa.select(slices, strategies.c.device_id, strategies.c.channel_id).join(
    strategies, strategies.c.strategy_id == slices.c.strategy_id
)

_VALID: Final = sa.and_(strategies.c.state == StrategyState.ACTIVE.value, strategies.c.revision == slices.c.revision)
"""The slice belongs to the plan that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFilter:
    """What a list of one day is narrowed to; None is everything."""

    day: date
    state: SliceState | None = None
    device_id: DeviceId | None = None
    channel_id: ChannelId | None = None


class SliceStore:
    """Slices are made by `StrategyStore`; here they are found and followed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, until: datetime) -> Sequence[AccessSlice]:
        """Planned ones that begin by then, earliest first."""
        query = slice_query.where(slices.c.state == SliceState.PLANNED.value, slices.c.starts_at <= until, _VALID)
        rows = await self._database.all(query.order_by(slices.c.starts_at, slices.c.slice_id))
        return [slice_value(row) for row in rows]

    async def unfinished(self, day: date, at: datetime) -> Sequence[tuple[AccessSlice, bool]]:
        """Those that were begun and not ended before a restart: RUNNING ones, and FAILED ones of `day` not yet over.

        With each, whether its strategy still wants it.
        """
        running = slices.c.state == SliceState.RUNNING.value
        failed = sa.and_(
            slices.c.state == SliceState.FAILED.value,
            slices.c.starts_at >= moment_of(day, 0),
            slices.c.starts_at <= at,
        )
        query = slice_query.add_columns(_VALID.label("valid")).where(sa.or_(running, failed))
        rows = await self._database.all(query.order_by(slices.c.slice_id))
        found = [(slice_value(row), bool(row.valid)) for row in rows]
        return [(value, valid) for value, valid in found if value.state is SliceState.RUNNING or value.ends_at > at]

    async def save(self, changed: Sequence[AccessSlice]) -> None:
        """Keeps how they stand; those that were deleted meanwhile are ignored."""
        await self._database.writer.batch(_save, changed)

    async def list(self, scope: Scope, wanted: SliceFilter, *, offset: int, limit: int) -> Listing[AccessSlice]:
        """Slices of a scope in the order in which they begin."""
        conditions = [*within(scope, slices.c.project_id, strategies.c.device_id), slices.c.day == wanted.day]
        if wanted.state is not None:
            conditions.append(slices.c.state == wanted.state.value)
        if wanted.device_id is not None:
            conditions.append(strategies.c.device_id == wanted.device_id)
        if wanted.channel_id is not None:
            conditions.append(strategies.c.channel_id == wanted.channel_id)
        query = slice_query.where(*conditions)
        count = sa.select(sa.func.count()).select_from(slices)
        if scope.is_restricted or wanted.device_id is not None or wanted.channel_id is not None:
            count = count.join(strategies, strategies.c.strategy_id == slices.c.strategy_id)
        total = int(await self._database.scalar(count.where(*conditions)))
        page = query.order_by(slices.c.start_minute, slices.c.slice_id).limit(limit).offset(offset)
        return Listing(total, [slice_value(row) for row in await self._database.all(page)])

    async def delete_before(self, project_id: str, day: date, *, limit: int) -> int:
        """Deletes up to `limit` slices of days before `day`; gives how many."""

        async def write(connection: AsyncConnection) -> int:
            old = (
                sa.select(slices.c.slice_id)
                .where(slices.c.project_id == project_id, slices.c.day < day)
                .order_by(slices.c.day)
                .limit(limit)
            )
            return (await connection.execute(sa.delete(slices).where(slices.c.slice_id.in_(old)))).rowcount

        return await self._database.writer.run(write)

    async def mark_alive(self, at: datetime) -> None:
        """Keeps until when what flows is known to have flowed."""

        async def write(connection: AsyncConnection) -> None:
            changed = await connection.execute(
                sa.update(marks).where(marks.c.name == ALIVE).values(value=at.isoformat())
            )
            if changed.rowcount == 0:
                await connection.execute(sa.insert(marks).values(name=ALIVE, value=at.isoformat()))

        await self._database.writer.run(write)

    async def alive(self) -> datetime | None:
        """What was marked last."""
        value = await self._database.scalar(sa.select(marks.c.value).where(marks.c.name == ALIVE))
        return None if value is None else datetime.fromisoformat(value)


async def _save(connection: AsyncConnection, items: Sequence[AccessSlice]) -> None:
    """Of a slice that is there twice the later counts."""
    await connection.execute(
        sa.update(slices)
        .where(slices.c.slice_id == sa.bindparam("id"))
        .values(
            state=sa.bindparam("new_state"),
            reason=sa.bindparam("new_reason"),
            attempts=sa.bindparam("new_attempts"),
            video_from=sa.bindparam("new_from", type_=slices.c.video_from.type),
            video_until=sa.bindparam("new_until", type_=slices.c.video_until.type),
            flowing_since=sa.bindparam("new_since", type_=slices.c.flowing_since.type),
            received=sa.bindparam("new_received"),
        ),
        [
            {
                "id": item.slice_id,
                "new_state": item.state.value,
                "new_reason": clip(item.reason) or "",
                "new_attempts": item.attempts,
                "new_from": item.video_from,
                "new_until": item.video_until,
                "new_since": item.flowing_since,
                "new_received": item.received,
            }
            for item in items
        ],
    )


def slice_value(row: sa.Row[Any]) -> AccessSlice:
    """What a row of `slice_query` tells."""
    return AccessSlice(
        slice_id=row.slice_id,
        project_id=row.project_id,
        device_id=DeviceId(row.device_id),
        channel_id=ChannelId(row.channel_id),
        day=row.day,
        span=Span(row.start_minute, row.end_minute),
        state=SliceState(row.state),
        reason=row.reason,
        attempts=row.attempts,
        video_from=row.video_from,
        video_until=row.video_until,
        flowing_since=row.flowing_since,
        received=row.received,
    )
