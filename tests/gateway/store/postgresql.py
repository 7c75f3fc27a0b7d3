"""A PostgreSQL server of the test's own: on loopback, on a free port, gone at the end."""

import grp
import itertools
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.store.migrate import upgrade
from tests.ports import free_port

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
UNPRIVILEGED = ("postgres", "nobody")


class Server:
    """Where the server listens."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._names = itertools.count(1)
        self._migrated: str | None = None

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://gateway@127.0.0.1:{self.port}/{database}"

    async def empty_database(self) -> str:
        """The address of a new database without tables."""
        return await self._create("template1")

    async def database(self) -> str:
        """The address of a new database with today's tables: a copy of one that was migrated once."""
        if self._migrated is None:
            url = await self.empty_database()
            engine = create_async_engine(url)
            async with engine.begin() as connection:
                await connection.run_sync(upgrade)
            await engine.dispose()
            self._migrated = url.rpartition("/")[2]
        return await self._create(self._migrated)

    async def _create(self, template: str) -> str:
        name = f"gateway_{next(self._names)}"
        engine = create_async_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        await engine.dispose()
        return self.url(name)


@contextmanager
def start() -> Iterator[Server]:
    """Runs initdb and a server; the test is skipped where PostgreSQL is not installed.

    Its folder is not below pytest's own, which are closed to the user that the server runs as.
    """
    if not BINARIES:
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(prefix="gateway-postgresql-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        binaries, data, log, owner = BINARIES[-1], folder / "data", folder / "control.log", _owner(folder)
        _run(
            [
                binaries / "initdb",
                "-D",
                data,
                "-U",
                "gateway",
                "--auth=trust",
                "--locale=C",
                "--encoding=UTF8",
                "--no-sync",
            ],
            owner,
            log,
        )
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=50 -c fsync=off"
        )
        control = [binaries / "pg_ctl", "-D", data, "-w"]
        _run([*control, "-o", options, "-l", folder / "server.log", "start"], owner, log)
        try:
            yield Server(port)
        finally:
            _run([*control, "-m", "immediate", "stop"], owner, log)


def _owner(folder: Path) -> Mapping[str, Any]:
    """Whom to run the server as: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    name = next(name for name in UNPRIVILEGED if name in names)
    user = pwd.getpwnam(name)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": name, "group": grp.getgrgid(user.pw_gid).gr_name, "extra_groups": []}


def _run(command: list[object], owner: Mapping[str, Any], log: Path) -> None:
    """Output goes to a file: a pipe would be held open by the server."""
    with log.open("ab") as output:
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=60,
            **owner,
        )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{log.read_text()}")
