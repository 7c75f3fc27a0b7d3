"""`gateway user` and `gateway project`: who may come in, straight in the database."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.accounts.model import Role
from gateway.accounts.quotas import Quotas
from gateway.accounts.service import FIRST_PROJECT, Accounts
from gateway.audit.entry import Entry
from gateway.clock import utc_now
from gateway.commands.options import ConfigFile, Overrides, load, told
from gateway.store import Store
from gateway.store.secrets import SecretBox

user = typer.Typer(no_args_is_help=True, help="Users, their passwords and roles.")
project = typer.Typer(no_args_is_help=True, help="Projects: each sees only what is its own.")

Project = Annotated[str, typer.Option(help="Name of the project.")]
Work = Callable[[Accounts], Awaitable[None]]


def _run(file: Path | None, overrides: list[str] | None, work: Work, changes: str = "", **target: str) -> None:
    """Does the work on the database; what `changes` something is written into the audit log under that name."""
    settings = load(file, overrides)

    async def main() -> None:
        settings.data_dir.mkdir(0o700, parents=True, exist_ok=True)
        secrets = SecretBox.load(settings.key_file)
        async with Store.open(settings.database_url, secrets=secrets) as store:
            await work(Accounts(store, Quotas(settings.accounts.quotas)))
            if changes:
                await store.audit.append(_entry(changes, target))

    with told():
        asyncio.run(main())


def _entry(call: str, target: dict[str, str]) -> Entry:
    return Entry(
        at=utc_now(),
        project_id=None,
        user_id=None,
        user_name=_operator(),
        proof="command line",
        address="",
        call=f"gateway {call}",
        target=target,
    )


def _operator() -> str:
    """Whose shell it is."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


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

    _run(file, overrides, work, "user add", name=name, role=role, project=project_name)


@user.command("role")
def set_role(
    name: str,
    role: Role,
    project_name: Project = FIRST_PROJECT,
    file: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Give a user a role in a project, of the whole of it; lets in who was not."""

    async def work(accounts: Accounts) -> None:
        await accounts.set_role(name, project_name, role, utc_now())

    _run(file, overrides, work, "user role", name=name, role=role, project=project_name)


@user.command("shut-out")
def shut_out(
    name: str, project_name: Project = FIRST_PROJECT, file: ConfigFile = None, overrides: Overrides = None
) -> None:
    """Take away a user's role in a project."""

    async def work(accounts: Accounts) -> None:
        await accounts.shut_out(name, project_name)

    _run(file, overrides, work, "user shut-out", name=name, project=project_name)


@user.command("password")
def set_password(name: str, file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Give a user a new random password, printed once; tokens are taken back, access keys disabled."""

    async def work(accounts: Accounts) -> None:
        typer.echo(f"{name}: {await accounts.set_password(name, None)}")

    _run(file, overrides, work, "user password", name=name)


@user.command("disable")
def disable_user(name: str, file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Shut a user out of everything; tokens are taken back, access keys disabled."""

    async def work(accounts: Accounts) -> None:
        await accounts.set_enabled(name, False)

    _run(file, overrides, work, "user disable", name=name)


@user.command("enable")
def enable_user(name: str, file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Let a user in again who was disabled; access keys stay disabled."""

    async def work(accounts: Accounts) -> None:
        await accounts.set_enabled(name, True)

    _run(file, overrides, work, "user enable", name=name)


@user.command("account-admin")
def account_admin(
    name: str,
    off: Annotated[bool, typer.Option("--off", help="Take it away.")] = False,
    file: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Let a user look after the whole gateway: projects, and the users of all."""

    async def work(accounts: Accounts) -> None:
        await accounts.set_account_admin(name, not off)

    _run(file, overrides, work, "user account-admin", name=name, off=str(off))


@user.command("revoke")
def revoke_tokens(name: str, file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Take back all tokens of a user."""

    async def work(accounts: Accounts) -> None:
        typer.echo(f"{await accounts.revoke_all(name)} tokens taken back")

    _run(file, overrides, work, "user revoke", name=name)


@user.command("delete")
def delete_user(name: str, file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Delete a user with roles, tokens and access keys."""

    async def work(accounts: Accounts) -> None:
        await accounts.delete_user(name)

    _run(file, overrides, work, "user delete", name=name)


@user.command("list")
def list_users(file: ConfigFile = None, overrides: Overrides = None) -> None:
    """List users with their roles; a user of several projects has a line for each."""

    async def work(accounts: Accounts) -> None:
        table = Table("name", "role", "project", "since", "")
        for found in await accounts.members():
            holder = found.user
            notes = ["disabled"] * (not holder.enabled) + ["account administrator"] * holder.account_admin
            notes += [f"{len(found.groups)} device groups"] if found.groups is not None else []
            since = f"{holder.created_at:%Y-%m-%d %H:%M}"
            table.add_row(holder.name, found.role, found.project.name, since, ", ".join(notes))
        Console().print(table)

    _run(file, overrides, work)


@project.command("add")
def add_project(name: str, file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Add a project and print its id; its name is the first part of its play addresses."""

    async def work(accounts: Accounts) -> None:
        added = await accounts.add_project(name, utc_now())
        typer.echo(f"{added.name}: {added.project_id}")

    _run(file, overrides, work, "project add", name=name)


@project.command("delete")
def delete_project(name: str, file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Delete a project that is empty."""

    async def work(accounts: Accounts) -> None:
        await accounts.delete_project(name)

    _run(file, overrides, work, "project delete", name=name)


@project.command("list")
def list_projects(file: ConfigFile = None, overrides: Overrides = None) -> None:
    """List projects with their ids."""

    async def work(accounts: Accounts) -> None:
        table = Table("name", "id", "since")
        for found in await accounts.all_projects():
            table.add_row(found.name, found.project_id, f"{found.created_at:%Y-%m-%d %H:%M}")
        Console().print(table)

    _run(file, overrides, work)
