"""`gateway simulate`: a fleet of devices against any SIP server, with figures on the screen or as JSON lines."""

import asyncio
import contextlib
import signal
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.simulator.clip import ClipError, ClipSpec, clip
from gateway.simulator.config import ConfigError, FleetConfig, Server, parse_nvrs, plan_devices
from gateway.simulator.events import FleetEvent, FleetFigures
from gateway.simulator.fleet import Fleet
from gateway.simulator.misbehaviour import MisbehaviourError, describe, parse_misbehaviour
from gateway.simulator.model import AudioCodec, VideoCodec
from gateway.simulator.rtp_sender import MediaTransport

EVENTS_SHOWN = 15
REFRESH_S = 0.5


def simulate(
    *,
    server: Annotated[str, typer.Option(help="The platform, as sip:ID@host:port.")],
    password: Annotated[str, typer.Option(envvar="GATEWAY_SIMULATE_PASSWORD", help="Password of all devices.")],
    username: Annotated[str, typer.Option(help="Digest user name; by default each device's ID.")] = "",
    ipc: Annotated[int, typer.Option(min=0, help="IPCs, each its own only channel.")] = 1,
    nvr: Annotated[str, typer.Option(help="NVRs × channels: 2x4, or 4,16 for one of 4 and one of 16.")] = "",
    first: Annotated[int, typer.Option(min=1, help="Serial number of the first device.")] = 1,
    sip: Annotated[str, typer.Option(help="Transport of SIP: udp or tcp.")] = "udp",
    media: Annotated[str, typer.Option(help="Media transports that calls may use.")] = "udp,tcp_active,tcp_passive",
    codec: Annotated[VideoCodec, typer.Option(help="Video.")] = VideoCodec.H264,
    audio: Annotated[str, typer.Option(help="aac, g711a, g711u or none.")] = "g711a",
    size: Annotated[str, typer.Option(help="Picture size.")] = "640x360",
    fps: Annotated[int, typer.Option(min=1, max=60)] = 15,
    gop: Annotated[int, typer.Option(min=1, help="Pictures from key frame to key frame.")] = 30,
    bitrate: Annotated[int, typer.Option(min=16, help="Video, kbit/s.")] = 512,
    file: Annotated[Path | None, typer.Option(help="Take pictures and sound from a file.", exists=True)] = None,
    live: Annotated[bool, typer.Option(help="Encode while sending, with the time of day burnt in.")] = False,
    misbehave: Annotated[str, typer.Option(help="For example loss=1%,reorder=2%,silent=30s,one_item.")] = "",
    expires: Annotated[int, typer.Option(min=1, help="Seconds that a registration is asked for.")] = 3600,
    keepalive: Annotated[float, typer.Option(min=0.1, help="Seconds between keepalives.")] = 60.0,
    shared_socket: Annotated[bool, typer.Option(help="One SIP socket for all devices.")] = False,
    seconds: Annotated[float | None, typer.Option(help="Stop after so long; else at Ctrl-C.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print events and the final figures as JSON lines.")] = False,
) -> None:
    """Run simulated devices that register, answer queries and send video."""
    try:
        target = Server.parse(server)
        width, height = _size(size)
        content = ClipSpec(
            video=codec,
            audio=None if audio == "none" else AudioCodec(audio),
            width=width,
            height=height,
            fps=fps,
            gop=gop,
            bitrate_bps=bitrate * 1000,
            file=file,
        )
        devices = plan_devices(
            target, ipcs=ipc, nvrs=parse_nvrs(nvr), password=password, username=username, first=first
        )
        config = FleetConfig(
            target,
            devices,
            sip.upper(),
            media=frozenset(MediaTransport(name.strip()) for name in media.split(",")),
            clip=content,
            live=live,
            misbehaviour=parse_misbehaviour(misbehave),
            expires_s=expires,
            keepalive_s=keepalive,
            shared_socket=shared_socket,
        )
        if file is not None:
            clip(content)
    except (ConfigError, MisbehaviourError, ClipError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if json:
        asyncio.run(_run_json(config, seconds))
    else:
        asyncio.run(_run_screen(config, seconds))


def _size(text: str) -> tuple[int, int]:
    """Reads `640x360`; encoders want even numbers."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) % 2 == 0 and int(height) % 2 == 0):
        raise ConfigError(f"{text!r} is not of the form 640x360 with even numbers")
    return int(width), int(height)


def _stop_event() -> asyncio.Event:
    """Set by Ctrl-C or SIGTERM, so that devices say goodbye."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _until(stop: asyncio.Event, seconds: float | None) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def _run_json(config: FleetConfig, seconds: float | None) -> None:
    def show(event: FleetEvent) -> None:
        typer.echo(msgspec.json.encode(event).decode())

    stop = _stop_event()
    async with Fleet(config, show) as fleet:
        await _until(stop, seconds)
    sums = {"packets_sent": fleet.figures.packets_sent, "bytes_sent": fleet.figures.bytes_sent}
    typer.echo(msgspec.json.encode(asdict(fleet.figures) | sums).decode())


async def _run_screen(config: FleetConfig, seconds: float | None) -> None:
    events: deque[FleetEvent] = deque(maxlen=EVENTS_SHOWN)
    stop = _stop_event()
    async with Fleet(config, events.append) as fleet:
        with Live(console=Console(), auto_refresh=False) as screen:
            waiting = asyncio.create_task(_until(stop, seconds))
            while not waiting.done():
                screen.update(_screen(config, fleet.figures, events), refresh=True)
                await asyncio.wait({waiting}, timeout=REFRESH_S)


def _screen(config: FleetConfig, figures: FleetFigures, events: deque[FleetEvent]) -> RenderableType:
    server = config.server
    head = (
        f"{figures.registered} of {figures.devices} devices registered with {server.id} at {server.host}:{server.port}"
    )
    table = Table.grid(padding=(0, 2))
    table.add_row("registrations", f"{figures.registrations} ({figures.register_failures} failed)")
    table.add_row("keepalives", f"{figures.keepalives} ({figures.keepalives_lost} unanswered)")
    table.add_row("queries, commands", f"{figures.queries}, {figures.commands}")
    table.add_row("invitations", f"{figures.invitations} ({figures.refused} refused), {figures.streaming} streaming")
    table.add_row("sent", f"{figures.packets_sent} packets, {figures.bytes_sent / 1e6:.1f} MB")
    if wrong := describe(config.misbehaviour):
        table.add_row("misbehaviour", wrong)
    lines = [Text(f"{event.device_id}  {event.kind.value}  {event.detail}") for event in events]
    return Group(Text(head, style="bold"), table, *lines)
