"""`gateway inspect`: explains a capture, a program stream file or a live channel, on the screen or as JSON."""

import json as plain_json
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import typer
from rich.console import Console

from gateway.commands.access import local_access
from gateway.commands.options import ConfigFile, Overrides, load, told
from gateway.inspect.analyzer import inspect_file
from gateway.inspect.capture import CaptureError
from gateway.inspect.live import LiveError, LiveGateway, show_diagnosis
from gateway.inspect.render import render
from gateway.inspect.report import CaptureReport
from gateway.settings import Settings

LIVE = "Live channel"


def inspect(
    file: Annotated[
        Path | None, typer.Argument(help="A .pcap, .pcapng or .ps file.", exists=True, dir_okay=False)
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    fields: Annotated[bool, typer.Option(help="Explain the first elements field by field.")] = True,
    channel: Annotated[
        str, typer.Option(help="DEVICE/CHANNEL, or the channel's id if unique.", rich_help_panel=LIVE)
    ] = "",
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="How long to listen.", rich_help_panel=LIVE)] = 5.0,
    save: Annotated[
        Path | None, typer.Option(help="Keep the packets in this .pcap file.", dir_okay=False, rich_help_panel=LIVE)
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="GATEWAY_URL", help="The gateway; else the local one.", rich_help_panel=LIVE)
    ] = "",
    token: Annotated[str, typer.Option(envvar="GATEWAY_TOKEN", help="A token of it.", rich_help_panel=LIVE)] = "",
    user: Annotated[str, typer.Option(envvar="GATEWAY_USER", help="Or a user …", rich_help_panel=LIVE)] = "",
    password: Annotated[
        str, typer.Option(envvar="GATEWAY_PASSWORD", help="… with the password.", rich_help_panel=LIVE)
    ] = "",
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Explain a capture, a program stream, or what a live channel sends: calls, RTP, structure, codecs, oddities.

    For a live channel without --token or --user the local gateway's settings and database give access.
    """
    if (file is None) == (not channel):
        raise typer.BadParameter("give either a file or --channel")
    if file is not None:
        with file.open("rb") as opened:
            show(_inspect(opened, file.name), json=json, fields=fields)
        return
    with (
        told(),
        _access(load(config, overrides), channel, url=url, token=token, user=user, password=password) as (
            gateway,
            found,
        ),
    ):
        _live(gateway, *found, seconds=seconds, save=save, json=json, fields=fields)


def show(report: CaptureReport, *, json: bool, fields: bool = True, console: Console | None = None) -> None:
    """Prints a report, as text or as one line of JSON."""
    if json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        render(report, console or Console(), fields=fields)


Access = tuple[LiveGateway, tuple[str, str]]
"""The gateway, and the device and the channel that are meant."""


def _access(
    settings: Settings, channel: str, *, url: str, token: str, user: str, password: str
) -> AbstractContextManager[Access]:
    if not token and not user:
        return local_access(settings, url, channel)
    address = url or settings.local_url
    gateway = LiveGateway(address, token) if token else LiveGateway.log_in(address, user, password)
    return nullcontext((gateway, gateway.find(channel)))


def _live(
    gateway: LiveGateway,
    device_id: str,
    channel_id: str,
    *,
    seconds: float,
    save: Path | None,
    json: bool,
    fields: bool,
) -> None:
    """The call first, for it explains why nothing comes; then what came."""
    name = f"{device_id}/{channel_id}"
    with save.open("w+b") if save is not None else tempfile.TemporaryFile() as capture:
        report, refused = None, None
        try:
            gateway.packets(device_id, channel_id, seconds, capture)
        except LiveError as error:
            refused = error
        diagnosis = gateway.diagnosis(device_id, channel_id)
        if refused is None:
            capture.seek(0)
            report = _inspect(capture, name)
    if json:
        found = None if report is None else msgspec.to_builtins(report, str_keys=True)
        typer.echo(plain_json.dumps({"diagnosis": diagnosis, "report": found}, ensure_ascii=False))
    else:
        show_diagnosis(diagnosis, Console(highlight=False))
        if report is not None:
            show(report, json=False, fields=fields)
    if refused is not None:
        raise refused


def _inspect(file: BinaryIO, name: str) -> CaptureReport:
    try:
        return inspect_file(file, name)
    except CaptureError as error:
        typer.echo(f"{name}: {error}", err=True)
        raise typer.Exit(1) from None
