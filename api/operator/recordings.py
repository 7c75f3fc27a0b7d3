"""What was not recorded of a stream that should have been."""

from datetime import UTC, datetime
from datetime import date as Date  # noqa: N812  (the parameter is called `day`, the type must not be)

import msgspec
from litestar import Controller, get
from litestar.params import FromPath, FromQuery

from api.context import SCOPED, Authorised, Services
from gateway.retention.gaps import Gap


class GapView(msgspec.Struct, kw_only=True):
    begin: datetime
    end: datetime
    cause: str
    """GATEWAY_DOWN, SPOOL_FULL, STREAM_ABSENT, STREAM_SILENT, RECORDING_FAILED, LOST_FRAMES or UNKNOWN."""
    detail: str
    frames: int
    """Of LOST_FRAMES: how many of the time's frames are missing; else 0, for all are."""


class GapDay(msgspec.Struct, kw_only=True):
    begin: datetime
    """Midnight in the time zone of the retention."""
    end: datetime
    """The next midnight, or now if that is earlier."""
    missing_seconds: float
    """Of all gaps together, LOST_FRAMES not counted."""
    complete: bool
    """False: what was recorded on the day expired so long ago that its gaps are not known any more."""
    gaps: list[GapView]


class RecordingController(Controller):
    path = "/streams/{stream_name:str}/recordings"
    tags = ("operator",)

    @get("/gaps", summary="When a stream should have been recorded on a day and was not, and why", opt=SCOPED)
    async def gaps(
        self, stream_name: FromPath[str], request: Authorised, gateway: Services, day: FromQuery[Date]
    ) -> GapDay:
        """`day` is YYYY-MM-DD in the time zone of the stream's retention."""
        report = await gateway.retentions.gaps(request.auth.scope, stream_name, day, gateway.clock())
        whole = [gap for gap in report.gaps if not gap.frames]
        return GapDay(
            begin=report.begin,
            end=report.end,
            missing_seconds=sum((gap.end - gap.begin).total_seconds() for gap in whole),
            complete=report.complete,
            gaps=[_gap(gap) for gap in report.gaps],
        )


def _gap(gap: Gap) -> GapView:
    return GapView(
        begin=gap.begin.astimezone(UTC),
        end=gap.end.astimezone(UTC),
        cause=gap.cause.value,
        detail=gap.detail,
        frames=gap.frames,
    )
