"""Stores slices: takes them from the backlog, a few at a time, and lets go of their files once that is durable.

Whatever is interrupted is tried again: a slice that was stored without our noting it is known again by its place.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from gateway.errors import ConflictError, NotFoundError, UnavailableError
from gateway.retention.backlog import DESTINATION_LIMIT, Backlog
from gateway.retention.errors import BucketDeniedError, BucketUnreachableError, NotAuthorisedError
from gateway.retention.model import Slice, SliceState
from gateway.retention.names import next_key
from gateway.retention.places import Outcome, Place
from gateway.retention.spool import Spool
from gateway.store import Store

RELOAD_SECONDS: Final = 5.0
"""Between tries to read what is pending while the database is away."""
_AWAY: Final = (BucketUnreachableError, BucketDeniedError, NotAuthorisedError, UnavailableError, ConflictError, OSError)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class UploadCounters:
    """What the uploader has done since it started."""

    stored: int = 0
    stored_bytes: int = 0
    failed: int = 0
    renamed: int = 0
    missing: int = 0


class Uploader:
    """`add` takes slices and never waits; `run` stores them until it is cancelled."""

    def __init__(
        self,
        store: Store,
        spool: Spool,
        place: Callable[[str], Place],
        *,
        at_once: int,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`place` gives where slices of a destination go (`Depot.at`)."""
        self.counters = UploadCounters()
        self._store = store
        self._spool = spool
        self._place = place
        self._jitter = jitter
        self._backlog = Backlog(at_once=at_once)
        self._ready = asyncio.Event()
        self._renamed: dict[str, Slice] = {}
        """Slices that got another key while they were out."""

    @property
    def backlog(self) -> Backlog:
        """What waits, for the metrics."""
        return self._backlog

    def add(self, found: Slice) -> None:
        """A slice that is pending."""
        self._backlog.add(found)
        self._ready.set()

    async def run(self) -> None:
        """Takes up what an earlier process left, then works until it is cancelled."""
        loop = asyncio.get_running_loop()
        await self._load()
        async with asyncio.TaskGroup() as group:
            while True:
                self._ready.clear()
                await self._refill()
                while (found := self._backlog.next(loop.time())) is not None:
                    group.create_task(self._store_one(found), name=f"store slice {found.slice_id}")
                due = self._backlog.next_timeout(loop.time())
                try:
                    async with asyncio.timeout_at(due):
                        await self._ready.wait()
                except TimeoutError:
                    continue

    async def _load(self) -> None:
        while True:
            try:
                for destination in await self._store.retention.destinations(SliceState.PENDING):
                    await self._read(destination)
            except UnavailableError as error:
                log.warning("cannot read which slices are pending; trying again", error=str(error))
                await asyncio.sleep(RELOAD_SECONDS)
            else:
                return

    async def _refill(self) -> None:
        for destination in self._backlog.refills():
            try:
                await self._read(destination)
            except UnavailableError as error:
                log.warning("cannot read which slices are pending", destination=destination, error=str(error))

    async def _read(self, destination: str) -> None:
        """One more than there is room for: so the backlog knows whether the database has more."""
        for found in await self._store.retention.in_state(SliceState.PENDING, destination, DESTINATION_LIMIT + 1):
            self._backlog.add(found)

    async def _store_one(self, found: Slice) -> None:
        try:
            await self._settle(found)
        except _AWAY as error:
            self.counters.failed += 1
            found = self._renamed.pop(found.slice_id, found)
            wait = self._backlog.failed(found, asyncio.get_running_loop().time(), self._jitter())
            log.warning(
                "a slice could not be stored; it stays in the spool",
                stream=found.stream_id,
                key=found.key,
                destination=found.destination,
                error=str(error),
                again_in=round(wait, 1),
            )
        else:
            self._renamed.pop(found.slice_id, None)
            self._backlog.done(found.slice_id)
        self._ready.set()

    async def _settle(self, found: Slice) -> None:
        """Stores the slice and writes that down, in this order; its file goes last."""
        try:
            key = await self._put(found)
        except FileNotFoundError:
            await self._give_up(found)
            return
        await self._store.retention.set_state([found.slice_id], SliceState.UPLOADED)
        self.counters.stored += 1
        self.counters.stored_bytes += found.size_bytes
        log.debug("slice stored", stream=found.stream_id, destination=found.destination, key=key)
        try:
            await self._spool.release(found)
        except OSError as error:  # found again at the next look into the spool
            log.warning("a stored slice's file cannot be deleted", file=found.file, error=str(error))

    async def _put(self, found: Slice) -> str:
        """Under its key, or the next one that is free; the key."""
        place = self._place(found.destination)
        while await self._put_all(place, found) is Outcome.TAKEN:
            self.counters.renamed += 1
            log.warning("something else has a slice's key", destination=found.destination, key=found.key)
            try:
                key = await self._store.retention.set_key(found.slice_id, next_key(found.key))
            except NotFoundError as error:
                raise ConflictError(str(error)) from error
            found = self._renamed[found.slice_id] = replace(found, key=key)
        return found.key

    async def _put_all(self, place: Place, found: Slice) -> Outcome:
        """The slice's file, then its playlist, so that a playlist that can be read has its file; TAKEN, and neither is
        there, if something else has the name of either."""
        if await place.put(found, self._spool.file(found)) is Outcome.TAKEN:
            return Outcome.TAKEN
        if not found.playlist:
            return Outcome.STORED
        text = await self._spool.playlist(found)
        if text is None:  # so that nothing else of that name goes with the slice
            await self._store.retention.set_without_playlist(found.slice_id)
            return Outcome.STORED
        if await place.put_playlist(found, text) is Outcome.STORED:
            return Outcome.STORED
        await place.delete([found.key])
        return Outcome.TAKEN

    async def _give_up(self, found: Slice) -> None:
        self.counters.missing += 1
        await self._store.retention.set_state([found.slice_id], SliceState.MISSING)
        log.error("a slice is lost: its file is gone from the spool", stream=found.stream_id, key=found.key)
