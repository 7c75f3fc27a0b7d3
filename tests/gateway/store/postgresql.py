"""A PostgreSQL server of the test's own: on loopback, on a free port, gone at the end."""

import grp
import itertools
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
UNPRIVILEGED = ("postgres", "nobody")


class Server:
    """Where the server listens."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._names = itertools.count(1)

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://gateway@127.0.0.1:{self.port}/{database}"

    def next_name(self) -> str:
        """A database name that was not used yet."""
        return f"gateway_{next(self._names)}"


@contextmanager
def start(folder: Path) -> Iterator[Server]:
    """Runs initdb and a server in `folder`; the test is skipped where PostgreSQL is not installed."""
    if not BINARIES:
        pytest.skip("PostgreSQL is not installed")
    binaries, data, port = BINARIES[-1], folder / "data", _free_port()
    owner = _owner(folder)
    _run([binaries / "initdb", "-D", data, "-U", "gateway", "--auth=trust", "--encoding=UTF8", "--locale=C"], owner)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=50"
    control = [binaries / "pg_ctl", "-D", data, "-w"]
    _run([*control, "-o", options, "-l", folder / "log", "start"], owner)
    try:
        yield Server(port)
    finally:
        _run([*control, "-m", "immediate", "stop"], owner)
        shutil.rmtree(data, ignore_errors=True)


def _owner(folder: Path) -> Mapping[str, Any]:
    """Whom to run the server as: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    name = next(name for name in UNPRIVILEGED if name in names)
    user = pwd.getpwnam(name)
    os.chown(folder, user.pw_uid, user.pw_gid)
    for parent in folder.parents:  # root's own temporary folders are closed to others
        if parent.owner() == "root" and parent.stat().st_uid == 0 and "pytest" in parent.name:
            parent.chmod(parent.stat().st_mode | 0o011)
    return {"user": name, "group": grp.getgrgid(user.pw_gid).gr_name, "extra_groups": []}


def _run(command: list[object], owner: Mapping[str, Any]) -> None:
    subprocess.run(
        [str(part) for part in command],
        check=True,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        **owner,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
