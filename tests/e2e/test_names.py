"""Catalogues as devices really send them, and names in whatever coding they come."""

import asyncio
import json
from dataclasses import dataclass

import pytest

from gateway.gb28181.charset import Charset
from gateway.simulator.config import ChannelSpec, DeviceSpec
from gateway.simulator.misbehaviour import Misbehaviour
from tests.e2e.cameras import cameras
from tests.e2e.running import DEVICE_PASSWORD, RunningGateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLAIN = ("北门", "停车场 东侧", "Lobby <1> & 2")
RARE = ("𠮷野家门口", "朱镕基路", "仓库㙍")
"""Only GB18030 and UTF-8 can write these."""


@dataclass(frozen=True)
class Case:
    manners: Misbehaviour
    names: tuple[str, ...] = PLAIN


CASES = {
    "gb2312": Case(Misbehaviour(charset=Charset.GB2312)),
    "gb18030": Case(Misbehaviour(charset=Charset.GB18030), RARE),
    "utf-8": Case(Misbehaviour(charset=Charset.UTF_8), RARE),
    "gb18030 that says gb2312": Case(Misbehaviour(charset=Charset.GB18030, declare=Charset.GB2312), RARE),
    "utf-8 that says gb2312": Case(Misbehaviour(charset=Charset.UTF_8, declare=Charset.GB2312)),
    "one item a message": Case(Misbehaviour(one_item=True)),
    "SumNum too small": Case(Misbehaviour(sum_num=2)),
    "each message twice": Case(Misbehaviour(twice=True, one_item=True)),
}


async def names(gateway: RunningGateway, device_id: str) -> list[str]:
    found = await gateway.client.get(f"{gateway.url}/gb/v1/channels", params={"device_id": device_id})
    return sorted(channel["name"] for channel in json.loads(found.content)["channels"])


async def nvr_is_read(gateway: RunningGateway, device_id: str, number: int, case: Case) -> None:
    codes = [f"34020000001310{number:04}{index:02}" for index in range(len(case.names))]
    channels = tuple(ChannelSpec(code, name) for code, name in zip(codes, case.names, strict=True))
    spec = DeviceSpec(device_id, "NVR", channels, DEVICE_PASSWORD, "camera")
    async with cameras(gateway, [spec], misbehaviour=case.manners):
        shown: list[str] = []
        try:
            async with asyncio.timeout(30):
                while shown != sorted(case.names):
                    shown = await names(gateway, device_id)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{case}: {shown}") from None


async def test_catalogues_are_read_and_names_are_right(gateway: RunningGateway) -> None:
    ids = await gateway.provision("NVR", len(CASES))
    async with asyncio.TaskGroup() as tasks:
        for number, (device_id, case) in enumerate(zip(ids, CASES.values(), strict=True), 1):
            tasks.create_task(nvr_is_read(gateway, device_id, number, case))
