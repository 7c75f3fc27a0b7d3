"""Records what is to be retained: starts and stops recordings as streams come and go and retention changes.

The relay's events come to `handle_media`, which never waits; one task (`run`) does the rest: it compares what should
run with what runs (`planning`), makes slices of finished files, writes the history that the gap report reads, and
watches how full the spool is. What an event lost in a full queue would have told, the next look at the relay's streams
and at the spool does.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

import structlog

from gateway.errors import UnavailableError
from gateway.media_event import MediaEvent
from gateway.retention.model import FormOf, Mark, MarkKind, Recording, RecordingForm, Retained
from gateway.retention.names import from_ms
from gateway.retention.planning import Address, Plan, Running, plan
from gateway.retention.relay import RecordingRelay
from gateway.retention.spool import Closed, Spool, SpoolLimits, Usage
from gateway.store import Store
from gateway.streams.model import StreamState
from media._core import CoreError

LOOK_SECONDS: Final = 10.0
"""Between looks at the database and the relay's streams."""
MEASURE_SECONDS: Final = 3.0
"""Between looks at how full the spool is."""
RESCAN_LOOKS: Final = 60
"""Looks between two searches of the spool for files that no event told of."""
EVENTS_MAX: Final = 65_536
"""Events that wait; beyond it they are dropped, and the next look is a full one."""
RETRY_SECONDS: Final = 1.0
"""While the database or the spool is away."""
EVENTS_AT_ONCE: Final = 200
CLOSE_SECONDS: Final = 3.0
"""For the last slices when the gateway ends."""
_KINDS: Final = frozenset(
    {
        "first_packet",
        "first_key_frame",
        "silent",
        "disconnected",
        "resumed",
        "slice",
        "record_failed",
        "record_ended",
        "ended",
        "failed",
        "overflow",
    }
)

_AWAY: Final = (UnavailableError, OSError)

Missed = Callable[[datetime, datetime], Awaitable[Sequence[Mark]]]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RecorderCounters:
    """What the recorder has done since it started."""

    recordings: int = 0
    slices: int = 0
    failures: int = 0
    lost_frames: int = 0
    dropped_events: int = 0


@dataclass(slots=True)
class _Run:
    """A recording that runs."""

    core_id: int
    recording: Recording
    running: Running
    slice_began: datetime


class Recorder:
    """One for all streams; see the module's text."""

    def __init__(
        self,
        store: Store,
        relay: RecordingRelay,
        spool: Spool,
        limits: SpoolLimits,
        clock: Callable[[], datetime],
        *,
        look_seconds: float = LOOK_SECONDS,
        missed: Missed | None = None,
        form: FormOf = lambda app, name: RecordingForm.AUTO,
    ) -> None:
        """`missed` gives what record plans would have asked for between two moments at which nobody recorded. `form`
        is asked again and again: what is recorded in another one begins anew."""
        self.counters = RecorderCounters()
        self.usage = Usage(0, 0)
        self.full = False
        self._store = store
        self._relay = relay
        self._spool = spool
        self._limits = limits
        self._clock = clock
        self._look_seconds = look_seconds
        self._events: deque[MediaEvent] = deque()
        self._ready = asyncio.Event()
        self._missed = missed
        self._form = form
        self._always: dict[Address, Retained] = {}
        """Their retention is ACTIVE."""
        self._planned: dict[Address, Retained] = {}
        """Their record plan wants them now."""
        self._wanted: dict[Address, Retained] = {}
        """Both."""
        self._changes = 0
        self._flowing: dict[Address, int] = {}
        self._runs: dict[Address, _Run] = {}
        self._recordings: dict[str, Recording] = {}
        """Those that may still tell of slices, by id."""
        self._expected: set[str] = set()
        self._begun = False
        """It is noted since when nobody recorded; what is expected is noted after that."""
        self._marks: list[Mark] = []
        self._rescan = False
        self._due = False
        self._ran: set[str] = set()
        """Recordings that ran at the last look: the relay may still be writing into their directories."""
        self._closing = False
        self._ending: set[str] = set()
        """Recordings that were stopped and have not told of their last slice."""
        self._ended = asyncio.Event()
        """`run` has nothing more to do."""

    @property
    def running(self) -> int:
        """How many recordings run."""
        return len(self._runs)

    def running_since(self, app: str, name: str) -> datetime | None:
        """When the slice that is being written of a stream began; None if none is."""
        run = self._runs.get((app, name))
        return run.slice_began if run else None

    def flows(self, app: str, name: str) -> bool:
        """Whether anything of a stream that may be retained has come."""
        return (app, name) in self._flowing

    def handle_media(self, event: MediaEvent) -> None:
        """Takes an event of the relay; those that do not concern recording are left."""
        if event.kind not in _KINDS:
            return
        if len(self._events) >= EVENTS_MAX:
            self.counters.dropped_events += 1
            self._rescan = True
            return
        self._events.append(event)
        self._ready.set()

    def changed(self, retained: Retained) -> None:
        """The retention of a stream is another now."""
        self._changes += 1
        address = (retained.app, retained.name)
        if retained.retention.state is StreamState.ACTIVE:
            self._always[address] = retained
        else:
            self._always.pop(address, None)
        if address in self._planned:
            self._planned[address] = retained
        self._wants_changed()

    def plan(self, planned: Mapping[Address, Retained]) -> None:
        """Record plans want these streams from now on, and no others."""
        if planned != self._planned:
            self._planned = dict(planned)
            self._wants_changed()

    def _wants_changed(self) -> None:
        self._wanted = self._planned | self._always
        self._expect(self._clock())
        self._due = True
        self._ready.set()

    async def run(self) -> None:
        """Makes good what an earlier process left, and works until it is cancelled."""
        left: list[str] = []

        async def begin() -> None:
            left[:] = await self._spool.recordings()
            await self._begin()

        await _insist(begin)
        async with asyncio.TaskGroup() as group:
            group.create_task(_insist(lambda: self._spool.rescan(left, salvage=True)), name="salvage the spool")
            group.create_task(self._serve(), name="record")

    async def close(self) -> None:
        """Ends every recording and with them `run`, and waits a little for the last slices; what comes too late the
        next start finds in the spool."""
        self._closing = True
        self._due = True
        self._ready.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._ended.wait()
        with contextlib.suppress(UnavailableError):
            await self._store.retention.set_alive(self._clock())

    async def _begin(self) -> None:
        """Notes since when nobody recorded."""
        now = self._clock()
        alive = await self._store.retention.alive()
        down = [Mark(at=alive, kind=MarkKind.DOWN)] if alive is not None else []
        missed = await self._missed(alive, now) if self._missed is not None and alive is not None else ()
        await self._store.retention.mark([*down, *missed, Mark(at=now, kind=MarkKind.UP)])
        await self._store.retention.end_all(alive or now)
        self._begun = True

    async def _serve(self) -> None:
        looks, loop = 0, asyncio.get_running_loop()
        next_look = next_measure = loop.time()
        while not self._closing or self._runs or self._ending or self._events:
            try:
                if loop.time() >= next_measure:
                    next_measure = loop.time() + min(MEASURE_SECONDS, self._look_seconds)
                    await self._look_at_spool()
                if loop.time() >= next_look and not self._closing:
                    next_look = loop.time() + self._look_seconds
                    looks += 1
                    await self._look(rescan=self._rescan or looks % RESCAN_LOOKS == 0)
                await self._work()
            except _AWAY as error:
                log.warning("recording waits for the database or the spool", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            await self._wait(loop.time() + RETRY_SECONDS if self._closing else min(next_look, next_measure))
        self._ended.set()

    async def _wait(self, until: float) -> None:
        if self._due or self._events:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._ready.wait()

    async def _look(self, *, rescan: bool) -> None:
        """Compares what we believe with what is: retention, streams, files."""
        changes = self._changes
        wanted = {(one.app, one.name): one async for one in self._store.retention.active()}
        if changes == self._changes:  # else somebody has changed something meanwhile, and knows better
            self._always = wanted
            self._wanted = self._planned | self._always
        await self._look_at_streams()
        self._expect(self._clock())
        await self._store.retention.set_alive(self._clock())
        if rescan:
            self._rescan = False
            await self._spool.rescan(await self._spool.recordings())
        running = {run.recording.recording_id for run in self._runs.values()}
        await self._spool.tidy(running | self._ran)
        self._ran = running
        self._due = True

    async def _look_at_streams(self) -> None:
        before = dict(self._flowing)
        streams = await asyncio.to_thread(self._relay.streams)
        there = {(one.app, one.name): one.receiver for one in streams if one.first_packet_ms is not None}
        for address, receiver in before.items():
            if there.get(address) != receiver and self._flowing.get(address) == receiver:
                self._gone(address, self._clock())
        for address, receiver in there.items():
            if address not in self._flowing:
                self._came(address, receiver, self._clock())

    async def _look_at_spool(self) -> None:
        self.usage = await self._spool.usage()
        full = self._limits.full(self.usage, before=self.full)
        if full == self.full:
            return
        self.full = full
        self._marks.append(Mark(at=self._clock(), kind=MarkKind.SPOOL_FULL if full else MarkKind.SPOOL_FREE))
        told = {"used_bytes": self.usage.used_bytes, "free_bytes": self.usage.free_bytes}
        if full:
            log.error("the spool is full: nothing is recorded until slices are stored", **told)
        else:
            log.warning("the spool has room again: recording goes on", **told)

    async def _work(self) -> None:
        """Everything that is due: events, starts and stops, the history."""
        self._ready.clear()
        self._due = False
        while self._events:
            await self._handle_all(list(islice(self._events, EVENTS_AT_ONCE)))
        running = {address: run.running for address, run in self._runs.items()}
        stop_all = self.full or self._closing
        due = plan(self._wanted, self._flowing, running, form=lambda address: self._form(*address), full=stop_all)
        await self._carry_out(due)
        if self._marks:
            marks = list(self._marks)
            await self._store.retention.mark(marks)
            del self._marks[: len(marks)]

    async def _handle_all(self, events: Sequence[MediaEvent]) -> None:
        """Slices are noted together: many end at the same moment. UnavailableError if one cannot be; then all are
        handled again."""
        noted = await asyncio.gather(
            *(self._take(event) for event in events if event.kind == "slice"), return_exceptions=True
        )
        for failure in noted:
            if failure is not None:
                raise failure
        for event in events:
            self._handle(event)
            self._events.popleft()

    def _handle(self, event: MediaEvent) -> None:
        address, at = (event.app, event.name), from_ms(event.at_ms)
        match event.kind:
            case "first_packet" | "first_key_frame":
                self._came(address, event.receiver, at)
            case "silent":
                silent = timedelta(milliseconds=int(event.detail.get("ms", "0")))
                self._mark(address, MarkKind.SILENT, at - silent)
            case "disconnected" if "retry_ms" in event.detail:  # a pull: no `silent` follows
                self._mark(address, MarkKind.SILENT, at)
            case "resumed":
                self._mark(address, MarkKind.RESUMED, at)
            case "ended" | "failed" if self._flowing.get(address) == event.receiver:
                self._gone(address, at)
            case "record_failed":
                self.counters.failures += 1
                self._mark(address, MarkKind.FAILED, at, event.detail.get("reason", ""))
                log.error("a stream cannot be recorded", app=event.app, stream=event.name, **event.detail)
            case "record_ended":
                # A recording without a frame tells of no slice.
                self._ending.discard(event.detail["tag"])
                self._ended.set()
            case "overflow":
                self._rescan = True
            case _:
                pass

    async def _take(self, event: MediaEvent) -> None:
        """A slice is finished; the spool makes a row of it."""
        detail = event.detail
        recording = await self._recording(detail["tag"])
        if recording is None:
            log.error("a slice of an unknown recording", stream=event.name, recording=detail["tag"])
            return
        lost = int(detail.get("lost", "0"))
        closed = Closed(
            file=Path(detail["path"]).name,
            size_bytes=int(detail["bytes"]),
            frames=int(detail["frames"]),
            lost=lost,
            reason=detail["reason"],
            video=detail.get("video", ""),
        )
        if await self._spool.take(recording, closed):
            self.counters.slices += 1
            self.counters.lost_frames += lost
        if detail["reason"] in {"stopped", "ended"}:
            self._ending.discard(recording.recording_id)
        address = (event.app, event.name)
        run = self._runs.get(address)
        if run is not None and run.recording.recording_id == recording.recording_id:
            run.slice_began = from_ms(int(detail["end_ms"]))
            if detail["reason"] == "ended":
                self._gone(address, from_ms(event.at_ms))

    async def _recording(self, recording_id: str) -> Recording | None:
        if recording_id not in self._recordings:
            return (await self._store.retention.recordings([recording_id])).get(recording_id)
        return self._recordings[recording_id]

    async def _carry_out(self, found: Plan) -> None:
        for address in found.stop:
            run = self._runs.pop(address)
            self._relay.stop_recording(run.core_id)
            if self._closing:
                self._ending.add(run.recording.recording_id)
            await self._store.retention.end(run.recording.recording_id, self._clock())
            self._recordings.pop(run.recording.recording_id, None)
        if not found.start:
            return
        now = self._clock()
        new = {address: _recording(self._wanted[address], self._form(*address), now) for address in found.start}
        await self._spool.prepare([one.recording_id for one in new.values()])
        await self._store.retention.begin(list(new.values()))
        for address, recording in new.items():
            self._start(address, recording)

    def _start(self, address: Address, recording: Recording) -> None:
        receiver = self._flowing.get(address)
        wanted = self._wanted.get(address)
        if receiver is None or wanted is None:  # either went while the recording was noted
            return
        try:
            core_id = self._relay.record(
                receiver,
                directory=str(self._spool.directory(recording.recording_id)),
                slice_ms=recording.slice_minutes * 60_000,
                utc_offset_ms=recording.zone_hours * 3_600_000,
                tag=recording.recording_id,
                form=recording.form.container,
            )
        except CoreError as error:
            self._gone(address, self._clock())
            log.info("a stream went before it could be recorded", stream=recording.name, error=str(error))
            return
        self.counters.recordings += 1
        self._recordings[recording.recording_id] = recording
        running = Running(receiver, wanted, recording.form)
        self._runs[address] = _Run(core_id, recording, running, recording.started_at)
        self._mark(address, MarkKind.RECORDING, recording.started_at)
        log.info("recording", app=recording.app, stream=recording.name, recording=recording.recording_id)

    def _came(self, address: Address, receiver: int, at: datetime) -> None:
        if self._flowing.get(address) != receiver:
            self._flowing[address] = receiver
            self._mark(address, MarkKind.FLOWING, at)

    def _gone(self, address: Address, at: datetime) -> None:
        if self._flowing.pop(address, None) is not None:
            self._mark(address, MarkKind.ABSENT, at)

    def _expect(self, now: datetime) -> None:
        """Notes which streams are expected from now on, and which no more."""
        if not self._begun:
            return
        expected = {
            one.stream_id: address for address, one in self._wanted.items() if one.active or address in self._planned
        }
        for stream_id, address in expected.items():
            if stream_id not in self._expected:
                self._marks.append(Mark(at=now, kind=MarkKind.EXPECTED, stream_id=stream_id))
                if address in self._flowing:
                    self._marks.append(Mark(at=now, kind=MarkKind.FLOWING, stream_id=stream_id))
        for stream_id in self._expected - set(expected):
            self._marks.append(Mark(at=now, kind=MarkKind.UNEXPECTED, stream_id=stream_id))
        self._expected = set(expected)

    def _mark(self, address: Address, kind: MarkKind, at: datetime, detail: str = "") -> None:
        wanted = self._wanted.get(address)
        if wanted is not None:
            self._marks.append(Mark(at=at, kind=kind, stream_id=wanted.stream_id, detail=detail))


async def _insist(work: Callable[[], Awaitable[None]]) -> None:
    """Does it, as often as it takes while the database is away."""
    while True:
        try:
            await work()
        except _AWAY as error:
            log.warning("recording waits for the database or the spool", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


def _recording(wanted: Retained, form: RecordingForm, now: datetime) -> Recording:
    retention = wanted.retention
    return Recording(
        recording_id=secrets.token_hex(16),
        stream_id=wanted.stream_id,
        project_id=wanted.project_id,
        app=wanted.app,
        name=wanted.name,
        store_type=retention.store_type,
        bucket=retention.bucket,
        path=retention.path,
        slice_minutes=retention.slice_minutes,
        zone_hours=retention.zone_hours,
        started_at=now,
        form=form,
    )
