"""Where slices are kept, as the rest of retention sees it: a bucket or a local directory."""

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Protocol

from gateway.retention.model import Slice


class Outcome(Enum):
    """STORED: it is there now, complete and durable; or was already, from a try whose end nobody saw.

    TAKEN: something that is not this slice has its key.
    """

    STORED, TAKEN = range(2)


class Place(Protocol):
    """One bucket, or one local root. All calls raise BucketUnreachableError, BucketDeniedError or NotAuthorisedError
    if they cannot do their work now."""

    async def probe(self, path: str) -> None:
        """Writes and deletes an object under the path."""

    async def put(self, found: Slice, file: Path) -> Outcome:
        """Stores the file under the slice's key; never in place of anything else. FileNotFoundError if there is no
        such file."""

    async def put_playlist(self, found: Slice, text: bytes) -> Outcome:
        """Stores the playlist of a slice that is stored (`names.playlist_key`), by the same rules."""

    def file(self, key: str) -> Path | None:
        """Where what has this key lies on this machine; None if it must be fetched."""

    async def size(self, key: str) -> int:
        """How many bytes what has this key has. FileNotFoundError if nothing has it."""

    async def read(self, key: str, first: int, behind: int) -> bytes:
        """Those bytes of it, and nothing else is moved; `behind` is at most its size. FileNotFoundError."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Deletes what has these keys, and directories that are empty then; what is not there is no error."""
