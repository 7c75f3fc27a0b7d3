"""The spool: a directory a recording, where the core writes slices and where they wait until they are stored.

A file counts from the moment its row is durable; the row is drawn from the file alone (its directory names the
recording, its name the times), so whatever a crash interrupts is made good by a look into the spool. A file is deleted
after its row says that it is stored.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Final

import structlog

from gateway.retention.model import Recording, Slice, SliceState
from gateway.retention.names import directory, file_name, is_open_file, read_file_name, slice_id
from gateway.retention.playlists import beside
from gateway.store import Store
from media._core import CoreError, file_facts

LOOKED_UP_AT_ONCE: Final = 500
RESUME_SHARE: Final = 0.9
"""Of the limit, to which a full spool must empty before recording goes on."""
Salvage = Callable[[str], tuple[int, int, int] | None]
"""Finishes a file that a crash left open (`media._core.salvage`)."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the spool holds, and what its disk could hold more."""

    used_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """When the spool is full."""

    used_max_bytes: int
    free_min_bytes: int

    def full(self, usage: Usage, *, before: bool) -> bool:
        """Whether it is; once full, it must have emptied a good part to be so no more."""
        share = RESUME_SHARE if before else 1.0
        free = self.free_min_bytes / share
        return usage.used_bytes >= self.used_max_bytes * share or usage.free_bytes < free


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What is known of a file that was finished; a look into the spool knows less than the core's event."""

    file: str
    size_bytes: int
    frames: int = 0
    lost: int = 0
    reason: str = "salvaged"
    video: str = ""
    """H264 or H265; empty for sound alone."""


class Spool:
    """All directories below `root`; `ready` is told of every slice once it is durable."""

    def __init__(self, root: Path, store: Store, salvage: Salvage, ready: Callable[[Slice], None]) -> None:
        self._root = root
        self._store = store
        self._salvage = salvage
        self._ready = ready
        self.salvaged = 0

    def directory(self, recording_id: str) -> Path:
        return self._root / recording_id

    def file(self, found: Slice) -> Path:
        return self._root / found.recording_id / found.file

    async def prepare(self, recording_ids: Collection[str]) -> None:
        """Makes the recordings' directories, durably."""
        await asyncio.to_thread(self._prepare, recording_ids)

    async def take(self, recording: Recording, closed: Closed) -> bool:
        """Makes a finished file a slice; False if it is one already. UnavailableError: try later."""
        times = read_file_name(closed.file)
        if times is None:
            log.error("a recording's file has an unknown name", recording=recording.recording_id, file=closed.file)
            return False
        start_at, end_at = times
        suffix = Path(closed.file).suffix
        folder = directory(recording, start_at)
        found = await self._store.retention.add_slice(
            Slice(
                slice_id=slice_id(recording.recording_id, closed.file),
                recording_id=recording.recording_id,
                stream_id=recording.stream_id,
                destination=recording.destination,
                file=closed.file,
                directory=folder,
                key=f"{folder}/{file_name(recording, start_at, end_at, suffix)}",
                start_at=start_at,
                end_at=end_at,
                size_bytes=closed.size_bytes,
                frames=closed.frames,
                lost=closed.lost,
                video=closed.video or "H264",
                reason=closed.reason,
                playlist=recording.form.has_playlist(suffix),
            )
        )
        if found is not None:
            self._ready(found)
        return found is not None

    async def recordings(self) -> list[str]:
        """Ids of the recordings that have a directory."""
        return await asyncio.to_thread(self._folders)

    async def rescan(self, recording_ids: Collection[str], *, salvage: bool = False) -> None:
        """Finds files that have no row yet, and deletes those whose row says that they are stored.

        With `salvage`, files that were being written when a process died are finished first: then nobody may be writing
        into these recordings.
        """
        for recording_id in recording_ids:
            await self._rescan(recording_id, salvage=salvage)

    async def playlist(self, found: Slice) -> bytes | None:
        """The HLS playlist that belongs beside a slice where it is stored, made of its file's index: always the same.

        None if the head of the file cannot be read, or tells of no key frame. FileNotFoundError.
        """
        return await asyncio.to_thread(_playlist, found, self.file(found))

    async def release(self, found: Slice) -> None:
        """Deletes the file of a slice that is stored, durably so."""
        await asyncio.to_thread(self.file(found).unlink, missing_ok=True)

    async def tidy(self, running: Collection[str]) -> None:
        """Removes the empty directories of recordings that do not run any more."""
        await asyncio.to_thread(self._tidy, set(running))

    async def usage(self) -> Usage:
        """Walks the spool: finished files and those being written."""
        return await asyncio.to_thread(self._usage)

    async def _rescan(self, recording_id: str, *, salvage: bool) -> None:
        recording = (await self._store.retention.recordings([recording_id])).get(recording_id)
        if recording is None:
            if await asyncio.to_thread(self._names, recording_id):
                log.error("the spool holds a recording that the database does not know", directory=recording_id)
            return
        salvaged = await asyncio.to_thread(self._salvage_all, recording_id) if salvage else {}
        files = await asyncio.to_thread(self._closed, recording_id)
        for start in range(0, len(files), LOOKED_UP_AT_ONCE):
            part = {slice_id(recording_id, name): name for name in files[start : start + LOOKED_UP_AT_ONCE]}
            known = await self._store.retention.known_slices(part)
            for identity, name in part.items():
                await self._settle(recording, name, salvaged.get(name, 0), known.get(identity))

    async def _settle(self, recording: Recording, name: str, frames: int, state: SliceState | None) -> None:
        path = self._root / recording.recording_id / name
        if state is None:
            size = (await asyncio.to_thread(path.stat)).st_size
            reason = "salvaged" if frames else "found"
            video = await asyncio.to_thread(_video, path)
            await self.take(recording, Closed(file=name, size_bytes=size, frames=frames, reason=reason, video=video))
        elif state not in {SliceState.PENDING, SliceState.MISSING}:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    def _prepare(self, recording_ids: Collection[str]) -> None:
        self._root.mkdir(0o700, parents=True, exist_ok=True)
        for recording_id in recording_ids:
            (self._root / recording_id).mkdir(0o700, exist_ok=True)
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _folders(self) -> list[str]:
        if not self._root.is_dir():
            return []
        with os.scandir(self._root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def _names(self, recording_id: str) -> list[str]:
        try:
            return sorted(path.name for path in (self._root / recording_id).iterdir())
        except FileNotFoundError:
            return []

    def _closed(self, recording_id: str) -> list[str]:
        return [name for name in self._names(recording_id) if read_file_name(name) is not None]

    def _salvage_all(self, recording_id: str) -> dict[str, int]:
        """Finishes open files; frames of each by its new name."""
        frames: dict[str, int] = {}
        for name in filter(is_open_file, self._names(recording_id)):
            path = self._root / recording_id / name
            before = set(self._closed(recording_id))
            try:
                found = self._salvage(str(path))
            except Exception as error:  # a disk that fails costs this file, which stays for the next start
                log.exception("a file that a crash left cannot be finished", file=str(path), error=str(error))
                continue
            made = set(self._closed(recording_id)) - before
            if found is not None:
                self.salvaged += 1
                frames |= dict.fromkeys(made, found[2])
                log.info("finished a file that a crash left", file=str(path), frames=found[2])
        return frames

    def _tidy(self, running: set[str]) -> None:
        for name in self._folders():
            if name not in running:
                try:
                    (self._root / name).rmdir()
                except OSError:
                    continue  # not empty: what is in it waits to be stored

    def _usage(self) -> Usage:
        used = sum(_sizes(self._root))
        there = next(folder for folder in (self._root, *self._root.parents) if folder.is_dir())
        free = shutil.disk_usage(there).free
        return Usage(used, free)


def _video(path: Path) -> str:
    """What a file is coded in, as its head says; what its form is mostly used for if that cannot be read."""
    try:
        return file_facts(str(path)).video or ""
    except CoreError as error:
        log.warning("the head of a recording cannot be read", file=str(path), error=str(error))
        return "H265" if path.suffix == ".mp4" else "H264"


def _playlist(found: Slice, path: Path) -> bytes | None:
    path.stat()
    try:
        facts = file_facts(str(path))
    except CoreError as error:
        log.warning("a slice is stored without a playlist: its head cannot be read", file=str(path), error=str(error))
        return None
    if not facts.entries:
        return None
    text = beside(
        PurePosixPath(found.key).name,
        found.start_at,
        head_bytes=facts.head,
        duration_ms=facts.duration_ms or (found.end_at - found.start_at) // timedelta(milliseconds=1),
        size_bytes=found.size_bytes,
        entries=facts.entries,
    )
    return text.encode()


def _sizes(root: Path) -> Iterator[int]:
    """Of all files two levels below."""
    try:
        folders = list(os.scandir(root))
    except FileNotFoundError:
        return
    for folder in folders:
        if folder.is_dir(follow_symlinks=False):
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        try:
                            yield entry.stat(follow_symlinks=False).st_size
                        except FileNotFoundError:
                            continue
            except FileNotFoundError:
                continue
