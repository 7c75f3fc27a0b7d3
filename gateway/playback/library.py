"""Finds slices: in the spool, in a local directory, or in a bucket.

What lies in a bucket is fetched into a bounded cache where it is played, and read by ranges where it is not.
"""

import asyncio
import secrets
import shutil
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

from gateway.errors import InvalidError, NotFoundError, UnavailableError
from gateway.playback.arrival import HEAD_BYTES, Arrival
from gateway.playback.sources import InPlace, Source, on_disk
from gateway.playback.unbroken import unbroken
from gateway.retention.model import Slice, SliceState
from gateway.retention.places import Place

CACHE_BYTES_MAX: Final = 4 * 1024**3
FETCHES_AT_ONCE: Final = 2
FETCH_BYTES: Final = 4 * 1024 * 1024
"""Asked for at once; a fetch that breaks off goes on behind what it has."""
EXTRACT_MAX: Final = 128 * 1024 * 1024
_THERE: Final = frozenset({SliceState.PENDING, SliceState.UPLOADED})


class Library:
    """A file stays in the cache while somebody holds it; the one that nobody held for longest goes first."""

    def __init__(
        self,
        place: Callable[[str], Place],
        spool_file: Callable[[Slice], Path],
        cache: Path,
        *,
        cache_bytes_max: int = CACHE_BYTES_MAX,
    ) -> None:
        """`place`: of a slice's destination; `spool_file`: where a slice waits until it is stored. What an earlier
        process left in `cache` is deleted with the first fetch."""
        self._place = place
        self._spool_file = spool_file
        self._cache = cache
        self._cache_bytes_max = cache_bytes_max
        self._sizes: OrderedDict[Path, int] = OrderedDict()
        self._held: dict[Path, int] = {}
        self._turns: dict[Path, asyncio.Lock] = {}
        self._arrivals: dict[Path, Arrival] = {}
        self._room = asyncio.Lock()
        """Held while room is made and taken: what was counted holds until then."""
        self._fetches = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._clean = False
        self._cleaning = asyncio.Lock()

    @asynccontextmanager
    async def held(self, found: Slice) -> AsyncIterator[Arrival | None]:
        """A slice whose file is needed, held while entered: its arrival, shared by all who need it, as soon as its head
        is there; None if it lies here. NotFoundError if it is gone; UnavailableError if the cache is full of what is
        held; what `Place.read` raises."""
        if await self._here(found) is not None:
            yield None
            return
        place, target = self._place(found.destination), self._target(found)
        self._held[target] = self._held.get(target, 0) + 1
        try:
            async with self._turns.setdefault(target, asyncio.Lock()):
                if target not in self._sizes:
                    await self._begin(place, found, target)
            self._sizes.move_to_end(target)
            yield self._arrivals.get(target)
        finally:
            self._held[target] -= 1
            if not self._held[target]:
                await unbroken(self._let_go(target))

    async def _let_go(self, target: Path) -> None:
        """What nobody holds any more stays only if it is whole."""
        async with self._turns.setdefault(target, asyncio.Lock()):
            if self._held.get(target):
                return
            self._held.pop(target, None)
            arrival = self._arrivals.pop(target, None)
            if arrival is not None:
                if not arrival.whole:
                    del self._sizes[target]
                await arrival.close()
            if target not in self._held:
                self._turns.pop(target, None)

    async def path(self, found: Slice) -> Path:
        """Where the file of a slice is, or will be while `held` is entered. NotFoundError."""
        return await self._here(found) or self._target(found)

    @asynccontextmanager
    async def source(self, found: Slice) -> AsyncIterator[Source]:
        """A slice to be read by ranges, without being fetched. NotFoundError, what `Place.size` raises."""
        try:
            here = await self._here(found)
            if (
                here is None
                and self._is_whole(self._target(found))
                and await asyncio.to_thread(self._target(found).is_file)
            ):
                here = self._target(found)
            if here is not None:
                async with on_disk(here) as opened:
                    yield opened
            else:
                place = self._place(found.destination)
                yield InPlace(place, found.key, await place.size(found.key))
        except FileNotFoundError as error:
            raise NotFoundError("recording", found.slice_id) from error

    @asynccontextmanager
    async def extract(self, found: Slice, first: int, behind: int) -> AsyncIterator[Path]:
        """A file that holds a slice's head and a range at their places, nothing between, and ends there; a slice that
        lies here is given whole. InvalidError if the range is too large; as `source`."""
        async with self.source(found) as source:
            here = await self._here(found)
            if here is not None:
                yield here
                return
            if behind - first > EXTRACT_MAX:
                raise InvalidError("segment", f"at most {EXTRACT_MAX} bytes")
            await self._prepare()
            part = self._cache / f"part-{secrets.token_hex(8)}{PurePosixPath(found.key).suffix}"
            try:
                await _copy(source, part, 0, min(HEAD_BYTES, source.size))
                await _copy(source, part, max(first, HEAD_BYTES), min(behind, source.size))
                yield part
            finally:
                with suppress(OSError):
                    part.unlink()

    async def _here(self, found: Slice) -> Path | None:
        """The file, if it lies on this machine; NotFoundError if it should and does not."""
        if found.state not in _THERE:
            raise NotFoundError("recording", found.slice_id)
        spooled = self._spool_file(found)
        if await asyncio.to_thread(spooled.is_file):
            return spooled
        local = self._place(found.destination).file(found.key)
        if local is not None and not await asyncio.to_thread(local.is_file):
            raise NotFoundError("recording", found.slice_id)
        return local

    def _target(self, found: Slice) -> Path:
        return self._cache / f"{found.slice_id}{PurePosixPath(found.key).suffix}"

    async def _prepare(self) -> None:
        if not self._clean:
            await unbroken(self._clear())
        await asyncio.to_thread(self._cache.mkdir, 0o700, parents=True, exist_ok=True)

    async def _clear(self) -> None:
        """Deletes what an earlier process left, once; whoever needs the cache meanwhile waits, for it would be deleted
        with it."""
        async with self._cleaning:
            if not self._clean:
                await asyncio.to_thread(shutil.rmtree, self._cache, ignore_errors=True)
                self._clean = True

    def _is_whole(self, target: Path) -> bool:
        arrival = self._arrivals.get(target)
        return target in self._sizes and (arrival is None or arrival.whole)

    async def _begin(self, place: Place, found: Slice, target: Path) -> None:
        await self._prepare()
        try:
            size = await place.size(found.key)
            async with self._room:
                await self._make_room(size)
                self._sizes[target] = size
            # Known before its file is made, which is at its full size at once: it is not taken for whole.
            self._arrivals[target] = Arrival(InPlace(place, found.key, size), target, self._fetches)
            await self._arrivals[target].begin()
        except BaseException as error:
            self._arrivals.pop(target, None)
            self._sizes.pop(target, None)
            if isinstance(error, FileNotFoundError):
                raise NotFoundError("recording", found.slice_id) from error
            raise

    async def _make_room(self, size_bytes: int) -> None:
        """Deletes what nobody holds, what nobody held for longest first, until there is room. UnavailableError."""
        for path in list(self._sizes):
            if self._has_room(size_bytes):
                return
            if path in self._sizes and path not in self._held:
                await unbroken(self._delete(path))
        if not self._has_room(size_bytes):
            raise UnavailableError("the recordings that are played now leave no room in the cache for another one")

    def _has_room(self, size_bytes: int) -> bool:
        return sum(self._sizes.values()) + size_bytes <= self._cache_bytes_max

    async def _delete(self, path: Path) -> None:
        """In a turn of the file's own: who needs it again meanwhile waits, and fetches it anew. It counts until it is
        gone."""
        async with self._turns.setdefault(path, asyncio.Lock()):
            if path in self._held:
                return
            with suppress(OSError):
                await asyncio.to_thread(path.unlink)
            self._sizes.pop(path, None)
            if path not in self._held:
                self._turns.pop(path, None)


async def _copy(source: Source, target: Path, first: int, behind: int) -> None:
    """Writes a range of a source at its place in a file, some megabytes at a time."""
    await asyncio.to_thread(target.touch, 0o600)
    file = await asyncio.to_thread(target.open, "r+b")
    try:
        await asyncio.to_thread(file.seek, first)
        while first < behind:
            data = await source.read(first, min(first + FETCH_BYTES, behind))
            await asyncio.to_thread(file.write, data)
            first += len(data)
    finally:
        await asyncio.to_thread(file.close)
