"""`gateway config`: the effective settings."""

import json

import typer

from gateway.commands.options import ConfigFile, Overrides, load
from gateway.settings import effective


def config(file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Print the effective settings as JSON; passwords are masked."""
    typer.echo(json.dumps(effective(load(file, overrides)), indent=2, ensure_ascii=False))
