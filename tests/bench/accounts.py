"""What letting somebody in costs, and what restricted users' lists cost over 100,000 devices.

python -m tests.bench.accounts [database URL]
"""

import asyncio
import hashlib
import os
import random
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from argon2 import PasswordHasher

from gateway.accounts.groups import Groups
from gateway.accounts.model import Token
from gateway.accounts.passwords import Passwords
from gateway.accounts.quotas import Quotas
from gateway.accounts.service import Accounts
from gateway.accounts.signing import read, verify
from gateway.audit.entry import Entry
from gateway.paging import Page
from gateway.scope import Scope
from gateway.settings import DEFAULT_QUOTAS
from gateway.store import DeviceFilter, SecretBox, Store, StreamFilter
from gateway.store.secrets import digest
from tests.bench.api_lists import DEVICES, measure
from tests.bench.store_writes import NOW, PROJECT, prepare
from tests.gateway.accounts.test_signing import FIRST, SECRET
from tests.gateway.accounts.test_signing import NOW as SIGNED_AT

TOKENS = 10_000
GROUPS = {"100 devices": 100, "50,000 devices": 50_000}


async def main(url: str) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        secrets = SecretBox.load(Path(folder) / "key")
        async with Store.open(url or f"sqlite:///{folder}/bench.db", secrets=secrets) as store:
            ids = await prepare(store, DEVICES)
            await lists(store, ids)
            await tokens(store)
            await audit(store)
            signatures()


async def lists(store: Store, ids: list[str]) -> None:
    random.seed(1)
    scopes = {"everything": Scope(PROJECT)}
    groups = Groups(store)
    for name, size in GROUPS.items():
        group = await groups.add(PROJECT, name, "", NOW)
        inside = random.sample(ids, size)
        for start in range(0, size, 10_000):
            await groups.put_devices(PROJECT, group.group_id, add=inside[start : start + 10_000], remove=())
        scopes[f"a group of {name}"] = Scope(PROJECT, frozenset({group.group_id}))
    for name, scope in scopes.items():
        total = (await store.devices.list(scope, DeviceFilter(), Page(offset=0, limit=1))).total

        async def devices(scope: Scope = scope, total: int = total) -> object:
            page = Page(offset=random.randrange(max(1, total - 100)), limit=100)
            return await store.devices.list(scope, DeviceFilter(), page)

        async def streams(scope: Scope = scope) -> object:
            return await store.streams.list(scope, StreamFilter(), Page(offset=0, limit=100))

        await measure(f"page of devices, {name}", devices)
        await measure(f"page of streams (there are none), {name}", streams)


async def tokens(store: Store) -> None:
    cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    accounts = Accounts(store, Quotas(DEFAULT_QUOTAS), passwords=cheap)
    access = await store.accounts.access("1" * 32)
    assert access is not None
    lent = Token(
        user=access.user, project=access.project, role=access.role, issued_at=NOW, expires_at=NOW + timedelta(days=1)
    )
    await asyncio.gather(*(store.accounts.add_token(digest(f"token {number}"), lent) for number in range(TOKENS)))

    async def check() -> object:
        return await accounts.verify(f"token {random.randrange(TOKENS)}", NOW)

    await measure(f"a token among {TOKENS}", check)


async def audit(store: Store) -> None:
    entry = Entry(
        at=NOW,
        project_id=PROJECT,
        user_id="1" * 32,
        user_name="admin",
        proof="token 0123456789abcdef",
        address="198.51.100.7",
        call="PUT /v1/{project_id}/devices/{device_id}/channels/{channel_id}",
        target={"device_id": "34020000001320000001", "channel_id": "34020000001310000001"},
        changes={"state": "ACTIVE"},
        status=200,
    )

    async def lone() -> None:
        await store.audit.append(entry)

    async def crowd() -> None:
        await asyncio.gather(*(store.audit.append(entry) for _ in range(100)))

    await measure("one audit entry", lone)
    await measure("100 audit entries at once", crowd)


def signatures() -> None:
    empty, begin, times = hashlib.sha256(b"").hexdigest(), time.perf_counter(), 2_000
    for _ in range(times):
        verify(read(FIRST, SIGNED_AT), SECRET, empty, is_empty=True)
    print(f"{'a signature, without key and body':50s} {(time.perf_counter() - begin) / times * 1e6:.0f} µs")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else ""))
