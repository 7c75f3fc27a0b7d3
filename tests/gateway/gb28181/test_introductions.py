"""Devices are asked in turn, and each waits for its turn once."""

import asyncio
from collections.abc import Callable
from typing import cast

from gateway.devices.model import DeviceId, DeviceState, DeviceType
from gateway.devices.presence import DevicePresence, Patience
from gateway.gb28181.catalogue_service import CatalogueService
from gateway.gb28181.directory import Directory, RegisteredDevice
from gateway.gb28181.introductions import Introductions
from gateway.gb28181.query_service import DeviceInquiry
from tests.gateway.gb28181.conftest import CAMERA
from tests.gateway.store.samples import PROJECT


async def planned_again(introductions: Introductions, device: RegisteredDevice, fired: Callable[[], bool]) -> None:
    introductions.came_online(device)
    async with asyncio.timeout(2):
        while not fired():  # noqa: ASYNC110  (nobody there would set an event for a test)
            await asyncio.sleep(0.005)


async def test_a_device_that_comes_again_and_again_waits_once() -> None:
    directory = Directory(Patience())
    device = RegisteredDevice(DeviceId(CAMERA), PROJECT, DeviceType.IPC, DevicePresence(Patience(), DeviceState.ONLINE))
    directory.add(device)
    introductions = Introductions(
        directory, cast("DeviceInquiry", None), cast("CatalogueService", None), random=lambda: 0.0
    )  # nobody works: all turns are taken
    for _ in range(5):
        await planned_again(introductions, device, lambda: not introductions._planned)
    assert introductions.waiting == 1
    introductions.close()
