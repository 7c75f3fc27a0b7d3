"""Retention of streams (§4.2.4), and the list of what was retained."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import Controller, get, put
from litestar.params import FromPath, JSONBody, QueryParameter

from api.context import SCOPED, Authorised, Services
from api.vis.common import Done, choice, time, truth
from gateway.errors import InvalidError
from gateway.retention.model import Retention, Slice, StoreType
from gateway.retention.rules import Wish, check_bucket, check_hours, check_path, check_slice, check_zone, zone_text
from gateway.streams.model import StreamState


class RetentionChange(msgspec.Struct, kw_only=True):
    timezone: str
    """GMT+HH:00, such as GMT+8:00."""
    retention_in_hour: float | str | None = None
    """0 to 87600; needed at first, unless retention_forever."""
    retention_forever: bool | str | None = None
    retention_for_ever: bool | str | None = None
    """The same under the name of the document's table."""
    store_type: str | None = None
    """obs or local; needed at first."""
    bucket: str | None = None
    """Needed for obs."""
    path: str | None = None
    """Needed for obs; may be empty."""
    slice_in_minute: float | str | None = None
    """1 to 60, 5 unless given."""
    state: str | None = None
    """ACTIVE or STOPPED, STOPPED unless given."""
    format: str | None = None
    """FLV or MP4: what is written anyway, by the coding (H.264, H.265) unless one form is chosen for all."""


class RetentionBody(msgspec.Struct, kw_only=True):
    retention_in_hour: float | int
    retention_forever: bool
    store_type: str
    bucket: str
    path: str
    timezone: str
    slice_in_minute: int
    state: str


class SliceBody(msgspec.Struct, kw_only=True):
    start_time: str
    end_time: str
    state: str
    """PENDING, UPLOADED, EXPIRING, EXPIRED or MISSING."""
    store_type: str
    bucket: str
    """Empty for local."""
    path: str
    """Object key, or path below the project's local directory."""
    size: int
    """Bytes."""
    frames: int
    lost: int
    """Frames that could not be written."""
    encode_type: str


class SliceList(msgspec.Struct, kw_only=True):
    total: int
    entries: list[SliceBody]


class CurrentSlice(msgspec.Struct, kw_only=True):
    start_time: str


class RetentionController(Controller):
    path = "/{project_id:str}/streams/{stream_name:str}/retention"
    tags = ("retention",)

    @put(summary="Set what is kept of a stream, and where", opt=SCOPED)
    async def update(
        self,
        project_id: FromPath[str],
        stream_name: FromPath[str],
        data: JSONBody[RetentionChange],
        request: Authorised,
        gateway: Services,
    ) -> Done:
        """The first call says how long and where; later ones what changes. While ACTIVE, it can only be stopped."""
        access, wish = request.auth, _wish(data)
        await gateway.retentions.set(
            access.project, access.scope, stream_name, wish, gateway.clock(), format_=data.format
        )
        return Done()

    @get("/current", summary="What is being recorded of a stream now", opt=SCOPED)
    async def current(
        self, project_id: FromPath[str], stream_name: FromPath[str], request: Authorised, gateway: Services
    ) -> CurrentSlice:
        """The slice that is being written is listed once it is finished."""
        since = await gateway.retentions.being_written(request.auth.scope, stream_name)
        return CurrentSlice(start_time=time(since))

    @get("/slices", summary="What was retained of a stream in an interval", opt=SCOPED)
    async def slices(
        self,
        project_id: FromPath[str],
        stream_name: FromPath[str],
        request: Authorised,
        gateway: Services,
        start_time: Annotated[str, QueryParameter(max_length=40)],
        end_time: Annotated[str, QueryParameter(max_length=40)],
    ) -> SliceList:
        """Times are as 2018-10-25T03:06:10Z; at most seven days, oldest first."""
        found = await gateway.retentions.slices(
            request.auth.scope, stream_name, _moment(start_time, "start_time"), _moment(end_time, "end_time")
        )
        return SliceList(total=len(found), entries=[_slice(one) for one in found])


def retention_body(retention: Retention) -> RetentionBody:
    """As streams show it (§4.2.5)."""
    hours = retention.hours
    return RetentionBody(
        retention_in_hour=int(hours) if hours == int(hours) else hours,
        retention_forever=retention.forever,
        store_type=retention.store_type.value,
        bucket=retention.bucket,
        path=retention.path,
        timezone=zone_text(retention.zone_hours),
        slice_in_minute=retention.slice_minutes,
        state=retention.state.value,
    )


def _wish(data: RetentionChange) -> Wish:
    forever = truth(data.retention_forever, "retention_forever")
    forever = truth(data.retention_for_ever, "retention_forever") if forever is None else forever
    return Wish(
        zone_hours=check_zone(data.timezone),
        hours=_given(data.retention_in_hour, forever=forever),
        forever=forever,
        store_type=None if data.store_type is None else choice(StoreType, data.store_type, "store_type"),
        bucket=check_bucket(data.bucket) if data.bucket else data.bucket,
        path=None if data.path is None else check_path(data.path),
        slice_minutes=None if data.slice_in_minute is None else check_slice(data.slice_in_minute),
        state=None if data.state is None else choice(StreamState, data.state, "state"),
    )


def _given(hours: float | str | None, *, forever: bool | None) -> float | None:
    """What is kept for ever has no hours: they are ignored then, whatever they are."""
    return None if hours is None or forever else check_hours(hours)


def _moment(text: str, field: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidError(field, "a time such as 2018-10-25T03:06:10Z") from None


def _slice(found: Slice) -> SliceBody:
    store_type, _, bucket = found.destination.partition("/")
    return SliceBody(
        start_time=time(found.start_at),
        end_time=time(found.end_at),
        state=found.state.value,
        store_type=store_type,
        bucket=bucket if store_type == StoreType.OBS.value else "",
        path=found.key,
        size=found.size_bytes,
        frames=found.frames,
        lost=found.lost,
        encode_type=found.video,
    )
