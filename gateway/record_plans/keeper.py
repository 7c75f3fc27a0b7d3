"""Sees to it that what plans want is recorded: tells the recorder which streams, and the access runner which channels.

What is wanted follows from the plans and the calendar alone, so a restart needs nothing but the plans.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Final, Protocol
from zoneinfo import ZoneInfoNotFoundError

import structlog

from gateway.devices.model import ChannelId, DeviceId
from gateway.errors import UnavailableError
from gateway.record_plans.model import Assigned, RecordPlan
from gateway.record_plans.week import Wanted, wanted, zone_of
from gateway.retention.model import Retained
from gateway.retention.planning import Address
from gateway.store import Store

LOOK_SECONDS: Final = 30.0
"""Between looks at the database and the calendar, which may be set."""
AGAIN_SECONDS: Final = 5.0
"""While the database is away."""
JUST_AFTER: Final = 0.02
"""Seconds after a change, so that the clock shows it."""
Key = tuple[DeviceId, ChannelId]

log = structlog.get_logger(__name__)


class PlannedRecorder(Protocol):
    """Who records (`gateway.retention.recorder.Recorder`)."""

    def plan(self, planned: Mapping[Address, Retained]) -> None:
        """These streams are to be recorded from now on, and no others because of plans."""


class PlanKeeper:
    """`look` once at the start, then `run` for ever.

    `want` is told the channels that plans want now.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime],
        recorder: PlannedRecorder,
        want: Callable[[Collection[Key]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._recorder = recorder
        self._want = want
        self._wake = asyncio.Event()
        self._unknown: set[str] = set()
        """Plans whose zone this machine does not know; each is complained of once."""

    def changed(self) -> None:
        """A plan, or who has it, is another now."""
        self._wake.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            self._wake.clear()
            try:
                wait = await self.look()
            except UnavailableError as error:
                log.warning("record plans wait for the database", error=str(error))
                wait = AGAIN_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def look(self) -> float:
        """Tells what is wanted now; gives the seconds until that may change. UnavailableError."""
        plans = await self._store.record_plans.every()
        assigned = [one async for one in self._store.record_plans.assigned()]
        at = self._clock()
        told = {plan_id: self._ask(plans[plan_id], at) for plan_id in {one.plan_id for one in assigned} & plans.keys()}
        due = [one for one in assigned if _is_due(one, told)]
        self._recorder.plan({(one.retained.app, one.retained.name): one.retained for one in due})
        self._want(
            {(one.device_id, one.channel_id) for one in due if one.device_id is not None and one.channel_id is not None}
        )
        changes = [found.changes_at for found in told.values() if found.changes_at is not None]
        if not changes:
            return LOOK_SECONDS
        return min(LOOK_SECONDS, (min(changes) - at).total_seconds() + JUST_AFTER)

    def _ask(self, plan: RecordPlan, at: datetime) -> Wanted:
        try:
            return wanted(plan.ranges, zone_of(plan.zone), at)
        except ZoneInfoNotFoundError:
            if plan.plan_id not in self._unknown:
                self._unknown.add(plan.plan_id)
                log.warning("this machine does not know a plan's time zone", plan=plan.plan_id, zone=plan.zone)
            return Wanted(False, None)


def _is_due(one: Assigned, told: Mapping[str, Wanted]) -> bool:
    """A channel is called for it; a stream that is pushed or pulled, and was stopped, cannot flow."""
    found = told.get(one.plan_id)
    return found is not None and found.now and (one.channel_id is not None or one.retained.active)
