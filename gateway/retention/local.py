"""A local directory that slices are moved into.

Nothing there is ever replaced: a slice gets its name by a hard link, which fails if the name is taken. Within one
file system no byte is copied.
"""

import asyncio
import errno
import filecmp
import os
import secrets
import shutil
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from gateway.retention.errors import BucketDeniedError, BucketUnreachableError, DirectoryError
from gateway.retention.model import Slice
from gateway.retention.names import playlist_key
from gateway.retention.places import Outcome

_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class LocalDirectory:
    """The root of one project's slices (`gateway.retention.places.Place`)."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def probe(self, path: str) -> None:
        """Writes a file under the path and deletes it. DirectoryError if the path cannot be made."""
        await asyncio.to_thread(self._probe, path)

    async def put(self, found: Slice, file: Path) -> Outcome:
        """Links the file to its name, or copies it if it is on another file system."""
        return await asyncio.to_thread(self._put, found, file)

    async def put_playlist(self, found: Slice, text: bytes) -> Outcome:
        """Writes it to a name of its own, then links it."""
        return await asyncio.to_thread(self._put_playlist, found, text)

    def file(self, key: str) -> Path:
        """Below the root."""
        return self._root / key

    async def size(self, key: str) -> int:
        """Of the file."""
        return (await asyncio.to_thread((self._root / key).stat)).st_size

    async def read(self, key: str, first: int, behind: int) -> bytes:
        """From the file."""
        return await asyncio.to_thread(_read, self._root / key, first, behind)

    async def delete(self, keys: Sequence[str]) -> None:
        """Deletes files and the directories that held nothing else."""
        await asyncio.to_thread(self._delete, keys)

    def _probe(self, path: str) -> None:
        folder = self._root / path
        try:
            folder.mkdir(0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DirectoryError(f"the local directory cannot be made: {error}") from error
        try:
            file = folder / f".gateway-{secrets.token_hex(8)}"
            file.touch(0o600)
            file.unlink()
        except OSError as error:
            raise _explain(error) from error

    def _put(self, found: Slice, file: Path) -> Outcome:
        file.stat()
        target = self._root / found.key
        try:
            _make(target.parent)
            try:
                os.link(file, target)
            except FileExistsError:
                return Outcome.STORED if _same(file, target) else Outcome.TAKEN
            except OSError as error:
                if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK}:
                    raise
                with file.open("rb") as source:
                    return _copy(found, source, target)
            _sync(target.parent)
        except OSError as error:
            raise _explain(error) from error
        return Outcome.STORED

    def _put_playlist(self, found: Slice, text: bytes) -> Outcome:
        try:
            return _copy(found, BytesIO(text), self._root / playlist_key(found.key))
        except OSError as error:
            raise _explain(error) from error

    def _delete(self, keys: Sequence[str]) -> None:
        try:
            for key in keys:
                (self._root / key).unlink(missing_ok=True)
            for folder in {(self._root / key).parent for key in keys}:
                self._prune(folder)
        except NotADirectoryError:
            return
        except OSError as error:
            raise _explain(error) from error

    def _prune(self, folder: Path) -> None:
        """Removes the directory and those above it, below the root, as far as they are empty."""
        while folder != self._root and folder.is_relative_to(self._root):
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    return
                raise
            folder = folder.parent


def _copy(found: Slice, source: BinaryIO, target: Path) -> Outcome:
    """To a name of its own beside the target, then linked: a half copied slice is never seen under the slice's name."""
    copy = target.with_name(f".{found.slice_id}.part")
    try:
        with copy.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
        try:
            os.link(copy, target)
        except FileExistsError:
            return Outcome.STORED if _same(copy, target) else Outcome.TAKEN
        _sync(target.parent)
    finally:
        copy.unlink(missing_ok=True)
    return Outcome.STORED


def _make(folder: Path) -> None:
    """The directory with those above it, each durable in the one above."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(0o700, exist_ok=True)
    _sync(folder.parent)


def _same(file: Path, target: Path) -> bool:
    return target.samefile(file) or filecmp.cmp(file, target, shallow=False)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: OSError) -> Exception:
    if error.errno in _DENIED:
        return BucketDeniedError(f"the local directory may not be written: {error}")
    return BucketUnreachableError(f"the local directory cannot be used: {error}")


def _read(file: Path, first: int, behind: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(first)
        return opened.read(behind - first)
