"""Access strategies in the database, and the plans of their days. What became of the slices is in `slices`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.access.model import AccessStrategy, Periodicity, RandomStrategy, Span, StrategyState, Timing
from gateway.access.rules import Settled, is_past, next_day, times_of
from gateway.access.slices import AccessSlice, SliceState, day_of, moment_of
from gateway.devices.model import ChannelId, DeviceId
from gateway.errors import NotFoundError, QuotaError
from gateway.store.base import Database, one
from gateway.store.credentials import lock_project
from gateway.store.slices import slice_query, slice_value
from gateway.store.strategy_tables import slices, strategies
from gateway.store.tables import channels

QUOTAS: Final[Mapping[RandomStrategy, str]] = {
    RandomStrategy.RANDOM: "random_access_time",
    RandomStrategy.CONSECUTIVE: "consecutive_access_time",
}
"""The quota of minutes that each kind draws on."""
CHANGED: Final = "the strategy was changed"
BEGAN_BEFORE: Final = "began before the strategy was changed"
ACTIVE: Final = StrategyState.ACTIVE.value
ONCE: Final = Periodicity.ONCE.value

Key = tuple[DeviceId, ChannelId]


class StrategyStore:
    """A strategy is known by its channel."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def settle(
        self,
        device_id: DeviceId,
        channel_id: ChannelId,
        decide: Callable[[AccessStrategy | None], Settled],
        *,
        at: datetime,
        quotas: Mapping[str, int],
    ) -> tuple[Settled, Sequence[AccessSlice]]:
        """Keeps what `decide` makes of the strategy as it is, and today's plan with it; gives both.

        Slices of today that began by `at` are SKIPPED; of a plan that is void, those that did not begin are deleted.
        `quotas` are minutes of all active strategies together, and bound each strategy, active or not. QuotaError,
        NotFoundError, and whatever `decide` raises: then nothing is changed.
        """

        async def write(connection: AsyncConnection) -> tuple[Settled, Sequence[AccessSlice]]:
            project_id = await _project_of(connection, device_id, channel_id)
            await lock_project(connection, project_id)
            row = await one(connection, sa.select(strategies).where(_is(device_id, channel_id)))
            settled = decide(None if row is None else strategy_value(row))
            await _check_quota(connection, project_id, None if row is None else row.strategy_id, settled, quotas)
            values = _values(settled.strategy)
            if row is None:
                key = {"device_id": device_id, "channel_id": channel_id, "project_id": project_id}
                insert = sa.insert(strategies).values({**key, **values}).returning(strategies.c.strategy_id)
                strategy_id = (await connection.execute(insert)).scalar_one()
            else:
                strategy_id = row.strategy_id
                await connection.execute(
                    sa.update(strategies).where(strategies.c.strategy_id == strategy_id).values(values)
                )
            if not settled.redrawn:
                return settled, ()
            return settled, await _replace_plan(connection, strategy_id, project_id, settled, at)

        return await self._database.writer.run(write)

    async def plan(self, day: date, *, limit: int) -> int:
        """Draws and keeps the times of `day` for up to `limit` strategies that lack them; gives how many those were.

        A strategy that is changed meanwhile draws for itself, and no day is ever drawn twice.
        """

        async def write(connection: AsyncConnection) -> int:
            wanted = sa.select(strategies).where(strategies.c.state == ACTIVE, strategies.c.plan_from <= day)
            rows = (
                await connection.execute(wanted.order_by(strategies.c.strategy_id).limit(limit).with_for_update())
            ).all()
            new: list[dict[str, Any]] = []
            for row in rows:
                strategy = strategy_value(row)
                new += _rows(row.strategy_id, row.project_id, strategy.revision, day, times_of(strategy, day))
            if new:
                await connection.execute(sa.insert(slices), new)
            for periodicity in Periodicity:
                ids = [row.strategy_id for row in rows if row.periodicity == periodicity.value]
                await _mark_planned(connection, ids, day, next_day(periodicity, day))
            return len(rows)

        return await self._database.writer.run(write)

    async def stop_finished(self, today: date, *, at: datetime) -> Sequence[Key]:
        """Stops each ONCE whose day is over; gives their channels."""

        async def write(connection: AsyncConnection) -> Sequence[Key]:
            over = sa.and_(
                strategies.c.state == ACTIVE,
                strategies.c.periodicity == ONCE,
                strategies.c.plan_from.is_(None),
                strategies.c.planned_day < today,
            )
            rows = (await connection.execute(sa.select(strategies).where(over).with_for_update())).all()
            if rows:
                await connection.execute(
                    sa.update(strategies).where(over).values(state=StrategyState.STOPPED.value, updated_at=at)
                )
            return [(DeviceId(row.device_id), ChannelId(row.channel_id)) for row in rows]

        return await self._database.writer.run(write)

    async def used(self, project_id: str) -> Mapping[str, int]:
        """Minutes a day of all active strategies, by the name of their quota."""
        query = (
            sa.select(strategies.c.kind, sa.func.sum(strategies.c.total_length).label("minutes"))
            .where(strategies.c.project_id == project_id, strategies.c.state == ACTIVE)
            .group_by(strategies.c.kind)
        )
        return {QUOTAS[RandomStrategy(row.kind)]: int(row.minutes) for row in await self._database.all(query)}


async def _project_of(connection: AsyncConnection, device_id: str, channel_id: str) -> str:
    query = sa.select(channels.c.project_id).where(
        channels.c.device_id == device_id, channels.c.channel_id == channel_id
    )
    project_id: str | None = await connection.scalar(query)
    if project_id is None:
        raise NotFoundError("channel", channel_id)
    return project_id


async def _check_quota(
    connection: AsyncConnection,
    project_id: str,
    strategy_id: int | None,
    settled: Settled,
    quotas: Mapping[str, int],
) -> None:
    timing = settled.strategy.timing
    name = QUOTAS[timing.kind]
    total = quotas[name]
    wanted = timing.total
    if settled.strategy.active:
        others = sa.select(sa.func.sum(strategies.c.total_length)).where(
            strategies.c.project_id == project_id,
            strategies.c.state == ACTIVE,
            strategies.c.kind == timing.kind.value,
            strategies.c.strategy_id != (strategy_id or 0),
        )
        wanted += int(await connection.scalar(others) or 0)
    if wanted > total:
        raise QuotaError(name, total)


async def _replace_plan(
    connection: AsyncConnection, strategy_id: int, project_id: str, settled: Settled, at: datetime
) -> Sequence[AccessSlice]:
    """Slices that began are left to the runner, which knows how they stand and is told next."""
    revision, today = settled.strategy.revision, day_of(at)
    await _make_void(connection, strategy_id, today, at)
    rows = _rows(strategy_id, project_id, revision, today, settled.today)
    for row, span in zip(rows, settled.today, strict=True):
        if is_past(today, span, at):
            row.update(state=SliceState.SKIPPED.value, reason=BEGAN_BEFORE)
    if not rows:
        return ()
    await connection.execute(sa.insert(slices), rows)
    query = slice_query.where(
        slices.c.strategy_id == strategy_id, slices.c.day == today, slices.c.revision == revision
    ).order_by(slices.c.start_minute)
    return [slice_value(row) for row in (await connection.execute(query)).all()]


async def _make_void(connection: AsyncConnection, strategy_id: int, today: date, at: datetime) -> None:
    """The state is not asked for: SQLite would then read all planned slices of everybody."""
    recent = sa.select(slices.c.slice_id, slices.c.state, slices.c.starts_at).where(
        slices.c.strategy_id == strategy_id, slices.c.day >= today - timedelta(days=1)
    )
    rows = [row for row in (await connection.execute(recent)).all() if row.state == SliceState.PLANNED.value]
    ahead = [row.slice_id for row in rows if row.starts_at > at]
    begun = [row.slice_id for row in rows if row.starts_at <= at]
    if ahead:
        await connection.execute(sa.delete(slices).where(slices.c.slice_id.in_(ahead)))
    if begun:
        skipped = {"state": SliceState.SKIPPED.value, "reason": CHANGED}
        await connection.execute(sa.update(slices).where(slices.c.slice_id.in_(begun)).values(skipped))


async def _mark_planned(connection: AsyncConnection, ids: Sequence[int], day: date, following: date | None) -> None:
    await connection.execute(
        sa.update(strategies).where(strategies.c.strategy_id.in_(ids)).values(planned_day=day, plan_from=following)
    )


def _rows(strategy_id: int, project_id: str, revision: int, day: date, spans: Iterable[Span]) -> list[dict[str, Any]]:
    return [
        {
            "strategy_id": strategy_id,
            "project_id": project_id,
            "day": day,
            "revision": revision,
            "start_minute": span.start,
            "end_minute": span.end,
            "starts_at": moment_of(day, span.start),
            "state": SliceState.PLANNED.value,
            "reason": "",
            "attempts": 0,
            "received": 0.0,
        }
        for span in spans
    ]


def _is(device_id: str, channel_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(strategies.c.device_id == device_id, strategies.c.channel_id == channel_id)


def _values(strategy: AccessStrategy) -> dict[str, Any]:
    timing = strategy.timing
    return {
        "kind": timing.kind.value,
        "start_minute": timing.start,
        "end_minute": timing.end,
        "total_length": timing.total,
        "periodicity": strategy.periodicity.value,
        "state": strategy.state.value,
        "seed": strategy.seed,
        "revision": strategy.revision,
        "planned_day": strategy.planned_day,
        "plan_from": strategy.plan_from,
        "created_at": strategy.created_at,
        "updated_at": strategy.updated_at,
    }


def strategy_columns() -> list[sa.Label[Any]]:
    """All columns, with `strategy_` before the names that others have too: for queries over several tables."""
    return [column.label(f"strategy_{column.name.removeprefix('strategy_')}") for column in strategies.c]


def strategy_value(row: sa.Row[Any], prefix: str = "") -> AccessStrategy:
    """What a row of the table, or of `strategy_columns`, tells."""
    found = row._mapping
    timing = Timing(
        kind=RandomStrategy(found[f"{prefix}kind"]),
        start=found[f"{prefix}start_minute"],
        end=found[f"{prefix}end_minute"],
        total=found[f"{prefix}total_length"],
    )
    return AccessStrategy(
        timing=timing,
        periodicity=Periodicity(found[f"{prefix}periodicity"]),
        state=StrategyState(found[f"{prefix}state"]),
        seed=found[f"{prefix}seed"],
        revision=found[f"{prefix}revision"],
        planned_day=found[f"{prefix}planned_day"],
        plan_from=found[f"{prefix}plan_from"],
        created_at=found[f"{prefix}created_at"],
        updated_at=found[f"{prefix}updated_at"],
    )
