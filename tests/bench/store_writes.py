"""How many durable registrations a second the store takes, and how long each caller waits.

python -m tests.bench.store_writes [database URL]
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.accounts.model import Project, User
from gateway.credentials.model import Credential, CredentialType
from gateway.devices.model import DeviceId, DeviceState, DeviceType, Registration, StateCause, StateEvent
from gateway.store import NewDevices, SecretBox, Store

DEVICES = 20_000
CALLERS = 200
NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
PROJECT = "a" * 32


async def prepare(store: Store, quantity: int) -> Sequence[DeviceId]:
    """One project with `quantity` devices."""
    project = Project(project_id=PROJECT, name="default", created_at=NOW, subscribed_at=None, quotas={})
    user = User(user_id="1" * 32, name="admin", project_id=PROJECT, created_at=NOW)
    await store.accounts.first_start(project, user, "hash")
    credential = Credential(
        username="0100",
        project_id=PROJECT,
        type=CredentialType.NORMAL,
        password="Secret-1234",
        description="",
        created_at=NOW,
        updated_at=NOW,
    )
    await store.credentials.add(credential, quota=10)
    ids: list[DeviceId] = []
    for number in range(0, quantity, 1000):
        at = NOW + timedelta(seconds=number)
        new = NewDevices(project_id=PROJECT, type=DeviceType.IPC, credential="0100", suffix="", description="", at=at)
        ids += await store.devices.create(new, domain="3402000000", quantity=1000, quota=quantity)
    return ids


async def register(store: Store, device_ids: Sequence[DeviceId], waited: list[float]) -> None:
    """What the registrar writes, one device after the other."""
    for device_id in device_ids:
        begin = time.perf_counter()
        await store.devices.save_registration(_registration(device_id), _online(device_id))
        waited.append(time.perf_counter() - begin)


async def main(url: str) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        async with Store.open(url or f"sqlite:///{folder}/bench.db", secrets=SecretBox.load(Path(folder) / "key")) as s:
            ids = await prepare(s, DEVICES)
            for callers in (1, CALLERS):
                part = ids[: DEVICES if callers > 1 else 500]
                waited: list[float] = []
                commits, cpu, begin = s.writer.commits, time.process_time(), time.perf_counter()
                await asyncio.gather(*(register(s, part[number::callers], waited) for number in range(callers)))
                wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
                waited.sort()
                median, p99 = waited[len(waited) // 2] * 1e3, waited[len(waited) * 99 // 100] * 1e3
                print(
                    f"{callers:4d} callers: {len(part) / wall:8.0f} registrations/s, "
                    f"{cpu / len(part) * 1e6:6.0f} us CPU each, "
                    f"{len(part) / (s.writer.commits - commits):6.1f} a commit, "
                    f"wait median {median:.2f} ms, p99 {p99:.2f} ms"
                )
            begin = time.perf_counter()
            await s.devices.touch(dict.fromkeys(ids, NOW))
            print(f"last seen of {len(ids)} devices written in {(time.perf_counter() - begin) * 1e3:.0f} ms")
            begin = time.perf_counter()
            found = [pair async for pair in s.devices.load_registrations()]
            print(f"{len(found)} registrations loaded in {(time.perf_counter() - begin) * 1e3:.0f} ms")


def _registration(device_id: DeviceId) -> Registration:
    return Registration(
        device_id=device_id,
        contact=f"sip:{device_id}@198.51.100.7:5060",
        transport="UDP",
        remote_host="198.51.100.7",
        remote_port=5060,
        local_host="192.0.2.1",
        local_port=5080,
        call_id="1@198.51.100.7",
        cseq=2,
        registered_at=NOW,
        expires_at=NOW + timedelta(days=1),
        last_seen_at=NOW,
        keepalive_interval=None,
    )


def _online(device_id: DeviceId) -> StateEvent:
    return StateEvent(
        at=NOW,
        project_id=PROJECT,
        device_id=device_id,
        channel_id=None,
        before=DeviceState.OFFLINE.value,
        after=DeviceState.ONLINE.value,
        cause=StateCause.REGISTER,
        detail="",
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else ""))
