"""`gateway config`: the effective settings."""

import json
from typing import Annotated

import typer

from gateway.commands.options import ConfigFile, Overrides, load
from gateway.settings import effective
from gateway.settings_table import settings_table


def config(
    file: ConfigFile = None,
    overrides: Overrides = None,
    table: Annotated[bool, typer.Option("--table", help="Print all settings with their meaning, as Markdown.")] = False,
) -> None:
    """Print the effective settings as JSON; passwords are masked."""
    if table:
        typer.echo(settings_table())
        return
    typer.echo(json.dumps(effective(load(file, overrides)), indent=2, ensure_ascii=False))
