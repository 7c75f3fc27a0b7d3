"""Reads the relay's counters of devices' calls now and then, and writes behind their sums by day."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import structlog

from gateway.devices.model import ChannelId, DeviceId
from gateway.errors import GatewayError
from gateway.statistics.days import day_of, ending
from gateway.statistics.model import Sums
from gateway.statistics.packet_list import PacketList
from gateway.statistics.packets import PacketBook
from gateway.store import Store
from gateway.streams.live import LiveStream

SHORTEST_WAIT: Final = 0.05
"""Seconds; at midnight the timer may be a little early."""

log = structlog.get_logger(__name__)


class PacketCounter:
    """`run` is its one task; `close` writes what is left, when no call is left.

    `streams()` gives a snapshot of all streams and may wait: it is called in a thread. A reading is taken every
    `interval` seconds, at midnight of UTC+8, and when a call ends; what a crash loses came after the last one.
    """

    def __init__(
        self,
        store: Store,
        streams: Callable[[], Sequence[LiveStream]],
        clock: Callable[[], datetime],
        *,
        interval: float = 60.0,
    ) -> None:
        self._store = store
        self._streams = streams
        self._clock = clock
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._book = PacketBook()
        self._writing = asyncio.Lock()
        self._list = PacketList({})
        self._ended = asyncio.Event()

    def opened(self, receiver: int, device_id: DeviceId, channel_id: ChannelId) -> None:
        """A call opened a receiver of the relay."""
        self._book.open(self._loop.time(), receiver, device_id, channel_id)

    def closed(self, receiver: int, last: LiveStream | None) -> None:
        """A call closes its receiver, which showed this last."""
        shown = None if last is None or last.receiver != receiver else _shown(last)
        self._book.close(self._loop.time(), self._clock(), receiver, shown)
        self._ended.set()

    async def run(self) -> None:
        """Reads now and then, and writes what was read, or what a call told at its end, until it is cancelled."""
        due = self._loop.time()
        while True:
            if self._loop.time() >= due:
                await self.read()
                due = self._loop.time() + self._wait()
            self._ended.clear()
            await self.write()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._ended.wait()

    def _wait(self) -> float:
        """Seconds until the next reading: at midnight there is one, so that each day gets what came on it."""
        now = self._clock()
        midnight = (ending(day_of(now)) - now).total_seconds()
        return max(min(self._interval, midnight), SHORTEST_WAIT)

    async def close(self) -> None:
        """Writes what calls counted last."""
        await self.write()

    async def today(self) -> PacketList:
        """The sums of today. Use it before you await again. UnavailableError."""
        day = day_of(self._clock())
        await self._take_up({day} | self._book.unread_days())
        sums = self._book.day(day)
        if self._list.sums is not sums:
            self._list = PacketList(sums)
        return self._list

    async def read(self) -> None:
        """Takes a reading of every call."""
        if not self._book.receivers:
            return
        streams = await asyncio.to_thread(self._streams)
        now, at = self._loop.time(), self._clock()
        for stream in streams:
            self._book.handle(now, at, stream.receiver, _shown(stream))

    async def write(self) -> None:
        """Makes durable what was read; while the database is away it waits."""
        async with self._writing:
            unwritten = {}
            try:
                await self._take_up({day_of(self._clock())} | self._book.unread_days())
                unwritten = self._book.take_unwritten()
                await self._store.packets.save(unwritten)
            except GatewayError as error:
                self._book.put_back(unwritten)
                log.warning("packet sums are not written yet", error=str(error), channels=len(unwritten))
            self._book.forget(day_of(self._clock()) - timedelta(days=1))

    async def _take_up(self, days: set[date]) -> None:
        for day in days:
            if not self._book.has(day):
                self._book.take_up(day, [found async for found in self._store.packets.load(day)])


def _shown(stream: LiveStream) -> Sums:
    return Sums(stream.expected, stream.received)
