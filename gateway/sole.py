"""One gateway a data directory: two would take each other's recordings, calls and API socket."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError

LOCK: Final = "gateway.lock"


class DirectoryTakenError(GatewayError):
    """Another gateway works with the data directory."""


@contextmanager
def sole_owner(directory: Path) -> Iterator[None]:
    """Holds the directory, which is made if need be, until the end; the system lets go of it however the process ends.

    DirectoryTakenError if another gateway holds it, OSError if it cannot be made or written.
    """
    directory.mkdir(0o700, parents=True, exist_ok=True)
    with (directory / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            told = f"{directory} (data_dir) belongs to a gateway that runs: stop it, or set another directory"
            raise DirectoryTakenError(told) from error
        yield
