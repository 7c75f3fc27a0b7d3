"""The demonstration: an IPC and an NVR with 4 channels, simulated by a process of their own.

They register like any device and are invited once, when they are made; who cancels or deletes them has them cancelled
or deleted. The child ends with its standard input, so none outlives the gateway.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import structlog

from gateway.accounts.model import Project
from gateway.accounts.passwords import generate
from gateway.accounts.service import FIRST_PROJECT
from gateway.app import App
from gateway.clock import utc_now
from gateway.credentials.model import CredentialType
from gateway.devices.model import Channel, DeviceId, DeviceType, StateEvent
from gateway.errors import GatewayError
from gateway.gb28181.notices import CatalogueChanged, Notice

log = structlog.get_logger(__name__)

USERNAME: Final = "demo"
CHANNELS: Final = 4
RESTART_SECONDS: Final = 5.0
STATE_FILE: Final = "demo.json"


@dataclass(frozen=True, slots=True)
class DemoDevices:
    """The ids of the two devices."""

    ipc: str
    nvr: str


@dataclass(frozen=True, slots=True)
class ChildOrder:
    """What the child is told on its standard input."""

    server: str
    domain: str
    ipc: str | None
    nvr: str | None
    password: str


async def start(app: App) -> None:
    """Makes the devices at the first start, and sees to it that they run. Failing, it only says so."""
    try:
        await _start(app)
    except GatewayError as error:
        log.warning("no demonstration devices", error=str(error))


async def _start(app: App) -> None:
    file = app.settings.data_dir / STATE_FILE
    project = next(p for p in await app.accounts.all_projects() if p.name == FIRST_PROJECT)
    if await asyncio.to_thread(file.exists):
        devices = DemoDevices(**json.loads(await asyncio.to_thread(file.read_text)))
    else:
        devices = await _make(app, project, file)
        app.server.notices.listen(_Inviter(app, devices).handle)
    provisions = [await app.store.devices.provision(DeviceId(code)) for code in (devices.ipc, devices.nvr)]
    ipc, nvr = provisions
    known = next((provision for provision in provisions if provision is not None), None)
    if known is None:
        return  # both were deleted
    host, port = app.settings.sip.host, app.sip_address.port
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 RUF100 - the wildcards, to be replaced
    order = ChildOrder(
        server=f"sip:{app.settings.sip.id}@{f'[{near}]' if ':' in near else near}:{port}",
        domain=app.settings.sip.domain,
        ipc=None if ipc is None else ipc.device_id,
        nvr=None if nvr is None else nvr.device_id,
        password=known.password,
    )
    app.background.spawn(_keep_running(order), "demonstration devices")


async def _make(app: App, project: Project, file: Path) -> DemoDevices:
    now = utc_now()
    password = f"{generate()}-Demo1"[-32:]
    await app.credentials.create(
        project,
        username=USERNAME,
        type_=CredentialType.NORMAL,
        password=password,
        description="of the simulated devices",
        at=now,
    )
    ids = []
    for type_ in (DeviceType.IPC, DeviceType.NVR):
        made = await app.devices.create(
            project, type_=type_, username=USERNAME, description="simulated, for the demonstration", at=now
        )
        ids.append(made[0])
    devices = DemoDevices(*ids)
    await asyncio.to_thread(file.write_text, json.dumps(asdict(devices)))
    return devices


class _Inviter:
    """Invites the channels of the demonstration when they are first heard of."""

    def __init__(self, app: App, devices: DemoDevices) -> None:
        self._app = app
        self._devices = {devices.ipc, devices.nvr}

    def handle(self, notice: Notice) -> Sequence[StateEvent]:
        if isinstance(notice, CatalogueChanged) and notice.device_id in self._devices:
            for channel in notice.change.added:
                self._app.background.spawn(self._invite(channel), f"invite {channel.channel_id}")
        return ()

    async def _invite(self, channel: Channel) -> None:
        try:
            await self._app.invitations.invite(channel)
        except GatewayError as error:
            log.warning("demonstration channel not invited", channel=channel.channel_id, error=str(error))


async def _keep_running(order: ChildOrder) -> None:
    while True:
        try:
            await _run(order)
        except OSError as error:  # no memory for a process: the cameras go on without a demonstration
            log.warning("the demonstration devices were not started", error=str(error))
        await asyncio.sleep(RESTART_SECONDS)


async def _run(order: ChildOrder) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.demo", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        assert child.stdin is not None
        child.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        status = await child.wait()
        log.warning("the demonstration devices ended", status=status)
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()


async def _run_child(order: ChildOrder) -> None:
    """The child's own life: both devices until standard input ends."""
    from gateway.simulator.clip import ClipSpec  # noqa: PLC0415  (PyAV is loaded in the child alone)
    from gateway.simulator.config import ChannelSpec, DeviceSpec, FleetConfig, Server  # noqa: PLC0415
    from gateway.simulator.fleet import Fleet  # noqa: PLC0415
    from gateway.simulator.model import AudioCodec, VideoCodec  # noqa: PLC0415

    parsed = Server.parse(order.server)
    server = Server(parsed.id, parsed.host, parsed.port, order.domain)
    fleets = []
    if order.ipc is not None:
        channel = ChannelSpec(order.ipc, "Demo IPC")
        spec = DeviceSpec(order.ipc, "Demo IPC", (channel,), order.password, USERNAME)
        clip = ClipSpec(VideoCodec.H264, AudioCodec.AAC, 1280, 720, fps=15, gop=30, bitrate_bps=1_500_000)
        fleets.append(Fleet(FleetConfig(server, (spec,), clip=clip, live=True)))
    if order.nvr is not None:
        codes = [f"{order.nvr[:10]}1310{order.nvr[14:18]}{number:02}" for number in range(1, CHANNELS + 1)]
        channels = tuple(ChannelSpec(code, f"Demo NVR {number}") for number, code in enumerate(codes, 1))
        spec = DeviceSpec(order.nvr, "Demo NVR", channels, order.password, USERNAME)
        clip = ClipSpec(VideoCodec.H264, AudioCodec.G711A, 640, 360, fps=15, gop=30)
        fleets.append(Fleet(FleetConfig(server, (spec,), clip=clip, live=True)))
    async with AsyncExitStack() as stack:
        for fleet in fleets:
            await stack.enter_async_context(fleet)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_run_child(ChildOrder(**json.loads(sys.stdin.readline()))))
