"""A slice on its way from its bucket: its head, then what is asked for, then the rest. It can be read meanwhile."""

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from gateway.errors import NotFoundError, UnavailableError
from gateway.playback.pieces import Pieces, place, reached_ms
from gateway.playback.sources import Source
from gateway.playback.unbroken import unbroken
from media._core import CoreError, file_facts

HEAD_BYTES: Final = 256 * 1024
"""What the relay looks at of a file's beginning (`wire::file::FileReader::open`)."""
READ_AHEAD_BYTES: Final = 256 * 1024
"""What the relay reads at once of a file."""
HURRY_MS: Final = 10_000
"""While less than this can be played on, small pieces are fetched."""
AGAIN_SECONDS_MAX: Final = 30.0

log = structlog.get_logger(__name__)


class Arrival:
    """`begin`, then `want` and `reach`; `close` at last, which leaves nothing behind of what is not whole.

    Beside the file stands a list of what of it is there, which the relay reads (`relay::playback::disk`).
    """

    def __init__(self, source: Source, target: Path, turns: asyncio.Semaphore) -> None:
        """`turns`: taken for each piece, so that many slices share the way."""
        self.failure: Exception | None = None
        """Why the next piece is not there; it is asked for again by and by, unless it is `gone`."""
        self._source = source
        self._target = target
        self._list = target.with_name(f"{target.name}.there")
        self._fresh = target.with_name(f"{target.name}.fresh")
        self._turns = turns
        self._pieces = Pieces(source.size)
        self._entries: list[tuple[int, int]] = []
        self._wishes: dict[object, int] = {}
        """The times that are played, by who plays there."""
        self._file = -1
        self._closed = False
        self._left = False
        self._writing = threading.Lock()
        """A thread goes on writing although nobody waits for it any more."""
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._again = asyncio.Event()
        """Somebody asks: it is tried at once."""

    @property
    def whole(self) -> bool:
        return self._pieces.whole

    @property
    def gone(self) -> bool:
        """It is deleted where it comes from: no more of it comes."""
        return isinstance(self.failure, NotFoundError)

    async def begin(self) -> None:
        """Fetches the head, and goes on by itself from then on. What `Source.read` raises."""
        try:
            await asyncio.to_thread(self._make)
            await self._fetch(0, min(HEAD_BYTES, self._source.size))
            with suppress(CoreError, ValueError):  # the relay will say what is wrong with it
                self._entries = [
                    (at, offset) for at, offset in (await asyncio.to_thread(file_facts, str(self._target))).entries
                ]
        except BaseException:
            await self.close()
            raise
        self._task = asyncio.create_task(self._go_on())

    def want(self, who: object, at_ms: int) -> None:
        """What somebody plays from this time of the file on is fetched before the rest, until they `drop` it."""
        self._wishes[who] = at_ms

    def drop(self, who: object) -> None:
        """They play elsewhere."""
        self._wishes.pop(who, None)

    def playable_ms(self, at_ms: int) -> float:
        """How much of the file can be played from a time on; infinite if all of the rest."""
        end = self._pieces.end(place(self._entries, at_ms))
        if end >= self._source.size:
            return float("inf")
        return max(0.0, reached_ms(self._entries, end - READ_AHEAD_BYTES) - at_ms)

    async def reach(self, at_ms: int, for_ms: float) -> None:
        """Returns when so much can be played from there. What `Source.read` raises, if it does now; NotFoundError if it
        is gone, UnavailableError if it is closed."""
        who = object()
        self.want(who, at_ms)
        if not self.gone:
            self.failure = None
        self._again.set()
        try:
            while self.playable_ms(at_ms) < for_ms:
                if self.failure is not None:
                    raise self.failure
                if self._closed:
                    raise UnavailableError("the recording is not fetched any more")
                self._changed.clear()
                await self._changed.wait()
        finally:
            self.drop(who)

    async def close(self) -> None:
        """Stops, also if the caller is cancelled; deletes the file unless it is whole. Who waits in `reach` is told."""
        self._closed = True
        self._changed.set()
        await unbroken(self._close())

    async def _close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await asyncio.to_thread(self._leave)

    async def _go_on(self) -> None:
        failures = 0
        while (piece := self._next()) is not None:
            try:
                async with self._turns:
                    await self._fetch(*piece)
            except FileNotFoundError:
                # Told to who reads the file first: nobody waits for more of it then.
                with suppress(OSError):
                    await asyncio.to_thread(self._write_list, f"{self._pieces.listed()}gone\n")
                self.failure = NotFoundError("recording", self._target.stem)
                self._changed.set()
                log.warning("a recording that is played was deleted where it is kept", slice=self._target.stem)
                return
            except Exception as error:
                self.failure = error
            else:
                failures, self.failure = 0, None
                self._changed.set()
                continue
            self._changed.set()
            wait = min(2.0**failures, AGAIN_SECONDS_MAX)
            failures += 1
            log.warning("a recording that is played cannot be fetched", again_in=wait, error=str(self.failure))
            self._again.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._again.wait()

    def _next(self) -> tuple[int, int] | None:
        """For the one who has the least to play."""
        at_ms = min(self._wishes.values(), key=self.playable_ms, default=0)
        return self._pieces.missing(place(self._entries, at_ms), hurried=self.playable_ms(at_ms) < HURRY_MS)

    async def _fetch(self, first: int, behind: int) -> None:
        data = await self._source.read(first, behind)
        if len(data) != behind - first:
            raise FileNotFoundError(f"{len(data)} of {behind - first} bytes: it is another one now")
        await asyncio.to_thread(self._write, data, first)
        self._pieces.add(first, first + len(data))
        await asyncio.to_thread(self._write_list, "" if self._pieces.whole else self._pieces.listed())

    def _make(self) -> None:
        with self._writing:
            if self._closed:
                return
            self._list.write_text("", encoding="ascii")
            self._file = os.open(self._target, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._file, self._source.size)

    def _write(self, data: bytes, first: int) -> None:
        with self._writing:
            written = len(data) if self._closed else 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], first + written)

    def _write_list(self, listed: str) -> None:
        """Without anything listed, all is there."""
        with self._writing:
            if not listed:
                self._list.unlink(missing_ok=True)
            elif not self._closed:
                self._fresh.write_text(listed, encoding="ascii")
                self._fresh.replace(self._list)

    def _leave(self) -> None:
        with self._writing:
            if self._left:
                return  # what is there now may be another one's
            self._left = True
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            # The file first: without a list it would be taken for whole.
            for path in (*(() if self._pieces.whole else (self._target,)), self._fresh, self._list):
                path.unlink(missing_ok=True)
