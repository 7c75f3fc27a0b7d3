"""A fleet of simulated devices against one SIP server."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Self

from gateway.clock import utc_now
from gateway.simulator.clip import ClipSource, clip
from gateway.simulator.config import DeviceSpec, FleetConfig, Server
from gateway.simulator.device import Attachment, Device, Shared
from gateway.simulator.events import EventKind, FleetEvent, FleetFigures, OnEvent
from gateway.simulator.live import LiveSource
from gateway.simulator.model import Source
from sip.endpoint import Endpoint
from sip.flow import Address, Flow
from sip.incoming import Incoming
from sip.outgoing import IncomingCall
from sip.transport import Listen

USER_AGENT = "Simulated-Device/1.0"
LEAVE_TIMEOUT = 5.0
PRIVATE_ADDRESS = Address("192.168.1.64", 5060)


class Fleet:
    """An async context manager: devices register after it is entered, end their calls and unregister when it is left.

    `on_event` is called within the loop and must be quick. `figures` may be read at any time. `now` tells the time of
    day, `seed` decides everything random.
    """

    def __init__(
        self,
        config: FleetConfig,
        on_event: OnEvent = lambda _event: None,
        *,
        now: Callable[[], datetime] = utc_now,
        seed: int | None = None,
    ) -> None:
        self.figures = FleetFigures(devices=len(config.devices))
        self._config = config
        self._random = Random(seed)
        self._shared = Shared(config, self.figures, on_event, self._source, now, self._random)
        self._devices = [Device(spec, self._shared, number) for number, spec in enumerate(config.devices)]
        self._by_id = {code: device for device in self._devices for code in _identities(device.spec)}
        self._names = {channel.id: channel.name for spec in config.devices for channel in spec.channels}
        self._stack = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None
        self._server = config.server

    async def __aenter__(self) -> Self:
        """Opens the sockets; OSError if the server cannot be reached over TCP or the local address is not ours."""
        await self._stack.__aenter__()
        try:
            self._server = await _resolve(self._config.server)
            if not self._config.live and self._devices:
                await asyncio.to_thread(clip, self._config.clip)
            shared = await self._attach() if self._config.shared_socket else None
            for device in self._devices:
                device.attachment = shared or await self._attach()
        except BaseException:
            await self._stack.aclose()
            raise
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await asyncio.gather(*(device.leave() for device in self._devices))
        except TimeoutError:
            pass
        finally:
            await self._stack.aclose()

    async def wait(self) -> None:
        """Waits until the fleet fails, which it does only by a bug of ours; raises what it failed with."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        """Starts the devices one after another, so that a big fleet is no flood unless asked for."""
        async with asyncio.TaskGroup() as tasks:
            for device in self._devices:
                tasks.create_task(device.run())
                if self._config.misbehaviour.port_change is not None:
                    tasks.create_task(self._move(device, self._config.misbehaviour.port_change))
                await asyncio.sleep(1 / self._config.starts_per_s)

    async def _move(self, device: Device, every_s: float) -> None:
        """As behind a NAT that forgets: requests leave from a new port; the old one still hears."""
        while True:
            await asyncio.sleep(every_s)
            device.attachment = await self._attach()
            self._shared.on_event(FleetEvent(EventKind.MOVED, device.spec.id, str(device.attachment.flow.local)))

    async def _attach(self) -> Attachment:
        """A SIP socket and the way to the server."""
        config = self._config
        host = config.host or _local_host(self._server.host, self._server.port)
        endpoint = Endpoint([Listen(config.transport, host, 0)], user_agent=USER_AGENT, advertise=self._advertise())
        endpoint.on("MESSAGE", self._on_message)
        endpoint.on_invite(self._on_call)
        await self._stack.enter_async_context(endpoint)
        flow = await endpoint.flow_to(config.transport, self._server.host, self._server.port)
        return Attachment(endpoint, flow, host)

    def _advertise(self) -> Callable[[Flow], Address] | None:
        return (lambda _flow: PRIVATE_ADDRESS) if self._config.misbehaviour.private_contact else None

    async def _on_message(self, incoming: Incoming) -> None:
        request = incoming.request
        device = self._find(request.uri.user, request.to.uri.user)
        if device is None:
            incoming.respond(404)
        else:
            await device.handle_message(incoming)

    async def _on_call(self, call: IncomingCall) -> None:
        channel_id = call.request.uri.user or ""
        device = self._find(channel_id, call.request.to.uri.user)
        if device is None:
            call.reject(404)
        else:
            await device.handle_call(call, channel_id)

    def _find(self, *identities: str | None) -> Device | None:
        return next((self._by_id[code] for code in identities if code in self._by_id), None)

    async def _source(self, channel_id: str) -> Source:
        """Pictures and sound of a channel: a clip that all share, or one's own with the time of day."""
        spec = self._config.clip
        if not self._config.live or spec.file is not None:
            return ClipSource(await asyncio.to_thread(clip, spec))
        return await LiveSource.open(replace(spec, label=self._names.get(channel_id, "")), self._shared.now)


def _identities(spec: DeviceSpec) -> tuple[str, ...]:
    return (spec.id, *(channel.id for channel in spec.channels))


async def _resolve(server: Server) -> Server:
    """The server with a numeric host."""
    found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
    return replace(server, host=str(found[0][4][0]))


def _local_host(host: str, port: int) -> str:
    """Our address as the way to the server has it; nothing is sent."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        local: str = probe.getsockname()[0]
        return local


async def run_fleet(config: FleetConfig, on_event: OnEvent, *, seconds: float | None = None) -> FleetFigures:
    """Runs a fleet for so long (None: until cancelled) and gives its figures."""
    async with Fleet(config, on_event) as fleet:
        try:
            async with asyncio.timeout(seconds):
                await fleet.wait()
        except TimeoutError:
            pass
    return fleet.figures
