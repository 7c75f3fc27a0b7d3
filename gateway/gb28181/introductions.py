"""Asks devices that came online for their information and catalogue: a little later, and only so many at a time.

After a power cut thousands register within seconds; each waits a random moment, and a bounded number of workers asks.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from gateway.devices.model import DeviceId
from gateway.gb28181.catalogue_service import CatalogueService
from gateway.gb28181.deadlines import Deadlines
from gateway.gb28181.directory import Directory, RegisteredDevice
from gateway.gb28181.query_service import DeviceInquiry
from sip.alarm import Alarm

CATALOGUE_AGE: Final = 3600.0
"""Seconds after which a device that comes online again is asked again."""
VERIFY_AFTER: Final = 5.0
"""Seconds from a notification to the query that checks it: changes come in swarms."""
VERIFY_GAP: Final = 60.0
"""Seconds between two such queries of one device."""

log = structlog.get_logger(__name__)


class Introductions:
    """`run` is its parent task. `random` gives numbers from 0 to 1; `delay`: longest wait after a registration."""

    def __init__(
        self,
        directory: Directory,
        inquiry: DeviceInquiry,
        catalogues: CatalogueService,
        *,
        random: Callable[[], float],
        delay: float = 3.0,
        workers: int = 32,
    ) -> None:
        self._directory = directory
        self._inquiry = inquiry
        self._catalogues = catalogues
        self._random = random
        self._delay = delay
        self._workers = workers
        self._loop = asyncio.get_running_loop()
        self._planned: Deadlines[DeviceId] = Deadlines()
        self._whole: set[DeviceId] = set()
        self._ready: asyncio.Queue[DeviceId] = asyncio.Queue()  # bounded by the number of devices: each is in it once
        self._queued: set[DeviceId] = set()
        self._alarm = Alarm(self._fire)

    @property
    def waiting(self) -> int:
        """Devices that will be asked."""
        return len(self._planned) + self._ready.qsize()

    def came_online(self, device: RegisteredDevice) -> None:
        """Plans to ask a device, unless it told everything a short while ago."""
        now = self._loop.time()
        if device.catalogue_at is not None and now - device.catalogue_at < CATALOGUE_AGE:
            return
        self._whole.add(device.device_id)
        self._plan(device, now + self._random() * self._delay)

    def verify(self, device: RegisteredDevice) -> None:
        """Plans to read the catalogue anew, not too often."""
        now = self._loop.time()
        self._plan(device, max(now + VERIFY_AFTER, (device.catalogue_at or 0.0) + VERIFY_GAP))

    async def run(self) -> None:
        """Asks until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers):
                tasks.create_task(self._work())

    def close(self) -> None:
        """Plans nothing more."""
        self._alarm.stop()

    def _plan(self, device: RegisteredDevice, due: float) -> None:
        self._planned.set(device.device_id, due)
        self._arm()

    def _arm(self) -> None:
        self._alarm.arm(self._planned.next_timeout())

    def _fire(self) -> None:
        while (device_id := self._planned.pop_due(self._loop.time())) is not None:
            if device_id not in self._queued:  # it may have been planned again while it waited
                self._queued.add(device_id)
                self._ready.put_nowait(device_id)
        self._arm()

    async def _work(self) -> None:
        while True:
            device_id = await self._ready.get()
            self._queued.discard(device_id)
            try:
                await self._introduce(device_id)
            except Exception:  # the outermost frame of one device's turn
                log.exception("a device was not asked", device_id=device_id)

    async def _introduce(self, device_id: DeviceId) -> None:
        device = self._directory.get(device_id)
        whole = device_id in self._whole
        self._whole.discard(device_id)
        if device is None or not device.online:
            return
        if whole:
            await self._inquiry.introduce(device)
        await self._catalogues.query(device)
