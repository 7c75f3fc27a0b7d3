"""Record plans: at which times of the week streams are recorded, and what is recorded because of them."""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.params import FromPath, JSONBody

from api.context import SCOPED, Authorised, Services
from api.operator.paging import Limit, Offset
from gateway.access.model import show_minutes
from gateway.paging import Listing, Page
from gateway.record_plans.model import DAYS, RecordPlan, Standing, WeekRange
from gateway.record_plans.rules import PLANS_OF_PROJECT_MAX, ZONE, read_clock, read_day
from gateway.record_plans.service import told


class WeekBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """From `start` until `end` on each of `days`; over midnight there are two, until 24:00 and from 00:00."""

    days: list[str]
    """MON, TUE, WED, THU, FRI, SAT, SUN."""
    start: str
    """HH:MM."""
    end: str
    """HH:MM; 24:00 ends the day."""


class NewRecordPlan(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    timezone: str = ZONE
    """GMT+HH:00, or a name of the IANA database, whose summer time is then kept."""
    week: list[WeekBody]


class RecordPlanChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str | None = None
    timezone: str | None = None
    week: list[WeekBody] | None = None


class RecordPlanBody(msgspec.Struct, kw_only=True):
    plan_id: str
    name: str
    timezone: str
    week: list[WeekBody]
    """Ranges that overlapped or met on a day are one."""
    streams: int
    """How many have it."""
    wanted: bool
    """It wants to record now."""
    changes_at: datetime | None
    """When it will say otherwise; null: never."""
    created_at: datetime
    updated_at: datetime


class RecordPlanList(msgspec.Struct, kw_only=True):
    total: int
    """In the project."""
    plans: list[RecordPlanBody]


class StreamChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Names of streams, at most 10,000 together."""

    add: list[str] = []
    remove: list[str] = []


class PlannedStream(msgspec.Struct, kw_only=True):
    stream_name: str
    plan_id: str
    plan_name: str
    wanted: bool
    """The plan wants it recorded now."""
    recording_since: datetime | None
    """When the slice that is being written began; null: none is."""


class PlannedStreamList(msgspec.Struct, kw_only=True):
    total: int
    streams: list[PlannedStream]


class RecordPlanController(Controller):
    path = "/record-plans"
    tags = ("operator",)

    @get(summary="Record plans of the project")
    async def index(
        self, request: Authorised, gateway: Services, offset: Offset = 0, limit: Limit = PLANS_OF_PROJECT_MAX
    ) -> RecordPlanList:
        """By name."""
        found = await gateway.record_plans.list(request.auth.project.project_id, Page(offset=offset, limit=limit))
        at = gateway.clock()
        return RecordPlanList(total=found.total, plans=[_plan(plan, at) for plan in found.entries])

    @post(summary="Make a record plan")
    async def create(self, data: JSONBody[NewRecordPlan], request: Authorised, gateway: Services) -> RecordPlanBody:
        project_id = request.auth.project.project_id
        plan = await gateway.record_plans.add(project_id, data.name, data.timezone, _ranges(data.week), gateway.clock())
        return _plan(plan, gateway.clock())

    @get("/recording", summary="What is recorded because of which plan", opt=SCOPED)
    async def recording(
        self,
        request: Authorised,
        gateway: Services,
        offset: Offset = 0,
        limit: Limit = 100,
    ) -> PlannedStreamList:
        """Streams that their plan wants recorded now; those without `recording_since` do not flow (yet)."""
        page = Page(offset=offset, limit=limit)
        return _streams(await gateway.record_plans.wanted(request.auth.scope, gateway.clock(), page))

    @get("/{plan_id:str}", summary="A record plan")
    async def show(self, plan_id: FromPath[str], request: Authorised, gateway: Services) -> RecordPlanBody:
        return _plan(await gateway.record_plans.get(request.auth.project.project_id, plan_id), gateway.clock())

    @put("/{plan_id:str}", summary="Change a record plan")
    async def change(
        self, plan_id: FromPath[str], data: JSONBody[RecordPlanChange], request: Authorised, gateway: Services
    ) -> RecordPlanBody:
        """What is left out stays as it is; what is recorded follows at once."""
        plan = await gateway.record_plans.change(
            request.auth.project.project_id,
            plan_id,
            gateway.clock(),
            name=data.name,
            zone=data.timezone,
            ranges=None if data.week is None else _ranges(data.week),
        )
        return _plan(plan, gateway.clock())

    @delete("/{plan_id:str}", summary="Delete a record plan that no stream has")
    async def remove(self, plan_id: FromPath[str], request: Authorised, gateway: Services) -> None:
        await gateway.record_plans.delete(request.auth.project.project_id, plan_id)

    @get("/{plan_id:str}/streams", summary="Streams that have a record plan")
    async def streams(
        self,
        plan_id: FromPath[str],
        request: Authorised,
        gateway: Services,
        offset: Offset = 0,
        limit: Limit = 100,
    ) -> PlannedStreamList:
        page = Page(offset=offset, limit=limit)
        return _streams(await gateway.record_plans.streams(request.auth.scope, plan_id, gateway.clock(), page))

    @put("/{plan_id:str}/streams", summary="Give a record plan to streams, take it from others")
    async def put_streams(
        self, plan_id: FromPath[str], data: JSONBody[StreamChange], request: Authorised, gateway: Services
    ) -> RecordPlanBody:
        """All or none. A stream has one plan: this one takes the place of another. Its retention must have been set,
        so that it is known where its recordings go; whether that is ACTIVE does not matter."""
        plan = await gateway.record_plans.assign(request.auth.scope, plan_id, add=data.add, remove=data.remove)
        return _plan(plan, gateway.clock())


def _ranges(week: Iterable[WeekBody]) -> list[WeekRange]:
    return [
        WeekRange(read_day(day), read_clock(one.start, "start"), read_clock(one.end, "end"))
        for one in week
        for day in dict.fromkeys(one.days)
    ]


def _plan(plan: RecordPlan, at: datetime) -> RecordPlanBody:
    times: dict[tuple[int, int], list[str]] = {}
    for one in plan.ranges:
        times.setdefault((one.start, one.end), []).append(DAYS[one.day])
    now = told(plan, at)
    return RecordPlanBody(
        plan_id=plan.plan_id,
        name=plan.name,
        timezone=plan.zone,
        week=[WeekBody(days=days, start=show_minutes(t[0]), end=show_minutes(t[1])) for t, days in times.items()],
        streams=plan.streams,
        wanted=now.now,
        changes_at=now.changes_at,
        created_at=plan.created_at.astimezone(UTC),
        updated_at=plan.updated_at.astimezone(UTC),
    )


def _streams(found: Listing[Standing]) -> PlannedStreamList:
    return PlannedStreamList(
        total=found.total,
        streams=[
            PlannedStream(
                stream_name=one.stream_name,
                plan_id=one.plan_id,
                plan_name=one.plan_name,
                wanted=one.wanted,
                recording_since=one.recording_since,
            )
            for one in found.entries
        ],
    )
