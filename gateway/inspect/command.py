"""`gateway inspect FILE`: explains a capture or a program stream file on the screen or as JSON."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from gateway.inspect.analyzer import inspect_file
from gateway.inspect.capture import CaptureError
from gateway.inspect.render import render
from gateway.inspect.report import CaptureReport


def inspect(
    file: Annotated[Path, typer.Argument(help="A .pcap, .pcapng or .ps file.", exists=True, dir_okay=False)],
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    fields: Annotated[bool, typer.Option(help="Explain the first elements field by field.")] = True,
) -> None:
    """Explain a capture or a program stream: calls, RTP, structure, codecs, oddities."""
    try:
        with file.open("rb") as opened:
            report = inspect_file(opened, file.name)
    except CaptureError as error:
        typer.echo(f"{file}: {error}", err=True)
        raise typer.Exit(1) from None
    show(report, json=json, fields=fields)


def show(report: CaptureReport, *, json: bool, fields: bool = True, console: Console | None = None) -> None:
    """Prints a report, as text or as one line of JSON."""
    if json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        render(report, console or Console(), fields=fields)
