"""The counter's shell: readings in time, written behind, and again after a restart."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.devices.model import ChannelId, DeviceId
from gateway.errors import UnavailableError
from gateway.statistics.days import day_of
from gateway.statistics.model import Sums
from gateway.statistics.packet_counter import PacketCounter
from gateway.store import Store
from tests.api.world import Live

NOON = datetime(2026, 3, 1, 4, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 1, 16, tzinfo=UTC)
CAMERA = DeviceId("camera"), ChannelId("channel")


class Streams:
    """A relay with one stream."""

    def __init__(self) -> None:
        self.live = Live(receiver=1, expected=0, received=0)
        self.read = asyncio.Event()

    def __call__(self) -> Sequence[Any]:
        return [self.live]

    def show(self, expected: int, received: int) -> Live:
        self.live = Live(receiver=1, expected=expected, received=received)
        return self.live


async def written(store: Store, at: datetime = NOON) -> list[Sums]:
    return [sums async for _, sums in store.packets.load(day_of(at))]


async def until(store: Store, sums: Sums, at: datetime = NOON) -> None:
    for _ in range(1000):
        if await written(store, at) == [sums]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(await written(store, at))


async def test_it_reads_now_and_then(database: Store) -> None:
    streams = Streams()
    counter = PacketCounter(database, streams, lambda: NOON, interval=0.05)
    task = asyncio.create_task(counter.run())
    counter.opened(1, *CAMERA)
    streams.show(10, 9)
    await until(database, Sums(10, 9))
    streams.show(20, 19)
    await until(database, Sums(20, 19))
    task.cancel()
    again = PacketCounter(database, streams, lambda: NOON, interval=0.05)
    await again.write()
    assert await written(database) == [Sums(20, 19)]
    again.opened(1, *CAMERA)
    await again.read()
    await again.close()
    assert await written(database) == [Sums(40, 38)]


async def test_the_end_of_a_call_is_written_at_once(database: Store) -> None:
    streams = Streams()
    counter = PacketCounter(database, streams, lambda: NOON, interval=3600)
    task = asyncio.create_task(counter.run())
    counter.opened(1, *CAMERA)
    counter.opened(2, *CAMERA)
    counter.closed(1, streams.show(10, 9))
    await until(database, Sums(10, 9))
    counter.closed(2, streams.live)  # of another receiver: nothing is known of this one
    counter.closed(3, None)
    await counter.write()
    assert await written(database) == [Sums(10, 9)]
    task.cancel()


async def test_there_is_a_reading_at_midnight(database: Store) -> None:
    loop, streams = asyncio.get_running_loop(), Streams()
    begin = loop.time()

    def clock() -> datetime:
        return MIDNIGHT - timedelta(seconds=0.5) + timedelta(seconds=loop.time() - begin)

    counter = PacketCounter(database, streams, clock, interval=3600)
    counter.opened(1, *CAMERA)
    task = asyncio.create_task(counter.run())
    await asyncio.sleep(0.2)
    streams.show(1000, 1000)
    for _ in range(1000):
        if await written(database):
            break
        await asyncio.sleep(0.01)
    (before,) = await written(database)
    assert before.expected > 500  # but for the milliseconds that the reading was late
    assert clock() > MIDNIGHT
    task.cancel()


async def test_what_cannot_be_written_waits(database: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams()
    counter = PacketCounter(database, streams, lambda: NOON)
    counter.opened(1, *CAMERA)
    await counter.today()
    streams.show(10, 9)
    await counter.read()

    async def refuse(_sums: object) -> None:
        raise UnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(database.packets, "save", refuse)
        await counter.write()
    assert await written(database) == []
    await counter.write()
    assert await written(database) == [Sums(10, 9)]


async def test_the_list_is_of_today(database: Store) -> None:
    streams, now = Streams(), [NOON]
    counter = PacketCounter(database, streams, lambda: now[0])
    counter.opened(1, *CAMERA)
    streams.show(10, 9)
    await counter.read()
    assert (await counter.today()).sums == {CAMERA: Sums(10, 9)}
    now[0] = NOON + timedelta(days=1)
    assert (await counter.today()).sums == {}
    now[0] = NOON
    assert (await counter.today()).sums == {CAMERA: Sums(10, 9)}
