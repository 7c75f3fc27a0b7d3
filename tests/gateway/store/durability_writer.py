"""Registers devices and says on standard output which are durable; run by `test_durability` until it is killed."""

import asyncio
import sys
from pathlib import Path

from gateway.devices.model import DeviceId
from gateway.store import SecretBox, Store
from tests.gateway.store.test_devices import online, registration


async def register(store: Store, device_ids: list[DeviceId]) -> None:
    for device_id in device_ids:
        await store.devices.save_registration(registration(device_id), online(device_id))
        sys.stdout.write(f"{device_id}\n")
        sys.stdout.flush()


async def main(url: str, key: Path) -> None:
    ids = [DeviceId(line.strip()) for line in sys.stdin]
    async with Store.open(url, secrets=SecretBox.load(key)) as store:
        await asyncio.gather(*(register(store, ids[number::20]) for number in range(20)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
