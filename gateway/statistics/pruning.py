"""Deletes history that is older than it is kept: a little at a time, so that nobody waits for it."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.errors import GatewayError
from gateway.statistics.days import day_of
from gateway.store import Store

ROUND_SECONDS: Final = 3600.0
PAUSE_SECONDS: Final = 0.05
"""Between two transactions of some milliseconds each."""

log = structlog.get_logger(__name__)


class HistoryPruner:
    """`run` is its one task. `days`: how long state changes and packet sums are kept, `stream_days`: events of streams
    that are pushed or pulled; 0 keeps everything."""

    def __init__(self, store: Store, clock: Callable[[], datetime], *, days: int, stream_days: int = 0) -> None:
        self._store = store
        self._clock = clock
        self._days = days
        self._stream_days = stream_days

    async def run(self) -> None:
        """Prunes every hour until it is cancelled."""
        while self._days or self._stream_days:
            try:
                if self._days:
                    await self.prune()
                if self._stream_days:
                    await self.prune_streams()
            except GatewayError as error:
                log.warning("the history was not pruned", error=str(error))
            await asyncio.sleep(ROUND_SECONDS)

    async def prune(self) -> int:
        """Deletes what is too old now; gives how many events. UnavailableError."""
        before, total = self._clock() - timedelta(days=self._days), 0
        for project in await self._store.accounts.projects():
            position, deleted = await self._store.events.prune(project.project_id, before)
            while position is not None:
                total += deleted
                await asyncio.sleep(PAUSE_SECONDS)
                position, deleted = await self._store.events.prune(project.project_id, before, after=position)
        rows = 1
        while rows:
            rows = await self._store.packets.prune(day_of(before))
            await asyncio.sleep(PAUSE_SECONDS)
        if total:
            log.info("history pruned", events=total, before=before.isoformat())
        return total

    async def prune_streams(self) -> int:
        """The same of streams that are pushed or pulled. UnavailableError."""
        before, total = self._clock() - timedelta(days=self._stream_days), 0
        while deleted := await self._store.stream_events.prune(before):
            total += deleted
            await asyncio.sleep(PAUSE_SECONDS)
        if total:
            log.info("history of streams pruned", events=total, before=before.isoformat())
        return total
