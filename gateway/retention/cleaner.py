"""Deletes what is older than its retention: looks every hour, by the rule of `expiry`.

What goes is first marked, then deleted where it is kept, then noted as gone; a crash between leaves it marked, and the
next look deletes it (again).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.errors import UnavailableError
from gateway.retention.errors import BucketDeniedError, BucketUnreachableError, NotAuthorisedError
from gateway.retention.expiry import expired
from gateway.retention.model import Slice, SliceState
from gateway.retention.names import stored_keys
from gateway.retention.places import Place
from gateway.store import Store

EVERY_SECONDS: Final = 3600.0
FIRST_SECONDS: Final = 60.0
"""After the start, so that a gateway that is started often cleans up too."""
STREAMS_AT_ONCE: Final = 200
SLICES_AT_ONCE: Final = 1000
GONE_KEPT: Final = timedelta(days=7)
"""How long it is still known that a slice was there; as long as can be asked for at once."""
MARKS_KEPT: Final = timedelta(days=400)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class CleanerCounters:
    """What the cleaner has done since it started."""

    expired: int = 0
    failed: int = 0


class Cleaner:
    """`run` until it is cancelled; `clean` once."""

    def __init__(self, store: Store, place: Callable[[str], Place], clock: Callable[[], datetime]) -> None:
        """`place` gives where slices of a destination are (`Depot.at`)."""
        self.counters = CleanerCounters()
        self._store = store
        self._place = place
        self._clock = clock

    async def run(self) -> None:
        wait = FIRST_SECONDS
        while True:
            await asyncio.sleep(wait)
            wait = EVERY_SECONDS
            try:
                await self.clean(self._clock())
            except UnavailableError as error:
                log.warning("what is expired is deleted later", error=str(error))

    async def clean(self, now: datetime) -> None:
        """Deletes what is expired at `now`, of streams whose retention is ACTIVE."""
        streams: dict[timedelta, list[str]] = {}
        async for one in self._store.retention.active():
            if one.retention.keep is not None:
                streams.setdefault(one.retention.keep, []).append(one.stream_id)
        for keep, ids in streams.items():
            for start in range(0, len(ids), STREAMS_AT_ONCE):
                await self._mark(ids[start : start + STREAMS_AT_ONCE], keep, now)
        await self._delete()
        await self._store.retention.forget(slices_before=now - GONE_KEPT, marks_before=now - MARKS_KEPT)

    async def _mark(self, stream_ids: Sequence[str], keep: timedelta, now: datetime) -> None:
        found = expired(await self._store.retention.hour_directories(stream_ids, now - keep), keep, now)
        await self._store.retention.expire(found)
        for one in found:
            log.info("expired", stream=one.stream_id, directory=one.directory, slices=one.slices)

    async def _delete(self) -> None:
        """Everything that is marked, where it can be reached."""
        for destination in await self._store.retention.destinations(SliceState.EXPIRING):
            while found := await self._expiring(destination):
                try:
                    await self._place(destination).delete([key for one in found for key in stored_keys(one)])
                except (BucketUnreachableError, BucketDeniedError, NotAuthorisedError) as error:
                    self.counters.failed += 1
                    log.warning("expired slices cannot be deleted now", destination=destination, error=str(error))
                    break
                await self._store.retention.set_state([one.slice_id for one in found], SliceState.EXPIRED)
                self.counters.expired += len(found)

    async def _expiring(self, destination: str) -> Sequence[Slice]:
        return await self._store.retention.in_state(SliceState.EXPIRING, destination, SLICES_AT_ONCE)
