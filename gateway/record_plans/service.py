"""Record plans of a project: made, changed, given to streams. When they are followed is the keeper's."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol
from zoneinfo import ZoneInfoNotFoundError

from gateway.errors import InvalidError
from gateway.paging import Listing, Page
from gateway.record_plans.model import Planned, RecordPlan, Standing, Week, WeekRange
from gateway.record_plans.rules import PLANS_OF_PROJECT_MAX, check_name, check_zone_name, settle
from gateway.record_plans.week import Wanted, wanted, wants, zone_of
from gateway.retention.model import StoreType
from gateway.retention.service import Places, check_place
from gateway.scope import Scope
from gateway.store import Store

STREAMS_AT_ONCE: Final = 10_000
"""Given a plan or relieved of it by one call: bounds one transaction."""
PROBES_AT_ONCE: Final = 8
PATHS_PROBED_MAX: Final = 16
"""Of one bucket: streams may have a path each, and a bucket that takes these takes the others."""


class RecorderView(Protocol):
    """Who records (`gateway.retention.recorder.Recorder`)."""

    def running_since(self, app: str, name: str) -> datetime | None:
        """When the slice that is being written of a stream began; None if none is."""


class RecordPlans:
    """Every call is for one project; `changed` is told of every change once it is durable."""

    def __init__(self, store: Store, places: Places, recorder: RecorderView, *, changed: Callable[[], None]) -> None:
        self._store = store
        self._places = places
        self._recorder = recorder
        self._changed = changed

    async def add(self, project_id: str, name: str, zone: str, ranges: Sequence[WeekRange], at: datetime) -> RecordPlan:
        """InvalidError, ConflictError if the name is taken, QuotaError."""
        plan = RecordPlan(
            plan_id=f"plan-{secrets.token_hex(8)}",
            project_id=project_id,
            name=check_name(name),
            zone=check_zone_name(zone),
            ranges=settle(ranges),
            created_at=at,
            updated_at=at,
        )
        await self._store.record_plans.add(plan, most=PLANS_OF_PROJECT_MAX)
        return plan

    async def list(self, project_id: str, page: Page | None = None) -> Listing[RecordPlan]:
        """By name."""
        return await self._store.record_plans.list(project_id, page)

    async def get(self, project_id: str, plan_id: str) -> RecordPlan:
        """NotFoundError."""
        return await self._store.record_plans.get(project_id, plan_id)

    async def change(
        self,
        project_id: str,
        plan_id: str,
        at: datetime,
        *,
        name: str | None = None,
        zone: str | None = None,
        ranges: Sequence[WeekRange] | None = None,
    ) -> RecordPlan:
        """Changes what is given; what is recorded follows at once. InvalidError, ConflictError, NotFoundError."""
        named = None if name is None else check_name(name)
        zoned = None if zone is None else check_zone_name(zone)
        settled = None if ranges is None else settle(ranges)

        def changed(plan: RecordPlan) -> RecordPlan:
            return replace(
                plan,
                name=plan.name if named is None else named,
                zone=plan.zone if zoned is None else zoned,
                ranges=plan.ranges if settled is None else settled,
            )

        await self._store.record_plans.change(project_id, plan_id, changed, at=at)
        self._changed()
        return await self.get(project_id, plan_id)

    async def delete(self, project_id: str, plan_id: str) -> None:
        """ConflictError while streams have it, NotFoundError."""
        await self._store.record_plans.delete(project_id, plan_id)

    async def assign(self, scope: Scope, plan_id: str, *, add: Sequence[str], remove: Sequence[str]) -> RecordPlan:
        """Gives the plan to streams, whatever plan they had, and takes it from others: all or none.

        InvalidError, NotFoundError for the plan or a stream to be added, NotRetainedError for one of which it was never
        said where its recordings go. Where recordings of the added ones go is first written to, as before a retention
        is ACTIVE: what `Place.probe` raises, NoStorageError.
        """
        if len(add) + len(remove) > STREAMS_AT_ONCE:
            raise InvalidError("add", f"at most {STREAMS_AT_ONCE} streams at a time")
        if any("\x00" in name for name in (*add, *remove)):
            raise InvalidError("add", "names of streams")
        await self._check_places(scope, add)
        await self._store.record_plans.assign(scope, plan_id, add=add, remove=remove)
        self._changed()
        return await self.get(scope.project_id, plan_id)

    async def _check_places(self, scope: Scope, names: Sequence[str]) -> None:
        """Each path once, however many streams go there; of streams that are not found the store tells."""
        wanted: dict[tuple[StoreType, str], set[str]] = {}
        for one in await self._store.record_plans.retentions(scope, names):
            wanted.setdefault((one.store_type, one.bucket), set()).add(one.path)
        turns = asyncio.Semaphore(PROBES_AT_ONCE)

        async def check(store_type: StoreType, bucket: str, path: str) -> None:
            async with turns:
                await check_place(self._places(store_type, bucket, scope.project_id), path)

        await asyncio.gather(
            *(check(*of, path) for of, paths in wanted.items() for path in sorted(paths)[:PATHS_PROBED_MAX])
        )

    async def wanted(self, scope: Scope, at: datetime, page: Page | None = None) -> Listing[Standing]:
        """Streams of the scope that their plan wants recorded now, by name, and what is recorded of them."""
        weeks = await self._store.record_plans.weeks(scope.project_id)
        now = wanting(weeks, at)
        return self._standing(await self._store.record_plans.streams(scope, now, page), now)

    async def streams(self, scope: Scope, plan_id: str, at: datetime, page: Page | None = None) -> Listing[Standing]:
        """Streams of the scope that have this plan, by name: whether it wants them now, and what is recorded.

        NotFoundError for the plan.
        """
        plan = await self.get(scope.project_id, plan_id)
        found = await self._store.record_plans.streams(scope, [plan_id], page)
        return self._standing(found, wanting({plan_id: Week(plan.zone, plan.ranges)}, at))

    def _standing(self, found: Listing[Planned], now: Collection[str]) -> Listing[Standing]:
        return Listing(
            found.total,
            [
                Standing(
                    plan_id=one.plan_id,
                    plan_name=one.plan_name,
                    stream_name=one.stream_name,
                    wanted=one.plan_id in now,
                    recording_since=self._recorder.running_since(one.app, one.stream_name),
                )
                for one in found.entries
            ],
        )


def told(plan: RecordPlan, at: datetime) -> Wanted:
    """What the plan says at a moment; nothing, if this machine does not know its zone."""
    try:
        return wanted(plan.ranges, zone_of(plan.zone), at)
    except ZoneInfoNotFoundError:
        return Wanted(False, None)


def wanting(weeks: Mapping[str, Week], at: datetime) -> set[str]:
    """The plans that want to record at a moment; many have the same week, which is looked at once."""
    known: dict[Week, bool] = {}
    for week in weeks.values():
        if week not in known:
            known[week] = _wants(week, at)
    return {plan_id for plan_id, week in weeks.items() if known[week]}


def _wants(week: Week, at: datetime) -> bool:
    try:
        return wants(week.ranges, zone_of(week.zone), at)
    except ZoneInfoNotFoundError:
        return False
