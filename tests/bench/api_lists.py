"""How long a page of the device list takes over 100,000 devices: over HTTP, and without the server in between.

python -m tests.bench.api_lists [database URL]
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import httpx

from gateway.devices.model import DeviceState, DeviceType
from gateway.paging import Page
from gateway.scope import Scope
from gateway.store import DeviceFilter, SecretBox, Store
from tests.api.conftest import serve
from tests.api.world import NOW, World
from tests.bench.store_writes import prepare

DEVICES = 100_000
CALLS = 300
CASES = {
    "first page": {"offset": 1, "limit": 100},
    "far page": {"offset": 99_000, "limit": 100},
    "any page by updated_at, descending": {"limit": 100, "order_by": "updated_at", "sort": "DESC"},
    "any page by username": {"limit": 100, "order_by": "username"},
    "state and type": {"limit": 100, "state": "UNREGISTERED", "type": "IPC"},
    "part of an id": {"limit": 100, "device_id": "00123"},
}


async def measure(name: str, call: Callable[[], Awaitable[object]]) -> None:
    """Calls one after the other, some to warm up."""
    for _ in range(10):
        await call()
    took = []
    for _ in range(CALLS):
        begin = time.perf_counter()
        await call()
        took.append((time.perf_counter() - begin) * 1e3)
    took.sort()
    print(f"{name:50s} median {took[CALLS // 2]:6.2f} ms   p99 {took[CALLS * 99 // 100]:6.2f} ms", flush=True)


async def main(url: str) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        secrets = SecretBox.load(Path(folder) / "key")
        async with Store.open(url or f"sqlite:///{folder}/bench.db", secrets=secrets) as store:
            ids = await prepare(store, DEVICES)
            print(f"{len(ids)} devices")
            world = World(store)
            await world.accounts.set_password("admin", "Secret-1234")
            token, granted = await world.accounts.log_in("admin", "Secret-1234", NOW + timedelta(hours=1))
            random.seed(1)
            async with serve(world, Path(folder) / "api.sock") as http:
                await over_http(http, granted.project.project_id, token)
            await in_process(store, granted.project.project_id)


async def over_http(http: httpx.AsyncClient, project_id: str, token: str) -> None:
    """Includes the client, which is slower than the server."""
    for name, query in CASES.items():

        async def call(query: dict[str, object] = query) -> object:
            asked = {"offset": random.randint(1, DEVICES - 1000), **query}
            answer = await http.get(f"/v1/{project_id}/devices", params=asked, headers={"X-Auth-Token": token})
            assert answer.status_code == 200, answer.text
            return answer

        await measure(f"HTTP, {name}", call)


async def in_process(store: Store, project_id: str) -> None:
    wanted = DeviceFilter(type=DeviceType.IPC, state=DeviceState.UNREGISTERED)

    async def call() -> object:
        page = Page(offset=random.randrange(DEVICES - 1000), limit=100)
        return await store.devices.list(Scope(project_id), wanted, page)

    await measure("store alone, state and type", call)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else ""))
