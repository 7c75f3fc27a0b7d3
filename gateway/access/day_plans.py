"""Draws the times of each day soon after midnight, UTC+8, in batches; stops what has had its one day; forgets old days.

The first slice of a day begins at 00:10 at the earliest. A day that began while the gateway was not running is planned
at the start: the plan is the same as it would have been at midnight.
"""

import asyncio
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Final

import structlog

from gateway.access.agenda import Key
from gateway.access.slices import day_of, moment_of
from gateway.errors import GatewayError
from gateway.store import Store

log = structlog.get_logger(__name__)

BATCH: Final = 1_000
"""Strategies planned in one transaction: some tenths of a second."""
DELETED_AT_ONCE: Final = 2_000
LOOK_EVERY: Final = 30.0
"""Seconds between looks at the calendar, which may be set."""
JUST_AFTER: Final = 0.5
"""Seconds after midnight."""


class DayPlans:
    """`planned()` is told when there are new slices, `released(key)` of each channel whose strategy was stopped.

    `kept_days`: days whose slices are kept.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime],
        *,
        planned: Callable[[], None],
        released: Callable[[Key], None],
        kept_days: int,
    ) -> None:
        self._store = store
        self._clock = clock
        self._planned = planned
        self._released = released
        self._kept_days = kept_days
        self._cleared: date | None = None
        self.strategies_planned = 0

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.see_to(self._clock())
            except GatewayError as error:
                log.warning("a day was not planned", error=str(error))
            await asyncio.sleep(self._wait(self._clock()))

    async def see_to(self, at: datetime) -> int:
        """Plans the day of `at` for all strategies that lack it; gives how many those were. UnavailableError."""
        today = day_of(at)
        for key in await self._store.strategies.stop_finished(today, at=at):
            self._released(key)
        count = 0
        while planned := await self._store.strategies.plan(today, limit=BATCH):
            count += planned
            self._planned()
        if count:
            self.strategies_planned += count
            log.info("a day is planned", day=today.isoformat(), strategies=count)
        if self._cleared != today:
            await self._clear(today - timedelta(days=self._kept_days))
            self._cleared = today
        return count

    async def _clear(self, before: date) -> None:
        for project in await self._store.accounts.projects():
            while await self._store.slices.delete_before(project.project_id, before, limit=DELETED_AT_ONCE):
                pass

    @staticmethod
    def _wait(at: datetime) -> float:
        midnight = moment_of(day_of(at) + timedelta(days=1), 0)
        return min(LOOK_EVERY, (midnight - at).total_seconds() + JUST_AFTER)
