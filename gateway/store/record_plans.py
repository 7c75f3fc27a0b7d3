"""Record plans in the database, the streams that have one, and the channels that were called for it."""

import json
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.devices.model import ChannelId, DeviceId
from gateway.errors import NotFoundError, QuotaError
from gateway.paging import Listing, Page
from gateway.record_plans.errors import PlanInUseError, PlanNameError
from gateway.record_plans.model import Assigned, Planned, RecordPlan, Week, WeekRange
from gateway.retention.errors import NotRetainedError
from gateway.retention.model import Retention
from gateway.scope import Scope
from gateway.store.base import Database, one
from gateway.store.credentials import lock_project
from gateway.store.record_plan_tables import record_calls, record_plan_streams, record_plans
from gateway.store.retention import retained_query, to_retained
from gateway.store.retention_tables import retentions
from gateway.store.scoping import within
from gateway.store.tables import channels, projects, streams

Key = tuple[DeviceId, ChannelId]
IDS_AT_ONCE: Final = 400
"""Bound parameters in one statement."""
_count: Final = (
    sa.select(sa.func.count())
    .where(record_plan_streams.c.plan_id == record_plans.c.plan_id)
    .correlate(record_plans)
    .scalar_subquery()
)
_query: Final = sa.select(record_plans, _count.label("streams"))
_assigned: Final = retained_query.add_columns(
    record_plan_streams.c.plan_id, streams.c.device_id, streams.c.channel_id
).join(record_plan_streams, record_plan_streams.c.stream_id == streams.c.stream_id)
_planned: Final = (
    sa.select(
        projects.c.name.label("app"), streams.c.name, record_plans.c.plan_id, record_plans.c.name.label("plan_name")
    )
    .select_from(streams)
    .join(record_plan_streams, record_plan_streams.c.stream_id == streams.c.stream_id)
    .join(record_plans, record_plans.c.plan_id == record_plan_streams.c.plan_id)
    .join(projects, projects.c.project_id == streams.c.project_id)
)


class RecordPlanStore:
    """Plans by project and id; a stream has one at most."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, plan: RecordPlan, *, most: int) -> None:
        """ConflictError if the project has a plan of this name, QuotaError if it has `most` plans."""
        count = sa.select(sa.func.count()).where(record_plans.c.project_id == plan.project_id)

        async def write(connection: AsyncConnection) -> None:
            await lock_project(connection, plan.project_id)
            if int(await connection.scalar(count) or 0) >= most:
                raise QuotaError("record plans", most)
            await connection.execute(
                sa.insert(record_plans).values(
                    plan_id=plan.plan_id,
                    project_id=plan.project_id,
                    created_at=plan.created_at,
                    **_values(plan.name, plan.zone, plan.ranges, plan.updated_at),
                )
            )

        await self._write(write, plan.name)

    async def list(self, project_id: str, page: Page | None = None) -> Listing[RecordPlan]:
        """By name."""
        query = _query.where(record_plans.c.project_id == project_id)
        rows = await self._database.all(paged(query.order_by(record_plans.c.name), page))
        total = len(rows)
        if page is not None:
            count = sa.select(sa.func.count()).where(record_plans.c.project_id == project_id)
            total = int(await self._database.scalar(count) or 0)
        return Listing(total, [_to_plan(row) for row in rows])

    async def weeks(self, project_id: str) -> dict[str, Week]:
        """When each plan of the project wants to record, by its id."""
        stored = sa.cast(record_plans.c.ranges, sa.Text).label("stored")
        query = sa.select(record_plans.c.plan_id, record_plans.c.zone, stored)
        rows = await self._database.all(query.where(record_plans.c.project_id == project_id))
        return {row.plan_id: Week(row.zone, _read_ranges(row.stored)) for row in rows}

    async def get(self, project_id: str, plan_id: str) -> RecordPlan:
        """NotFoundError."""
        row = await self._database.first(_query.where(*_one(project_id, plan_id)))
        if row is None:
            raise NotFoundError("record plan", plan_id)
        return _to_plan(row)

    async def change(
        self, project_id: str, plan_id: str, change: Callable[[RecordPlan], RecordPlan], *, at: datetime
    ) -> None:
        """Puts what `change` makes of the plan in its place; ConflictError for its name, NotFoundError."""
        named = plan_id

        async def write(connection: AsyncConnection) -> None:
            nonlocal named
            row = await one(connection, _query.where(*_one(project_id, plan_id)))
            if row is None:
                raise NotFoundError("record plan", plan_id)
            plan = change(_to_plan(row))
            named = plan.name
            values = _values(plan.name, plan.zone, plan.ranges, at)
            await connection.execute(sa.update(record_plans).where(record_plans.c.plan_id == plan_id).values(**values))

        try:
            await self._database.writer.run(write)
        except sa.exc.IntegrityError as error:
            raise PlanNameError(f"a record plan named {named} exists already") from error

    async def delete(self, project_id: str, plan_id: str) -> None:
        """ConflictError while streams have it, NotFoundError."""

        async def write(connection: AsyncConnection) -> None:
            await _lock(connection, project_id, plan_id)
            used = sa.select(record_plan_streams.c.stream_id).where(record_plan_streams.c.plan_id == plan_id)
            if await connection.scalar(used.limit(1)) is not None:
                raise PlanInUseError(f"record plan {plan_id} is in use: take it from its streams first")
            await connection.execute(sa.delete(record_plans).where(record_plans.c.plan_id == plan_id))

        await self._database.writer.run(write)

    async def assign(self, scope: Scope, plan_id: str, *, add: Collection[str], remove: Collection[str]) -> None:
        """Gives the plan to streams, by name, whatever plan they had; takes it from others, which need not have it.

        Nothing is changed if NotFoundError is raised for the plan or a stream to add, or NotRetainedError for one of
        which it was never said where its recordings go.
        """

        async def write(connection: AsyncConnection) -> None:
            await _lock(connection, scope.project_id, plan_id)
            gone = await _ids(connection, scope, list(dict.fromkeys(remove)))
            for part in _parts(list(gone.values())):
                has = sa.and_(record_plan_streams.c.stream_id.in_(part), record_plan_streams.c.plan_id == plan_id)
                await connection.execute(sa.delete(record_plan_streams).where(has))
            names = list(dict.fromkeys(add))
            found = await _ids(connection, scope, names)
            for name in names:
                if name not in found:
                    raise NotFoundError("stream", name)
            retained: set[str] = set()
            for part in _parts(list(found.values())):
                kept = sa.select(retentions.c.stream_id).where(retentions.c.stream_id.in_(part))
                retained |= set((await connection.scalars(kept)).all())
                await connection.execute(
                    sa.delete(record_plan_streams).where(record_plan_streams.c.stream_id.in_(part))
                )
            for name, stream_id in found.items():
                if stream_id not in retained:
                    raise NotRetainedError(f"stream {name} has no retention: nobody said where its recordings go")
            if found:
                rows = [{"stream_id": stream_id, "plan_id": plan_id} for stream_id in found.values()]
                await connection.execute(sa.insert(record_plan_streams), rows)

        await self._database.writer.run(write)

    async def retentions(self, scope: Scope, names: Sequence[str]) -> Sequence[Retention]:
        """Where recordings of streams go, by name; of those that are not found, or have no retention, nothing."""
        inside = within(scope, streams.c.project_id, streams.c.device_id)
        found: list[Retention] = []
        for part in _parts(list(dict.fromkeys(names))):
            query = retained_query.where(*inside, streams.c.name.in_(part))
            found += [to_retained(row).retention for row in await self._database.all(query)]
        return found

    async def every(self) -> dict[str, RecordPlan]:
        """All plans of all projects, by id."""
        return {row.plan_id: _to_plan(row) async for row in self._database.stream(_query, record_plans.c.plan_id)}

    async def assigned(self) -> AsyncIterator[Assigned]:
        """Every stream that has a plan, in all projects."""
        async for row in self._database.stream(_assigned, streams.c.stream_id):
            yield _to_assigned(row)

    async def streams(self, scope: Scope, plan_ids: Collection[str], page: Page | None = None) -> Listing[Planned]:
        """Streams of the scope that have one of these plans of its project, by name."""
        inside, plan_id = within(scope, streams.c.project_id, streams.c.device_id), record_plan_streams.c.plan_id
        having = plan_id.in_(sorted(plan_ids))
        # Of many plans a page is full soon if streams are gone through by name, but SQLite would rather collect all
        # that the plans have, and sort them. No index serves this expression.
        by_name = having if len(plan_ids) == 1 else sa.func.coalesce(plan_id, "").in_(sorted(plan_ids))
        query = _planned.where(*inside, by_name).order_by(streams.c.name)
        rows = await self._database.all(paged(query, page))
        total = len(rows)
        if page is not None:
            has = record_plan_streams.c.stream_id == streams.c.stream_id
            count = sa.select(sa.func.count()).select_from(streams).join(record_plan_streams, has)
            total = int(await self._database.scalar(count.where(*inside, having)) or 0)
        return Listing(total, [Planned(row.app, row.name, row.plan_id, row.plan_name) for row in rows])

    async def called(self) -> set[Key]:
        """Channels that were called for a plan, and not let go of yet."""
        rows = await self._database.all(sa.select(record_calls))
        return {(DeviceId(row.device_id), ChannelId(row.channel_id)) for row in rows}

    async def set_called(self, key: Key, called: bool) -> None:
        """Keeps whether a channel was called for a plan; one that was deleted meanwhile is left."""
        device_id, channel_id = key
        values = {"device_id": device_id, "channel_id": channel_id}
        there = sa.select(channels.c.channel_id).where(
            channels.c.device_id == device_id, channels.c.channel_id == channel_id
        )

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(sa.delete(record_calls).filter_by(**values))
            if called and await connection.scalar(there) is not None:
                await connection.execute(sa.insert(record_calls).values(**values))

        await self._database.writer.run(write)

    async def _write(self, transaction: Callable[[AsyncConnection], Any], name: str) -> None:
        try:
            await self._database.writer.run(transaction)
        except sa.exc.IntegrityError as error:
            raise PlanNameError(f"a record plan named {name} exists already") from error


def paged(query: sa.Select[Any], page: Page | None) -> sa.Select[Any]:
    """So much of it as is asked for."""
    return query if page is None else query.limit(page.limit).offset(page.offset)


def _one(project_id: str, plan_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return record_plans.c.project_id == project_id, record_plans.c.plan_id == plan_id


async def _lock(connection: AsyncConnection, project_id: str, plan_id: str) -> None:
    """Nobody deletes the plan, or gives it to a stream, while this transaction lasts; NotFoundError."""
    query = sa.select(record_plans.c.plan_id).where(*_one(project_id, plan_id)).with_for_update()
    if await connection.scalar(query) is None:
        raise NotFoundError("record plan", plan_id)


async def _ids(connection: AsyncConnection, scope: Scope, names: Sequence[str]) -> dict[str, str]:
    """Ids of those streams that there are, by name, in the order of the names."""
    found: dict[str, str] = {}
    for part in _parts(names):
        there = within(scope, streams.c.project_id, streams.c.device_id)
        query = sa.select(streams.c.name, streams.c.stream_id).where(*there, streams.c.name.in_(part))
        found |= {row.name: row.stream_id for row in (await connection.execute(query)).all()}
    return {name: found[name] for name in names if name in found}


def _parts(items: Sequence[str]) -> Sequence[Sequence[str]]:
    return [items[start : start + IDS_AT_ONCE] for start in range(0, len(items), IDS_AT_ONCE)]


def _values(name: str, zone: str, ranges: Sequence[WeekRange], at: datetime) -> dict[str, Any]:
    return {"name": name, "zone": zone, "ranges": [list(one_) for one_ in ranges], "updated_at": at}


@lru_cache(maxsize=256)
def _read_ranges(stored: str) -> tuple[WeekRange, ...]:
    """Plans are looked at again and again, and many have the same week."""
    return _ranges(json.loads(stored))


def _ranges(stored: Iterable[Sequence[int]]) -> tuple[WeekRange, ...]:
    return tuple(WeekRange(*found) for found in stored)


def _to_plan(row: sa.Row[Any]) -> RecordPlan:
    return RecordPlan(
        plan_id=row.plan_id,
        project_id=row.project_id,
        name=row.name,
        zone=row.zone,
        ranges=_ranges(row.ranges),
        created_at=row.created_at,
        updated_at=row.updated_at,
        streams=int(row.streams),
    )


def _to_assigned(row: sa.Row[Any]) -> Assigned:
    return Assigned(
        plan_id=row.plan_id,
        retained=to_retained(row),
        device_id=None if row.device_id is None else DeviceId(row.device_id),
        channel_id=None if row.channel_id is None else ChannelId(row.channel_id),
    )
