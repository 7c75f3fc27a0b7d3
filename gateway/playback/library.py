"""Finds the files of slices: in the spool, in a local directory, or fetched from a bucket into a bounded cache."""

import asyncio
import shutil
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

from gateway.errors import NotFoundError, UnavailableError
from gateway.retention.model import Slice, SliceState
from gateway.retention.places import Place

CACHE_BYTES_MAX: Final = 4 * 1024**3
FETCHES_AT_ONCE: Final = 2
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
        self._fetches = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._clean = False

    @asynccontextmanager
    async def files(self, found: Sequence[Slice]) -> AsyncIterator[list[Path]]:
        """The files of slices, held while entered. NotFoundError if one is gone; UnavailableError if they do not
        fit into the cache together; what `Place.fetch` raises."""
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.file(one)) for one in found]

    @asynccontextmanager
    async def file(self, found: Slice) -> AsyncIterator[Path]:
        """The file of one slice, held while entered."""
        if found.state not in _THERE:
            raise NotFoundError("recording", found.slice_id)
        spooled, place = self._spool_file(found), self._place(found.destination)
        if await asyncio.to_thread(spooled.is_file):
            yield spooled
            return
        local = place.file(found.key)
        if local is not None:
            if not await asyncio.to_thread(local.is_file):
                raise NotFoundError("recording", found.slice_id)
            yield local
            return
        target = self._cache / f"{found.slice_id}{PurePosixPath(found.key).suffix}"
        self._held[target] = self._held.get(target, 0) + 1
        try:
            async with self._turns.setdefault(target, asyncio.Lock()), self._fetches:
                if target not in self._sizes:
                    await self._fetch(place, found, target)
            self._sizes.move_to_end(target)
            yield target
        finally:
            self._held[target] -= 1
            if not self._held[target]:
                del self._held[target]
                self._turns.pop(target, None)

    async def _fetch(self, place: Place, found: Slice, target: Path) -> None:
        if not self._clean:
            self._clean = True
            await asyncio.to_thread(shutil.rmtree, self._cache, ignore_errors=True)
        await asyncio.to_thread(self._cache.mkdir, 0o700, parents=True, exist_ok=True)
        await self._make_room(found.size_bytes)
        part = target.with_name(f"{target.name}.part")
        self._sizes[target] = found.size_bytes
        try:
            await place.fetch(found.key, part)
            await asyncio.to_thread(part.rename, target)
        except BaseException as error:
            del self._sizes[target]
            with suppress(OSError):
                part.unlink()
            if isinstance(error, FileNotFoundError):
                raise NotFoundError("recording", found.slice_id) from error
            raise

    async def _make_room(self, size_bytes: int) -> None:
        for path in list(self._sizes):
            if sum(self._sizes.values()) + size_bytes <= self._cache_bytes_max:
                return
            if path not in self._held:
                del self._sizes[path]
                with suppress(OSError):
                    await asyncio.to_thread(path.unlink)
        if sum(self._sizes.values()) + size_bytes > self._cache_bytes_max:
            raise UnavailableError("the recordings that are played now leave no room in the cache for another one")
