"""What a recording's bytes are read from, a range at a time: a file that lies here, or an object in its bucket."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import structlog

from gateway.retention.errors import BucketUnreachableError
from gateway.retention.places import Place

WAITS: Final = (0.5, 1.0, 2.0)
"""Seconds before a range that could not be had is asked for again."""

log = structlog.get_logger(__name__)


class Source(Protocol):
    """A recording that can be read."""

    @property
    def size(self) -> int: ...

    async def read(self, first: int, behind: int) -> bytes:
        """A range of it; FileNotFoundError, what `Place.read` raises."""


class OnDisk:
    """A file that stays open, so that it can be read although it is moved away meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size

    async def read(self, first: int, behind: int) -> bytes:
        """From the disk."""
        return await asyncio.to_thread(os.pread, self._file.fileno(), behind - first, first)


@asynccontextmanager
async def on_disk(path: Path) -> AsyncIterator[OnDisk]:
    """Opens a file; FileNotFoundError."""
    file = await asyncio.to_thread(path.open, "rb")
    try:
        yield OnDisk(file)
    finally:
        await asyncio.to_thread(file.close)


class InPlace:
    """An object of a bucket, of which only what is asked for is moved."""

    def __init__(self, place: Place, key: str, size: int) -> None:
        self._place = place
        self._key = key
        self.size = size

    async def read(self, first: int, behind: int) -> bytes:
        """From the bucket; a bucket that breaks off is asked again, some seconds long."""
        return await read_again(self._place, self._key, first, behind) if first < behind else b""


async def read_again(place: Place, key: str, first: int, behind: int) -> bytes:
    """`Place.read`, tried again while the place cannot be reached; its last error is raised."""
    for wait in WAITS:
        try:
            return await place.read(key, first, behind)
        except BucketUnreachableError as error:
            log.warning("a recording is asked for again", key=key, first=first, again_in=wait, error=str(error))
            await asyncio.sleep(wait)
    return await place.read(key, first, behind)
