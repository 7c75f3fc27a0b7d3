"""What became of streams that are pushed or pulled, written behind: many events at a time."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.errors import UnavailableError
from gateway.store import Store
from gateway.streams.model import StreamEvent

WAITING_MAX: Final = 50_000
"""Events that wait; while the database is away the oldest give way, counted."""
AT_ONCE: Final = 1_000
RETRY_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class HistoryCounters:
    """What was put in and what was never written."""

    events: int = 0
    dropped: int = 0


class StreamHistory:
    """`put` never waits; `run` is its one task, `flush` writes the rest at the end."""

    def __init__(self, store: Store) -> None:
        self.counters = HistoryCounters()
        self._store = store
        self._waiting: deque[StreamEvent] = deque(maxlen=WAITING_MAX)
        self._ready = asyncio.Event()

    def put(self, event: StreamEvent) -> None:
        """Queues an event."""
        self.counters.events += 1
        self.counters.dropped += len(self._waiting) == WAITING_MAX
        self._waiting.append(event)
        self._ready.set()

    async def run(self) -> None:
        """Until it is cancelled. While the database is away, it tries again."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            if not await self.flush():
                await asyncio.sleep(RETRY_SECONDS)
                self._ready.set()

    async def flush(self) -> bool:
        """Writes what waits; False if the database is away."""
        while self._waiting:
            part = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            try:
                await self._store.stream_events.append(part)
            except UnavailableError as error:
                log.warning("events of streams are written later", events=len(part), error=str(error))
                room = WAITING_MAX - len(self._waiting)
                self.counters.dropped += max(0, len(part) - room)
                self._waiting.extendleft(reversed(part[max(0, len(part) - room) :]))
                return False
        return True
