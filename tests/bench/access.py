"""How long a day of 100,000 access strategies takes to plan, and 10,000 slices of one minute to begin.

python -m tests.bench.access [database URL]

Planning draws the times and writes them as rows, as at midnight. Beginning runs the real runner over the real store;
cameras answer at once, and whether a channel is wanted and every change of its status are written as in the product.
"""

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
import uvloop

from gateway.access.day_plans import DayPlans
from gateway.access.model import RandomStrategy, StrategyState, Timing
from gateway.access.planner import draw
from gateway.access.rules import StrategyChange, settle
from gateway.access.runner import AccessRunner
from gateway.access.slices import SliceState, moment_of
from gateway.accounts.quotas import Quotas
from gateway.clock import utc_now
from gateway.devices.model import CatalogueEntry, Channel, ChannelId, DeviceId, InvitationStatus, StateCause, StateEvent
from gateway.memory import settle_collector
from gateway.scope import Scope
from gateway.settings import DEFAULT_QUOTAS
from gateway.store import SecretBox, SliceFilter, Store
from gateway.store.engine import open_engines
from gateway.store.strategy_tables import strategies
from tests.bench.store_writes import NOW, PROJECT, prepare

CHANNELS = 100_000
DUE = 10_000
OF_ONE_DEVICE = 100
RATE = 200.0
DAY = date(2026, 6, 1)
"""The day that is planned; strategies were made before."""
I = InvitationStatus  # noqa: E741


async def main(url: str) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        address = url or f"sqlite:///{folder}/bench.db"
        async with Store.open(address, secrets=SecretBox.load(Path(folder) / "key")) as store:
            drawing()
            keys = await channels(store)
            await insert(address, keys)
            settle_collector()
            await plan(store)
            await one_change(store, keys[-1])
            await begin(store)


def drawing() -> None:
    timing = Timing(kind=RandomStrategy.RANDOM, start=600, end=1080, total=240)
    begin = time.perf_counter()
    for number in range(CHANNELS):
        draw(timing, str(number), DAY)
    print(f"{CHANNELS} plans drawn in {time.perf_counter() - begin:.1f} s", flush=True)


async def channels(store: Store) -> Sequence[tuple[DeviceId, ChannelId]]:
    """One project, devices with a hundred channels each."""
    keys = []
    for device_id in await prepare(store, max(1000, CHANNELS // OF_ONE_DEVICE)):
        entries = [
            CatalogueEntry(node_id=f"3402000000131{number:07d}", name="", video=True, reported_on=True)
            for number in range(OF_ONE_DEVICE)
        ]
        await store.channels.upsert_catalogue(device_id, entries, complete=True, at=NOW)
        keys += [(device_id, ChannelId(entry.node_id)) for entry in entries]
    print(f"{len(keys)} channels", flush=True)
    return keys


async def insert(url: str, keys: Sequence[tuple[DeviceId, ChannelId]]) -> None:
    """Active strategies, put in at once: 12:00 to 20:00 with 240 minutes; the last ones 10 minutes from 10:00 on."""
    common = {
        "project_id": PROJECT,
        "periodicity": "DAY",
        "state": StrategyState.ACTIVE.value,
        "revision": 1,
        "planned_day": None,
        "plan_from": DAY,
        "created_at": NOW,
        "updated_at": NOW,
    }
    random = {"kind": "RANDOM", "start_minute": 720, "end_minute": 1200, "total_length": 240}
    consecutive = {"kind": "CONSECUTIVE", "start_minute": 600, "end_minute": None, "total_length": 10}
    rows: list[dict[str, Any]] = [
        {
            "device_id": device_id,
            "channel_id": channel_id,
            "seed": str(number),
            **common,
            **(consecutive if number >= len(keys) - DUE else random),
        }
        for number, (device_id, channel_id) in enumerate(keys)
    ]
    writing, reading = open_engines(url)
    async with writing.begin() as connection:
        await connection.execute(sa.insert(strategies), rows)
    await writing.dispose()
    await reading.dispose()


async def plan(store: Store) -> None:
    at = moment_of(DAY, 0)
    plans = DayPlans(store, lambda: at, planned=lambda: None, released=lambda _: None, kept_days=31)
    latest: list[float] = []
    watcher = asyncio.create_task(_lag(latest))
    begin, cpu = time.perf_counter(), time.process_time()
    count = await plans.see_to(at)
    took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    watcher.cancel()
    begin = time.perf_counter()
    listing = await store.slices.list(Scope(PROJECT), SliceFilter(day=DAY), offset=0, limit=1)
    print(f"{count} strategies planned, {listing.total} slices written, in {took:.1f} s ({cpu:.1f} s of CPU); ", end="")
    print(f"meanwhile the loop was late by {max(latest) * 1e3:.0f} ms at most", flush=True)
    print(f"first page of the day's slices in {(time.perf_counter() - begin) * 1e3:.0f} ms", flush=True)
    begin = time.perf_counter()
    assert await plans.see_to(at) == 0
    print(f"looking again, with nothing to plan, in {(time.perf_counter() - begin) * 1e3:.1f} ms", flush=True)


async def one_change(store: Store, key: tuple[DeviceId, ChannelId]) -> None:
    """The sum over all active strategies of the project is part of it."""
    at, took = moment_of(DAY, 1), []
    for number in range(20):
        change = StrategyChange(total=20 - number % 2 * 10)
        decide = partial(settle, change=change, at=at, seed="x")
        begin = time.perf_counter()
        await store.strategies.settle(*key, decide, at=at, quotas=dict.fromkeys(DEFAULT_QUOTAS, 10**9))
        took.append(time.perf_counter() - begin)
    print(f"one change among {CHANNELS} active strategies: median {sorted(took)[10] * 1e3:.1f} ms", flush=True)


class Cameras:
    """Every camera is online and answers at once. What the invitation service writes is written."""

    def __init__(self, store: Store) -> None:
        self.runner: AccessRunner | None = None
        self.statuses: dict[tuple[str, str], InvitationStatus] = {}
        self.channels: dict[tuple[str, str], Channel] = {}
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.held: Sequence[Channel] = ()
        self._store = store
        self._writes: set[asyncio.Task[None]] = set()

    def status(self, device_id: DeviceId, channel_id: ChannelId) -> InvitationStatus:
        return self.statuses.get((device_id, channel_id), I.ONLINE)

    def known(self, device_id: DeviceId, channel_id: ChannelId) -> Channel | None:
        return self.channels.get((device_id, channel_id))

    def hold(self, device_id: DeviceId, channel_id: ChannelId, held: bool) -> None:
        pass

    async def invite(self, channel: Channel, *, quota: int | None = None, by_strategy: bool = False) -> None:
        self.begun.append(time.perf_counter())
        self.channels[channel.device_id, channel.channel_id] = channel
        self._step(channel, I.INVITING)
        await self._store.channels.set_wanted(channel.device_id, channel.channel_id, True, at=utc_now(), quota=quota)
        self._step(channel, I.INVITE_SUCCESS)

    async def cancel(self, channel: Channel, *, by_strategy: bool = False) -> None:
        self.ended.append(time.perf_counter())
        self._step(channel, I.CANCELING)
        await self._store.channels.set_wanted(channel.device_id, channel.channel_id, False, at=utc_now())
        self._step(channel, I.ONLINE)

    def _step(self, channel: Channel, after: InvitationStatus) -> None:
        key = channel.device_id, channel.channel_id
        before, self.statuses[key] = self.status(*key), after
        event = StateEvent(
            at=utc_now(),
            project_id=channel.project_id,
            device_id=channel.device_id,
            channel_id=channel.channel_id,
            before=before,
            after=after,
            cause=StateCause.INVITE,
            detail="",
        )
        assert self.runner is not None
        self.runner.handle_event(event)
        task = asyncio.get_running_loop().create_task(self._store.channels.set_status([event]))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)


async def begin(store: Store) -> None:
    """The calendar goes to 09:59:58, and later to 10:10."""
    offset = moment_of(DAY, 600) - timedelta(seconds=2) - utc_now()

    def clock() -> datetime:
        return utc_now() + offset

    cameras = Cameras(store)
    quotas = Quotas({**DEFAULT_QUOTAS, "active_stream": 10**9})
    runner = cameras.runner = AccessRunner(store=store, calls=cameras, quotas=quotas, clock=clock, rate=RATE)
    reading = time.perf_counter()
    await runner.start()
    print(f"{runner.counts['planned']} slices of the next ten minutes read in {time.perf_counter() - reading:.1f} s")
    task, latest = asyncio.create_task(runner.run()), list[float]()
    watcher = asyncio.create_task(_lag(latest))
    cpu = time.process_time()
    await _until(lambda: len(cameras.begun) >= DUE)
    cpu = time.process_time() - cpu
    _tell("begun", cameras.begun, cpu, latest)
    await _until(lambda: runner.counts["flowing"] == DUE)
    latest.clear()
    offset += timedelta(minutes=10)
    cpu = time.process_time()
    await _until(lambda: len(cameras.ended) >= DUE)
    _tell("ended", cameras.ended, time.process_time() - cpu, latest)
    watcher.cancel()
    await _until(lambda: runner.counts["open"] == 0 and store.waiting_writes == 0)
    await runner.close()
    await task
    states = Counter[str]()
    for state in SliceState:
        wanted = SliceFilter(day=DAY, state=state)
        states[state.value] = (await store.slices.list(Scope(PROJECT), wanted, offset=0, limit=1)).total
    print(f"slices of the day: {dict(states)}")


def _tell(what: str, moments: Sequence[float], cpu: float, latest: Sequence[float]) -> None:
    per_second = Counter(int(moment - moments[0]) for moment in moments)
    print(
        f"{len(moments)} slices {what} within {moments[-1] - moments[0]:.1f} s at a rate of {RATE:.0f}/s "
        f"(busiest second {max(per_second.values())}), {cpu / len(moments) * 1e3:.2f} ms of CPU each; "
        f"the loop was late by {max(latest) * 1e3:.0f} ms at most",
        flush=True,
    )


async def _lag(latest: list[float]) -> None:
    while True:
        begin = time.perf_counter()
        await asyncio.sleep(0.01)
        latest.append(time.perf_counter() - begin - 0.01)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(300):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    uvloop.run(main(sys.argv[1] if len(sys.argv) > 1 else ""))
