"""What access strategies plan for a day, and what became of it."""

from datetime import UTC, date, datetime
from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.params import FromPath, FromQuery, QueryParameter

from api.context import SCOPED, Authorised, Services
from api.operator.paging import Limit, Offset
from api.services import Gateway
from api.vis.common import optional
from api.vis.strategies import StrategyBody, strategy_body
from gateway.access.model import show_minutes
from gateway.access.slices import AccessSlice, SliceState, day_of
from gateway.devices.model import ChannelId, DeviceId
from gateway.errors import InvalidError
from gateway.store import SliceFilter


class SliceView(msgspec.Struct, kw_only=True):
    """One slice; `start_time` and `end_time` are HH:MM in UTC+8, 24:00 ends the day."""

    device_id: str
    channel_id: str
    day: str
    start_time: str
    end_time: str
    length_minutes: int
    state: str
    """PLANNED, RUNNING, DONE, FAILED (before its end: another try follows) or SKIPPED."""
    reason: str
    """Why there is no video, or why it ended early."""
    attempts: int
    """How often the channel was called."""
    video_from: datetime | None
    video_until: datetime | None
    received_minutes: float
    """Minutes of video, up to now if it is RUNNING."""


class SliceList(msgspec.Struct, kw_only=True):
    total: int
    slices: list[SliceView]


class PlanView(msgspec.Struct, kw_only=True):
    """A channel's day. `access_strategy` is the one of now; what was planned before a change may be another's."""

    day: str
    access_strategy: StrategyBody | None
    planned_minutes: int
    """Of slices that are not SKIPPED."""
    received_minutes: float
    slices: list[SliceView]


class AccessController(Controller):
    path = "/"
    tags = ("operator",)

    @get(
        "/channels/{device_id:str}/{channel_id:str}/access-plan",
        summary="A channel's slices of a day, and what became of them",
        opt=SCOPED,
    )
    async def plan(
        self,
        request: Authorised,
        gateway: Services,
        device_id: FromPath[str],
        channel_id: FromPath[str],
        day: FromQuery[str | None] = None,
    ) -> PlanView:
        """`day` is YYYY-MM-DD in UTC+8, today unless given; a day that is not planned yet has no slices."""
        wanted = _day(day, gateway)
        channel = await gateway.devices.channel(request.auth.scope, device_id, channel_id)
        slices = (await gateway.strategies.day(channel, wanted)).entries
        return PlanView(
            day=wanted.isoformat(),
            access_strategy=None if channel.strategy is None else strategy_body(channel.strategy),
            planned_minutes=sum(found.span.length for found in slices if found.state is not SliceState.SKIPPED),
            received_minutes=_minutes(sum(found.received for found in slices)),
            slices=[_slice(found) for found in slices],
        )

    @get("/access-slices", summary="Slices of a day over all channels, in the order in which they begin", opt=SCOPED)
    async def slices(
        self,
        request: Authorised,
        gateway: Services,
        day: FromQuery[str | None] = None,
        slice_state: Annotated[str | None, QueryParameter(name="state")] = None,
        device_id: FromQuery[str | None] = None,
        channel_id: FromQuery[str | None] = None,
        offset: Offset = 0,
        limit: Limit = 100,
    ) -> SliceList:
        """`day` as above; `state`, `device_id` and `channel_id` narrow the list; `offset` counts what is left out."""
        wanted = SliceFilter(
            day=_day(day, gateway),
            state=optional(SliceState, slice_state, "state"),
            device_id=DeviceId(device_id) if device_id else None,
            channel_id=ChannelId(channel_id) if channel_id else None,
        )
        listing = await gateway.strategies.slices(request.auth.scope, wanted, offset=offset, limit=limit)
        return SliceList(total=listing.total, slices=[_slice(found) for found in listing.entries])


def _day(text: str | None, gateway: Gateway) -> date:
    if not text:
        return day_of(gateway.clock())
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise InvalidError("day", "a day as YYYY-MM-DD") from None


def _slice(found: AccessSlice) -> SliceView:
    return SliceView(
        device_id=found.device_id,
        channel_id=found.channel_id,
        day=found.day.isoformat(),
        start_time=show_minutes(found.span.start),
        end_time=show_minutes(found.span.end),
        length_minutes=found.span.length,
        state=found.state.value,
        reason=found.reason,
        attempts=found.attempts,
        video_from=found.video_from,
        video_until=found.video_until,
        received_minutes=_minutes(found.received),
    )


def _minutes(seconds: float) -> float:
    return round(seconds / 60, 1)
