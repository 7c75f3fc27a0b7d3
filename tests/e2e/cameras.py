"""Simulated devices for a running gateway, and a witness of what happens to them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.simulator.clip import ClipSpec
from gateway.simulator.config import ChannelSpec, DeviceSpec, FleetConfig, Server
from gateway.simulator.events import EventKind, FleetEvent, FleetFigures
from gateway.simulator.fleet import Fleet
from tests.e2e.running import DEVICE_PASSWORD, DOMAIN, SERVER_ID, RunningGateway

SMALL = ClipSpec(width=320, height=180, fps=10, gop=10, bitrate_bps=200_000)
"""Pictures that cost little: 8 s, a key frame each second."""


@dataclass
class Cameras:
    """Devices that run, and all they told since."""

    specs: tuple[DeviceSpec, ...]
    fleet: Fleet
    events: list[FleetEvent] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def figures(self) -> FleetFigures:
        return self.fleet.figures

    def note(self, event: FleetEvent) -> None:
        self.events.append(event)
        self._news.set()

    def count(self, kind: EventKind, identity: str | None = None) -> int:
        return sum(event.kind is kind and identity in {None, event.device_id} for event in self.events)

    async def wait_for(
        self, kind: EventKind, identity: str | None = None, *, count: int = 1, seconds: float = 30.0
    ) -> None:
        """Until it happened so often."""
        try:
            async with asyncio.timeout(seconds):
                while self.count(kind, identity) < count:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(
                f"{kind} came {self.count(kind, identity)} times, not {count}: {self.events}"
            ) from None


def ipc(device_id: str, name: str = "Gate", password: str = DEVICE_PASSWORD, username: str = "camera") -> DeviceSpec:
    return DeviceSpec(device_id, name, (ChannelSpec(device_id, name),), password, username)


@asynccontextmanager
async def cameras(gateway: RunningGateway, specs: Sequence[DeviceSpec], **manners: Any) -> AsyncIterator[Cameras]:
    """Runs the devices; `manners` are fields of `FleetConfig`, pictures are small unless a clip is named."""
    told: list[Cameras] = []

    def tell(event: FleetEvent) -> None:
        told[0].note(event)

    server = Server(SERVER_ID, "127.0.0.1", gateway.sip_port, DOMAIN)
    config = FleetConfig(devices=tuple(specs), **{"server": server, "host": "127.0.0.1", "clip": SMALL, **manners})
    fleet = Fleet(config, tell, seed=1)
    told.append(Cameras(config.devices, fleet))
    async with fleet:
        yield told[0]


@asynccontextmanager
async def ipcs(gateway: RunningGateway, quantity: int = 1, **manners: Any) -> AsyncIterator[tuple[Cameras, list[str]]]:
    """IPCs that are made by the API and are online."""
    ids = await gateway.provision("IPC", quantity)
    async with cameras(gateway, [ipc(device_id) for device_id in ids], **manners) as running:
        for device_id in ids:
            await gateway.wait_for(device_id, "ONLINE")
        yield running, ids
