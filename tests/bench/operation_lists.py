"""How long a page of each operation list takes over 100,000 devices with 30 days of history, and what a change costs.

python -m tests.bench.operation_lists [sqlite | postgresql]

Each list is drawn from the service alone, and over HTTP on a Unix socket with a client that reads answers whole and
does not look into them. PostgreSQL is started here, without fsync.
"""

import asyncio
import json
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
import uvloop

from gateway.devices.model import ChannelId, DeviceId, DeviceState, StateCause, StateEvent
from gateway.devices.roster import ORDERS
from gateway.memory import settle_collector
from gateway.paging import Page
from gateway.scope import Scope
from gateway.statistics.days import day_of
from gateway.statistics.model import ChannelDay, DeviceList, Sums
from gateway.store import DeviceFilter, SecretBox, Store
from gateway.store.tables import channels, streams
from tests.api.conftest import serve
from tests.api.world import World
from tests.bench.store_writes import NOW as BEGIN
from tests.bench.store_writes import PROJECT, _registration, prepare
from tests.gateway.store.postgresql import start

DEVICES = int(os.environ.get("BENCH_DEVICES", "100000"))
DAYS = 30
FLAPS = int(os.environ.get("BENCH_FLAPS", "10"))
"""Times that a device went offline and came back in those days."""
CALLS = int(os.environ.get("BENCH_CALLS", "200"))
NOW = BEGIN + timedelta(days=DAYS)
RATES = "todayPacketReceivedRateDeviceList"
Query = dict[str, Any]
FILTERS: dict[str, Query] = {
    "any page by age": {},
    "any page by age, descending": {"sort": "DESC"},
    **{f"any page by {order}, descending": {"order_by": order, "sort": "DESC"} for order in ORDERS[1:]},
    "state and type": {"state": "OFFLINE", "type": "IPC"},
    "part of an id": {"device_id": "0012"},
}


async def main(backend: str) -> None:
    print(f"### {backend}, {DEVICES} devices; load {os.getloadavg()[0]:.1f}", flush=True)
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder,
        start() if backend == "postgresql" else nullcontext() as server,
    ):
        url = f"sqlite:///{folder}/bench.db" if server is None else server.url("postgres")
        async with Store.open(url, secrets=SecretBox.load(Path(folder) / "key")) as store:
            begin = time.perf_counter()
            ids = await prepare(store, DEVICES)
            await live(store, ids)
            print(f"history written in {time.perf_counter() - begin:.0f} s", flush=True)
            if server is not None:
                await analyze(store)
            world = World(store)
            world.now = NOW
            await world.accounts.set_password("admin", "Secret-1234")
            token, _ = await world.accounts.log_in("admin", "Secret-1234", NOW)
            begin = time.perf_counter()
            roster = await world.rosters.of(PROJECT)
            print(f"roster of {len(roster)} read in {time.perf_counter() - begin:.2f} s", flush=True)
            settle_collector()
            await of_service(world)
            await over_http(world, Path(folder) / "api.sock", token)
            await changes(store, world, ids)


async def live(store: Store, ids: Sequence[DeviceId]) -> None:
    """30 days of the devices: most are online, some gone for long, some new today, most sent video."""
    chance = random.Random(1)
    for start_ in range(0, len(ids), 1000):
        part = ids[start_ : start_ + 1000]
        events: list[StateEvent] = []
        first: list[tuple[DeviceId, datetime]] = []
        ends: list[StateEvent] = []
        back: list[StateEvent] = []
        sent: list[StateEvent] = []
        for device_id in part:
            if chance.random() < 0.05:
                continue  # never registered
            age = timedelta(hours=chance.uniform(0, 8)) if chance.random() < 0.03 else None
            came = NOW - (age or timedelta(days=chance.uniform(1, DAYS)))
            first.append((device_id, came))
            span = NOW - came
            times = sorted(came + span * chance.random() for _ in range(2 * FLAPS))
            for off, on in zip(times[::2], times[1::2], strict=True):
                events += [event(device_id, off, "ONLINE", "OFFLINE"), event(device_id, on, "OFFLINE", "ONLINE")]
            ends.append(event(device_id, times[-2], "ONLINE", "OFFLINE"))
            if chance.random() < 0.85:
                back.append(event(device_id, times[-1], "OFFLINE", "ONLINE"))
            if chance.random() < 0.6:
                sent.append(
                    event(
                        device_id, times[-2], "INVITING", "INVITE_SUCCESS", cause=StateCause.MEDIA, channel_id=device_id
                    )
                )
        await add_channels(store, part)
        await asyncio.gather(*(register(store, device_id, came) for device_id, came in first))
        await store.events.append(events)
        await asyncio.gather(*(store.devices.set_state(one) for one in ends))
        await asyncio.gather(*(store.devices.set_state(one) for one in back))
        await store.channels.set_status(sent)
        await store.packets.save(
            {
                ChannelDay(day_of(NOW), one.device_id, one.device_id): Sums(n := chance.randint(1, 10**6), n - n // 100)
                for one in sent
            }
        )


async def register(store: Store, device_id: DeviceId, at: datetime) -> None:
    registration = _registration(device_id)
    object.__setattr__(registration, "registered_at", at)
    await store.devices.save_registration(registration, event(device_id, at, "UNREGISTERED", "ONLINE"))


def event(
    device_id: DeviceId,
    at: datetime,
    before: str,
    after: str,
    *,
    cause: StateCause = StateCause.KEEPALIVE,
    channel_id: str | None = None,
) -> StateEvent:
    return StateEvent(
        at=at,
        project_id=PROJECT,
        device_id=device_id,
        channel_id=None if channel_id is None else ChannelId(channel_id),
        before=before,
        after=after,
        cause=cause,
        detail="",
    )


async def add_channels(store: Store, ids: Sequence[DeviceId]) -> None:
    """One channel a device, written together."""
    common = {"project_id": PROJECT, "created_at": BEGIN, "updated_at": BEGIN}
    stream = {"access_type": "GB28181", "share_type": "PRIVATE", "state": "STOPPED", "description": ""}
    channel = {"name": "", "suffix": "", "status": "ONLINE", "wanted": False, "reported_on": True}

    async def write(connection: Any) -> None:
        rows = [
            {**common, "device_id": i, "channel_id": i, "stream_id": f"stream-{number:08d}"}
            for number, i in enumerate(ids, int(ids[0][-6:]))
        ]
        await connection.execute(
            sa.insert(streams),
            [{**row, **stream, "name": f"channel_{row['device_id']}", "encode_type": ""} for row in rows],
        )
        await connection.execute(
            sa.insert(channels), [{**row, **channel, "tcp_priority": False, "tcp_support": False} for row in rows]
        )

    await store._database.writer.run(write)


async def analyze(store: Store) -> None:
    """What autovacuum would have done by then."""

    async with store._database._readers.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await autocommit.exec_driver_sql("VACUUM ANALYZE")


async def measure(name: str, call: Callable[[], Awaitable[object]]) -> float:
    """Calls one after the other, some to warm up; gives the 99th percentile of the processor time in ms.

    On a busy machine the tail is the others' doing: the processor time of this process, threads and client included,
    says what a call costs.
    """
    for _ in range(5):
        await call()
    took, spent = [], []
    for _ in range(CALLS):
        begin, cpu = time.perf_counter(), time.process_time()
        await call()
        took.append((time.perf_counter() - begin) * 1e3)
        spent.append((time.process_time() - cpu) * 1e3)
    took.sort()
    spent.sort()
    last = CALLS * 99 // 100
    print(
        f"{name:78s} median {took[CALLS // 2]:6.2f} p99 {took[last]:6.2f} ms   "
        f"CPU median {spent[CALLS // 2]:5.2f} p99 {spent[last]:5.2f} ms",
        flush=True,
    )
    return spent[last]


async def of_service(world: World) -> None:
    statistics, scope = world.gateway.statistics, Scope(PROJECT)
    worst = 0.0
    for which in [*DeviceList, RATES]:
        for name, query in FILTERS.items():
            asked = DeviceFilter(
                device_id=query.get("device_id"), state=DeviceState.OFFLINE if "state" in query else None
            )

            async def draw(offset: int, which: str = which, query: Query = query, asked: DeviceFilter = asked) -> int:
                order_by, descending = query.get("order_by", "created_at"), "sort" in query
                page = Page(offset=offset, limit=100, order_by=order_by, descending=descending)
                if which == RATES:
                    return (await statistics.packet_rates(scope, asked, page)).total
                return (await statistics.devices(DeviceList(which), scope, asked, page, NOW))[0].total

            most = max(await draw(0) - 100, 1)

            async def call(draw: Callable[[int], Awaitable[int]] = draw, most: int = most) -> object:
                return await draw(random.randrange(most))

            worst = max(worst, await measure(f"service, {which}, {name}", call))
    print(f"service: worst p99 of processor time {worst:.2f} ms\n", flush=True)


class Client:
    """HTTP/1.1 over one kept connection; reads as much as Content-Length says."""

    def __init__(self, path: Path, token: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        self._path, self._token = path, token

    async def get(self, url: str) -> bytes:
        loop = asyncio.get_running_loop()
        if self._path is not None:
            await loop.sock_connect(self._socket, str(self._path))
            self._path = None
        request = f"GET {url} HTTP/1.1\r\nHost: gateway.example\r\nX-Auth-Token: {self._token}\r\n\r\n"
        await loop.sock_sendall(self._socket, request.encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += await loop.sock_recv(self._socket, 1 << 18)
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), data
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += await loop.sock_recv(self._socket, 1 << 18)
        return body


async def over_http(world: World, path: Path, token: str) -> None:
    async with serve(world, path):
        client, worst = Client(path, token), 0.0
        for which in [*DeviceList, RATES]:
            for name, query in FILTERS.items():

                async def draw(offset: int, which: str = which, query: Query = query) -> bytes:
                    asked = urlencode({"offset": offset, "limit": 100, **query})
                    return await client.get(f"/v1/{PROJECT}/operation/{which}?{asked}")

                total = json.loads(await draw(0))["total"]

                async def call(draw: Callable[[int], Awaitable[bytes]] = draw, most: int = total) -> object:
                    return await draw(random.randrange(max(most - 100, 1)))

                worst = max(worst, await measure(f"HTTP, {which} ({total}), {name}", call))
        print(f"HTTP: worst p99 of processor time {worst:.2f} ms\n", flush=True)


async def changes(store: Store, world: World, ids: Sequence[DeviceId]) -> None:
    """What a change of state costs, and lists while 1,000 devices a second change."""
    begin, cpu = time.perf_counter(), time.process_time()
    some = ids[:20_000]
    await asyncio.gather(*(store.devices.set_state(event(i, NOW, "ONLINE", "OFFLINE")) for i in some))
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    print(f"changes of state: {len(some) / wall:.0f}/s, {cpu / len(some) * 1e6:.0f} us of CPU each", flush=True)
    begin = time.perf_counter()
    await world.rosters.of(PROJECT)
    print(f"{len(some)} changed devices read again in {(time.perf_counter() - begin) * 1e3:.0f} ms", flush=True)
    following = asyncio.create_task(world.rosters.run())

    async def storm() -> None:
        for number in range(0, 10**9, 50):
            part = [ids[(number + i) % len(ids)] for i in range(50)]
            await asyncio.gather(
                *(store.devices.set_state(event(i, NOW + timedelta(seconds=number), "", "ONLINE")) for i in part)
            )
            await asyncio.sleep(0.05)

    task = asyncio.create_task(storm())
    scope, page = Scope(PROJECT), Page(offset=50_000, limit=100, order_by="updated_at", descending=True)

    async def call() -> object:
        await asyncio.sleep(0.01)
        begin = time.perf_counter()
        await world.gateway.statistics.devices(DeviceList.PAST_ONLINE, scope, DeviceFilter(), page, NOW)
        took.append((time.perf_counter() - begin) * 1e3)
        return None

    took: list[float] = []
    for _ in range(CALLS):
        await call()
    took.sort()
    print(f"while up to 1,000 a second change: median {took[CALLS // 2]:.2f} ms, p99 {took[CALLS * 99 // 100]:.2f} ms")
    for one in (task, following):
        one.cancel()


if __name__ == "__main__":
    for backend in sys.argv[1:] or ["sqlite", "postgresql"]:
        uvloop.run(main(backend))
