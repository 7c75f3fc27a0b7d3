"""Goes ahead of a playback: fetches what it needs next, and lets it stand still while that is not there yet."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from gateway.errors import NotFoundError
from gateway.playback.arrival import Arrival
from gateway.playback.library import Library
from gateway.playback.reel import Span, further, near, number_at, playable_ms, wanted
from gateway.retention.model import Slice

TICK: Final = 0.25
MARGIN_MS: Final = 1500.0
"""It stands still when less than this, on the clock, is left to be played before something is missing."""
NEAR_END_MS: Final = 2000
AGAIN_SECONDS_MAX: Final = 30.0
SPARED_SECONDS: Final = 5.0
"""What was fetched for a position stays at least so long: the playback goes there a little later."""

log = structlog.get_logger(__name__)


class Leader:
    """`fetch` the file of the first position, open the playback with `files`, then `run` while it plays."""

    def __init__(self, library: Library, slices: Sequence[Slice], *, now: Callable[[], float]) -> None:
        """`now`: seconds of a clock that is never set."""
        self._refusal = ""
        self.held_up = False
        """It stands still until the next file is there."""
        self._library = library
        self._slices = slices
        self._now = now
        self._spans = [Span(_ms(one.start_at), _ms(one.end_at)) for one in slices]
        self._holds: dict[int, AsyncExitStack] = {}
        self._arrivals: dict[int, Arrival] = {}
        self._gone: set[int] = set()
        self._fetches: dict[asyncio.Task[None], list[int]] = {}
        """Those that wait, and the files they need: these come before what is played meanwhile."""
        self._spared: dict[int, float] = {}
        """Until when files are not let go wherever it stands."""
        self._closed = False
        self._position_ms, self._told_at = self._spans[0].start_ms, now()
        self._speed, self._moves = 1.0, False

    @property
    def waiting(self) -> str:
        """Why what it needs next is not there, if that cannot be fetched now."""
        coming = [one for number, one in self._arrivals.items() if number not in self._gone]
        failures = [str(one.failure) for one in coming if one.failure is not None]
        return self._refusal or next(iter(failures), "")

    async def files(self) -> list[tuple[Path, int]]:
        """All files, those that are not there yet too, and when they begin; those that are gone are left out."""
        paths: list[tuple[Path, int]] = []
        for number, one in enumerate(self._slices):
            try:
                paths.append((await self._library.path(one), self._spans[number].start_ms))
            except NotFoundError:
                self._gone.add(number)
        return paths

    async def fetch(self, position_ms: int) -> None:
        """Fetches what is read first at a position, of the next file if that one is gone; of both close to its end,
        which is told a little differently by the file itself. NotFoundError if all are gone, or it is closed; what
        `Library.held` and `Arrival.reach` raise."""
        needed: list[int] = []
        task = asyncio.create_task(self._fetch(position_ms, needed))
        self._fetches[task] = needed
        task.add_done_callback(self._spare)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        if task.cancelled():
            raise NotFoundError("playback", "that was to go there: it has ended")
        await task

    def _spare(self, fetch: asyncio.Task[None]) -> None:
        """In one go: whoever looks between the two would let go what was just fetched."""
        self._spared |= dict.fromkeys(self._fetches.pop(fetch), self._now() + SPARED_SECONDS)

    async def _fetch(self, position_ms: int, needed: list[int]) -> None:
        for arrival in self._arrivals.values():
            arrival.drop(self)
        for number in range(number_at(self._spans, position_ms), len(self._slices)):
            needed.append(number)
            await self._hold(number)
            if number in self._arrivals:
                at_ms = max(0, position_ms - self._spans[number].start_ms)
                try:
                    await self._arrivals[number].reach(at_ms, MARGIN_MS * self._speed)
                except NotFoundError:
                    self._gone.add(number)
            if number not in self._gone and self._spans[number].end_ms > position_ms + NEAR_END_MS:
                return
        if len(self._gone) == len(self._slices):
            raise NotFoundError("recording", "all of the interval")

    def told(self, position_ms: int, speed: float, moves: bool) -> None:
        """Where the playback stands now, and whether it goes on from there."""
        self._position_ms, self._told_at, self._speed, self._moves = position_ms, self._now(), speed, moves
        self._look_after(position_ms)
        self._weigh()

    async def run(self, weighed: Callable[[], None]) -> None:
        """Until it is cancelled. `weighed` is called when `held_up` was looked at again."""
        failures, again_at = 0, 0.0
        task: asyncio.Task[None] | None = None
        try:
            while True:
                position_ms = self._position()
                await self._let_go(position_ms)
                number = wanted(self._spans, position_ms, self._ready(), self._gone)
                read = self._look_after(position_ms)
                # One after the other: what is read now is not to wait for what is read next.
                if task is None and number is not None and read and self._now() >= again_at:
                    task = asyncio.create_task(self._hold(number))
                self._weigh()
                weighed()
                if task is None:
                    await asyncio.sleep(TICK)
                    continue
                await asyncio.wait({task}, timeout=TICK)
                if not task.done():
                    continue
                error, task = task.exception(), None
                self._refusal = ""
                if error is None:
                    failures = 0
                    continue
                wait = min(2.0**failures, AGAIN_SECONDS_MAX)
                failures, again_at, self._refusal = failures + 1, self._now() + wait, str(error)
                log.warning("a recording that is played next cannot be fetched", again_in=wait, error=self._refusal)
        finally:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Lets all files go; who waits in `fetch` is told."""
        self._closed = True
        fetches = list(self._fetches)
        for task in fetches:
            task.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
        for number in list(self._holds):
            await self._release(number)

    async def _hold(self, number: int) -> None:
        if number in self._ready():
            return
        async with AsyncExitStack() as stack:
            try:
                arrival = await stack.enter_async_context(self._library.held(self._slices[number]))
            except NotFoundError:
                self._gone.add(number)
                return
            if number not in self._holds and not self._closed:
                self._holds[number] = stack.pop_all()
                if arrival is not None:
                    self._arrivals[number] = arrival

    async def _release(self, number: int) -> None:
        if (arrival := self._arrivals.pop(number, None)) is not None:
            arrival.drop(self)
        await self._holds.pop(number).aclose()

    def _look_after(self, position_ms: int) -> bool:
        """Has what is read now fetched first; whether all of that file is there."""
        number = number_at(self._spans, position_ms)
        for one, arrival in self._arrivals.items():
            if one == number and not self._fetches:
                arrival.want(self, max(0, position_ms - self._spans[number].start_ms))
            else:
                arrival.drop(self)
        read = self._arrivals.get(number)
        return read is None or read.whole or read.gone

    async def _let_go(self, position_ms: int) -> None:
        """Files far behind and far ahead: those that were fetched then make room when room is needed."""
        number, ahead = number_at(self._spans, position_ms), near(self._spans, position_ms, self._gone)
        stay = range(number - 1, max([number + 1, *ahead]) + 2)
        self._spared = {one: until for one, until in self._spared.items() if until > self._now()}
        spared = self._spared.keys() | {one for needed in self._fetches.values() for one in needed}
        for one in [one for one in self._holds if one not in stay and one not in spared]:
            await self._release(one)

    def _ready(self) -> set[int]:
        return self._holds.keys() | self._gone

    def _position(self) -> int:
        played = (self._now() - self._told_at) * 1000 * self._speed if self._moves else 0.0
        return further(self._spans, self._position_ms, played)

    def _weigh(self) -> None:
        self._gone |= {number for number, one in self._arrivals.items() if one.gone}
        coming = {number: one.playable_ms for number, one in self._arrivals.items() if not one.whole}
        ready = self._holds.keys() - coming.keys() - self._gone
        left = playable_ms(self._spans, self._position(), ready, coming, self._gone)
        self.held_up = left < MARGIN_MS * self._speed


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
