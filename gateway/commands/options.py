"""What all commands share: where the settings come from, and how a refusal is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gateway import settings as gateway_settings
from gateway.errors import GatewayError
from gateway.settings import Settings

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file with settings.", exists=True, dir_okay=False)
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="NAME=VALUE", help="A setting, such as sip.port=5060.")
]


@contextmanager
def told() -> Iterator[None]:
    """Ends the command with the error's own words, not with a traceback, when the domain refuses."""
    try:
        yield
    except GatewayError as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED)
        raise typer.Exit(1) from error


def load(file: Path | None, overrides: list[str] | None) -> Settings:
    """The effective settings; ends the command if they cannot be used."""
    with told():
        return gateway_settings.load(overrides or (), file)
