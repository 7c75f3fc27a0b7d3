"""`gateway user` and `gateway project`: who may come in, straight in the database."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.accounts.model import Role
from gateway.accounts.quotas import Quotas
from gateway.accounts.service import FIRST_PROJECT, Accounts
from gateway.clock import utc_now
from gateway.commands.options import ConfigFile, Overrides, load, told
from gateway.store import Store
from gateway.store.secrets import SecretBox

user = typer.Typer(no_args_is_help=True, help="Users and their passwords.")
project = typer.Typer(no_args_is_help=True, help="Projects: each sees only what is its own.")

Project = Annotated[str, typer.Option(help="Name of the project.")]


def _run(file: Path | None, overrides: list[str] | None, work: Callable[[Accounts], Awaitable[None]]) -> None:
    settings = load(file, overrides)

    async def main() -> None:
        settings.data_dir.mkdir(0o700, parents=True, exist_ok=True)
        secrets = SecretBox.load(settings.key_file)
        async with Store.open(settings.database_url, secrets=secrets) as store:
            await work(Accounts(store, Quotas(settings.accounts.quotas)))

    with told():
        asyncio.run(main())


@user.command("add")
def add_user(
    name: str,
    role: Role = Role.OPERATOR,
    project_name: Project = FIRST_PROJECT,
    file: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Add a user; the password is random and printed once."""

    async def work(accounts: Accounts) -> None:
        password = await accounts.add_user(name, project_name, role, None, utc_now())
        typer.echo(f"{name}: {password}")

    _run(file, overrides, work)


@user.command("password")
def set_password(name: str, file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Give a user a new random password, printed once; tokens issued before are taken back."""

    async def work(accounts: Accounts) -> None:
        typer.echo(f"{name}: {await accounts.set_password(name, None)}")

    _run(file, overrides, work)


@user.command("delete")
def delete_user(name: str, file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Delete a user and the user's tokens."""

    async def work(accounts: Accounts) -> None:
        await accounts.delete_user(name)

    _run(file, overrides, work)


@user.command("list")
def list_users(file: ConfigFile = None, overrides: Overrides = None) -> None:
    """List users with project and role."""

    async def work(accounts: Accounts) -> None:
        table = Table("name", "role", "project", "since", "")
        for found in await accounts.members():
            user, state = found.user, "" if found.user.enabled else "disabled"
            table.add_row(user.name, found.role, found.project.name, f"{user.created_at:%Y-%m-%d %H:%M}", state)
        Console().print(table)

    _run(file, overrides, work)


@project.command("add")
def add_project(name: str, file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Add a project and print its id; its name is the first part of its play addresses."""

    async def work(accounts: Accounts) -> None:
        added = await accounts.add_project(name, utc_now())
        typer.echo(f"{added.name}: {added.project_id}")

    _run(file, overrides, work)


@project.command("list")
def list_projects(file: ConfigFile = None, overrides: Overrides = None) -> None:
    """List projects with their ids."""

    async def work(accounts: Accounts) -> None:
        table = Table("name", "id", "since")
        for found in await accounts.all_projects():
            table.add_row(found.name, found.project_id, f"{found.created_at:%Y-%m-%d %H:%M}")
        Console().print(table)

    _run(file, overrides, work)
