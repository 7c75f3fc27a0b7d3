"""What was recorded of a stream, and what was not and should have been."""

from datetime import UTC, datetime
from datetime import date as Date  # noqa: N812  (the parameter is called `day`, the type must not be)
from pathlib import PurePosixPath
from urllib.parse import quote, urlencode

import msgspec
from litestar import Controller, get
from litestar.params import FromPath, FromQuery

from api.context import SCOPED, Authorised, Services, base_url
from gateway.retention.gaps import Gap
from gateway.retention.model import Slice


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


class RecordingView(msgspec.Struct, kw_only=True):
    id: str
    begin: datetime
    end: datetime
    size_bytes: int
    video: str
    """H264 or H265."""
    reason: str
    """Why it ended: cut, stopped, ended, broken, tracks_changed, failed, salvaged."""
    url: str
    """Signed: a player needs no token. It takes ranges."""


class RecordingList(msgspec.Struct, kw_only=True):
    """Oldest first."""

    hls: str
    """A playlist of the whole interval, signed."""
    recordings: list[RecordingView]


class RecordingController(Controller):
    path = "/streams/{stream_name:str}/recordings"
    tags = ("operator",)

    @get(summary="What was recorded of a stream in an interval, and where it can be had", opt=SCOPED)
    async def list(
        self,
        stream_name: FromPath[str],
        request: Authorised,
        gateway: Services,
        begin: FromQuery[datetime],
        end: FromQuery[datetime],
    ) -> RecordingList:
        """At most seven days. The addresses are good for as long as play addresses, and made void with them."""
        begin, end = (at if at.tzinfo else at.replace(tzinfo=UTC) for at in (begin, end))
        listing = await gateway.recordings.list(request.auth.scope, stream_name, begin, end)
        base = f"{base_url(request, gateway)}/gb/v1/streams/{quote(stream_name, safe='')}/recordings"
        times = urlencode({"begin": begin.astimezone(UTC).isoformat(), "end": end.astimezone(UTC).isoformat()})
        return RecordingList(
            hls=f"{base}/hls.m3u8?{times}&{listing.query}",
            recordings=[_recording(one, base, listing.query) for one in listing.slices],
        )

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


def _recording(one: Slice, base: str, query: str) -> RecordingView:
    return RecordingView(
        id=one.slice_id,
        begin=one.start_at.astimezone(UTC),
        end=one.end_at.astimezone(UTC),
        size_bytes=one.size_bytes,
        video=one.video,
        reason=one.reason,
        url=f"{base}/{one.slice_id}{PurePosixPath(one.file).suffix}?{query}",
    )


def _gap(gap: Gap) -> GapView:
    return GapView(
        begin=gap.begin.astimezone(UTC),
        end=gap.end.astimezone(UTC),
        cause=gap.cause.value,
        detail=gap.detail,
        frames=gap.frames,
    )
