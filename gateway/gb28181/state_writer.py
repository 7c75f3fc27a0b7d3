"""Writes changes of device state behind: in order for each device, many devices at a time.

The state in memory is ahead by at most a commit. What is written in front (a REGISTER, before its 200) first lets what
waits for its device through, so that an old OFFLINE can never overtake a new ONLINE.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from gateway.devices.model import DeviceId, StateEvent
from gateway.errors import NotFoundError, UnavailableError
from gateway.store import Store

WAITING_MAX: Final = 16
"""Changes of one device that wait; while the database is away, the older of a flapping device give way, counted."""
AT_ONCE: Final = 256
RETRY_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Change:
    event: StateEvent | None
    channels: Sequence[StateEvent]
    ends_registration: bool


@dataclass(slots=True)
class _Queue:
    waiting: deque[_Change] = field(default_factory=lambda: deque(maxlen=WAITING_MAX))
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class StateWriter:
    """`run` is its one task; `put` never waits. `dropped` counts changes that were never written."""

    def __init__(self, store: Store) -> None:
        self.dropped = 0
        self._store = store
        self._queues: dict[DeviceId, _Queue] = {}
        self._ready = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Devices with changes that are not durable yet."""
        return sum(1 for queue in self._queues.values() if queue.waiting)

    def put(
        self,
        device_id: DeviceId,
        event: StateEvent | None,
        channels: Sequence[StateEvent] = (),
        *,
        ends_registration: bool = False,
    ) -> None:
        """Queues a change of a device's state, if there is one, and the changes of its channels that go with it."""
        if event is None and not channels:
            return
        queue = self._queues.setdefault(device_id, _Queue())
        self.dropped += len(queue.waiting) == WAITING_MAX
        queue.waiting.append(_Change(event, channels, ends_registration))
        self._ready.set()

    @asynccontextmanager
    async def in_order(self, device_id: DeviceId) -> AsyncIterator[None]:
        """For a write in front: nothing else of this device is written meanwhile, and what waited is written before.

        UnavailableError if that cannot be written.
        """
        queue = self._queues.setdefault(device_id, _Queue())
        queue.users += 1
        try:
            async with queue.lock:
                await self._drain(queue)
                yield
        finally:
            queue.users -= 1
            if not queue.users and not queue.waiting:
                self._queues.pop(device_id, None)

    async def run(self) -> None:
        """Writes until it is cancelled; what waits then is written by `flush`.

        What is being written then is waited for: it is in the database's hands, and must not be written again.
        """
        while True:
            await self._ready.wait()
            self._ready.clear()
            writing = asyncio.create_task(self._write_waiting())
            try:
                done = await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait([writing])
                raise
            if not done:
                await asyncio.sleep(RETRY_SECONDS)
                self._ready.set()

    async def flush(self) -> None:
        """Writes what waits, once."""
        await self._write_waiting()

    async def _write_waiting(self) -> bool:
        """Whether all that waited is written."""
        waiting = [device_id for device_id, queue in self._queues.items() if queue.waiting]
        done = True
        for start in range(0, len(waiting), AT_ONCE):
            results = await asyncio.gather(*map(self._write_device, waiting[start : start + AT_ONCE]))
            done = done and all(results)
        return done

    async def _write_device(self, device_id: DeviceId) -> bool:
        try:
            async with self.in_order(device_id):
                return True
        except UnavailableError:
            return False

    async def _drain(self, queue: _Queue) -> None:
        while queue.waiting:
            change = queue.waiting[0]
            try:
                await self._write(change)
            except UnavailableError:
                raise
            except NotFoundError as error:
                log.info("a deleted device changed its state", device_id=error.identity)
            except Exception:  # one change that cannot be written must stop neither its device nor all others
                self.dropped += 1
                log.exception("a change of state cannot be written")
            if queue.waiting and queue.waiting[0] is change:
                queue.waiting.popleft()

    async def _write(self, change: _Change) -> None:
        if change.event is None:
            await self._store.channels.set_status(change.channels)
        else:
            await self._store.devices.set_state(
                change.event, channels=change.channels, ends_registration=change.ends_registration
            )
