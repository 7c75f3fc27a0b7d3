"""kill -9 at any time loses nothing that was acknowledged."""

import asyncio
import sys
from pathlib import Path

from gateway.devices.model import DeviceState
from gateway.store import Store
from tests.gateway.store.test_devices import DOMAIN, new

DEVICES = 2000
ROOT = Path(__file__).parents[3]


async def test_what_was_acknowledged_is_there_after_kill_9(url: str, tmp_path: Path, store: Store) -> None:
    ids = await store.devices.create(new(), domain=DOMAIN, quantity=DEVICES, quota=DEVICES)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.gateway.store.durability_writer",
        url,
        str(tmp_path / "secret.key"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(f"{device_id}\n" for device_id in ids).encode())
    process.stdin.close()
    acknowledged = [await process.stdout.readline() for _ in range(100)]
    process.kill()
    acknowledged += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    told = {line.decode().strip() for line in acknowledged if line.endswith(b"\n")}
    assert 100 <= len(told) < DEVICES
    found = [device async for device, _ in store.devices.load_registrations()]
    assert {device.state for device in found} == {DeviceState.ONLINE}
    assert told <= {device.device_id for device in found}
