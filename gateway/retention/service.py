"""Retention of a project's streams: set, shown, and what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Protocol

from gateway.accounts.model import Project
from gateway.errors import InvalidError, NotFoundError
from gateway.retention.cleaner import GONE_KEPT
from gateway.retention.errors import (
    BucketDeniedError,
    BucketUnreachableError,
    H265Error,
    IntervalOrderError,
    IntervalTooLongError,
    NotFlowingError,
    NotRetainedError,
)
from gateway.retention.gaps import Gap, gaps
from gateway.retention.model import RecordingForm, Retained, Retention, Slice, StoreType
from gateway.retention.places import Place
from gateway.retention.rules import Wish, settle
from gateway.scope import Scope
from gateway.store import Store
from gateway.streams.model import StreamRecord, StreamState

INTERVAL_MAX: Final = timedelta(days=7)
LIST_MAX: Final = 100_000
"""Slices in one answer: a week of the shortest has a tenth of that."""

YEARS: Final = (1970, 9998)
"""Of days that may be asked for: all others lie beyond what a time can be."""
PROBE_SECONDS: Final = 15
"""For a bucket to be written to before a stream is retained in it."""

Places = Callable[[StoreType, str, str], Place]
"""Gives the place of a store type, a bucket and a project's id; NoStorageError."""


class RecorderView(Protocol):
    """Who records (`gateway.retention.recorder.Recorder`)."""

    def changed(self, retained: Retained) -> None:
        """The retention of a stream is another now."""

    def running_since(self, app: str, name: str) -> datetime | None:
        """When the slice that is being written of a stream began; None if none is."""

    def flows(self, app: str, name: str) -> bool:
        """Whether anything flows of a stream."""


@dataclass(frozen=True, slots=True)
class GapReport:
    """A day of a stream, midnight to midnight in the retention's zone."""

    begin: datetime
    end: datetime
    """Midnight, or now if that is earlier."""
    gaps: Sequence[Gap]
    complete: bool
    """Slices of the day are still known; those that expired over a week ago are not."""


class Retentions:
    """Every call is for one caller's scope; what is not in it is not found."""

    def __init__(
        self,
        store: Store,
        places: Places,
        recorder: RecorderView,
        *,
        buckets: Mapping[str, Collection[str]] | None = None,
        form: Callable[[StreamRecord], Awaitable[RecordingForm]],
    ) -> None:
        """`recorder` is told of every change once it is durable. `buckets`: those that projects, by name, may use; a
        project that is not named may use all, and those named for others by nobody else. `form`: what a stream
        is recorded as."""
        self._store = store
        self._places = places
        self._recorder = recorder
        self._buckets = buckets or {}
        self._form = form

    async def set(
        self, project: Project, scope: Scope, name: str, wish: Wish, at: datetime, *, format_: str | None = None
    ) -> None:
        """Makes or changes a stream's retention (`settle`); set ACTIVE, its place is first written to.

        NotFoundError; InvalidError, PathError, RetainingError, H265Error; what `Place` raises, NoStorageError.
        """
        stream = await self._stream(scope, name)
        present = await self._store.retention.get(project.project_id, name)
        wanted = settle(present.retention if present else None, wish)
        if format_ is not None:
            _check_format(stream, format_, await self._form(stream))
        if wanted.store_type is StoreType.OBS:
            self._check_bucket(project, wanted.bucket)
        if wanted.state is StreamState.ACTIVE:
            await check_place(self._places(wanted.store_type, wanted.bucket, project.project_id), wanted.path)
        self._recorder.changed(await self._store.retention.set(project.project_id, name, wish, at))

    async def of_streams(self, stream_ids: Collection[str]) -> Mapping[str, Retention]:
        """Those of them that have a retention, by stream."""
        return await self._store.retention.of_streams(stream_ids)

    async def slices(self, scope: Scope, name: str, begin: datetime, end: datetime) -> Sequence[Slice]:
        """Slices of a stream that overlap an interval of at most seven days, oldest first.

        NotFoundError, IntervalOrderError, IntervalTooLongError; NotRetainedError if it never was retained.
        """
        if begin >= end:
            raise IntervalOrderError("the interval must begin before it ends")
        if end - begin > INTERVAL_MAX:
            raise IntervalTooLongError(f"an interval has at most {INTERVAL_MAX.days} days")
        stream = await self._stream(scope, name)
        await self._retained(scope, name)
        return await self._store.retention.slices(stream.stream_id, begin, end, limit=LIST_MAX)

    async def being_written(self, scope: Scope, name: str) -> datetime:
        """When the slice that is being written began.

        NotFoundError; NotRetainedError if the retention is not ACTIVE, NotFlowingError if nothing flows or nothing is
        recorded of it.
        """
        stream = await self._stream(scope, name)
        retained = await self._retained(scope, name)
        since = self._recorder.running_since(stream.app, name)
        if retained.retention.state is not StreamState.ACTIVE and since is None:  # nor does a record plan want it
            raise NotRetainedError(f"stream {name} is not retained")
        if since is None or not self._recorder.flows(stream.app, name):
            raise NotFlowingError(f"nothing of stream {name} is being recorded")
        return since

    async def gaps(self, scope: Scope, name: str, day: date, now: datetime) -> GapReport:
        """When the stream should have been recorded on a day and was not; NotFoundError, NotRetainedError,
        InvalidError for a day that never was."""
        if not YEARS[0] <= day.year <= YEARS[1]:
            raise InvalidError("day", f"in the years {YEARS[0]} to {YEARS[1]}")
        stream = await self._stream(scope, name)
        retention = (await self._retained(scope, name)).retention
        midnight = datetime.combine(day, time(), retention.zone)
        begin, end = midnight.astimezone(UTC), (midnight + timedelta(days=1)).astimezone(UTC)
        until = max(begin, min(end, now))
        known = retention.keep is None or end + retention.keep + GONE_KEPT > now
        if not known or until == begin:
            return GapReport(begin, until, (), complete=known)
        slices = await self._store.retention.slices(stream.stream_id, begin, until, limit=LIST_MAX)
        history = await self._store.retention.history(stream.stream_id, begin, until)
        since = self._recorder.running_since(stream.app, name)
        return GapReport(begin, until, gaps(history, slices, begin, until, running_since=since), complete=True)

    async def _retained(self, scope: Scope, name: str) -> Retained:
        found = await self._store.retention.get(scope.project_id, name)
        if found is None:
            raise NotRetainedError(f"stream {name} is not retained")
        return found

    async def _stream(self, scope: Scope, name: str) -> StreamRecord:
        found = await self._store.streams.get(scope, name)
        if found is None:
            raise NotFoundError("stream", name)
        return found

    def _check_bucket(self, project: Project, bucket: str) -> None:
        own = self._buckets.get(project.name)
        others = {name for names in self._buckets.values() for name in names} if own is None else set()
        if (own is not None and bucket not in own) or bucket in others:
            raise BucketDeniedError(f"project {project.name} may not use bucket {bucket}")


async def check_place(place: Place, path: str) -> None:
    """Writes to a place before anything is to be recorded there; what `Place.probe` raises, BucketUnreachableError
    also if it takes too long."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await place.probe(path)
    except TimeoutError:
        raise BucketUnreachableError(f"no answer within {PROBE_SECONDS} s") from None


def _check_format(stream: StreamRecord, format_: str, form: RecordingForm) -> None:
    """The form is the gateway's to choose; who asks for a format must ask for the one that is written."""
    if format_.upper() not in {"FLV", "MP4"}:
        raise InvalidError("format", "FLV or MP4")
    coding = stream.encode_type
    by_coding = {"H264": "FLV", "H265": "MP4"}.get(coding)
    written = {"flv": "FLV", "fmp4": "MP4"}.get(form.container or "", by_coding)
    if written is None or format_.upper() == written:
        return
    if written == "MP4" and coding == "H265":
        raise H265Error(f"stream {stream.name} is H.265, which is retained as MP4")
    raise InvalidError("format", f"{coding or 'what has a picture'} is retained as {written}")
