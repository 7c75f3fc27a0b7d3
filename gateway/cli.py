"""The command line: `gateway serve|simulate|inspect|config|doctor|push-url|user|project`."""

import typer

from gateway.commands import accounts
from gateway.commands.config import config
from gateway.commands.doctor import doctor
from gateway.commands.push import push_url
from gateway.commands.serve import serve
from gateway.inspect.command import inspect
from gateway.simulator.command import simulate

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
for command in (serve, simulate, inspect, config, doctor):
    app.command()(command)
app.command("push-url")(push_url)
app.add_typer(accounts.user, name="user")
app.add_typer(accounts.project, name="project")


def main() -> None:
    """Entry point of the `gateway` script."""
    app()
