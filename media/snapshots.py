"""Pictures of streams: their newest key frame as JPEG, decoded in a process of its own.

A decoder is C, and what it decodes comes from strangers: a picture that crashes it, or on which it never ends, costs
its process and that one answer. There is one process, begun with the first picture; what waits for it is bounded, and a
picture is decoded once for all who ask for it at that size.
"""

import asyncio
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, Self

PATIENCE_SECONDS: Final = 5.0
"""For one picture; then the process is ended."""
NONE_KEPT: Final = "no key frame is kept: none has come yet, or what came since is more than gop_bytes_max allows"
WAITING_MAX: Final = 32
KEPT_MAX: Final = 64
"""Pictures kept: those asked for last."""
ORDERS_MAX: Final = 1000
"""Pictures that one process decodes; then another one takes its place."""


class SnapshotError(Exception):
    """There is no picture; the text says why."""


class SnapshotBusyError(SnapshotError):
    """Too many ask at once."""


class KeyFrameLike(Protocol):
    """What `Core.key_frame` gives."""

    @property
    def codec(self) -> str: ...
    @property
    def dts_90k(self) -> int: ...
    @property
    def wall_ms(self) -> int: ...
    @property
    def data(self) -> bytes: ...


KeyFrames = Callable[[int], KeyFrameLike | None]
"""Gives the newest key frame of a receiver (`Relay.key_frame`); it may wait."""
Key = tuple[int, int, int, int, int]


class Snapshots:
    """One for all streams; its process ends when it is left."""

    def __init__(self, key_frames: KeyFrames, *, patience: float = PATIENCE_SECONDS) -> None:
        self.decoded = 0
        self.failed = 0
        self._key_frames = key_frames
        self._patience = patience
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._process: asyncio.subprocess.Process | None = None
        self._orders = 0

    async def take(self, receiver: int, *, width: int = 0, quality: int = 80) -> tuple[bytes, int]:
        """The picture, at most `width` wide (0: as it is), and when it came in milliseconds of the UNIX epoch.

        SnapshotError if there is none or it cannot be decoded, SnapshotBusyError; what `key_frames` raises.
        """
        frame = await asyncio.to_thread(self._key_frames, receiver)
        if frame is None:
            raise SnapshotError(NONE_KEPT)
        key = (receiver, frame.dts_90k, frame.wall_ms, width, quality)
        if key not in self._kept:
            if self._waiting >= WAITING_MAX:
                raise SnapshotBusyError("too many pictures are asked for at once")
            self._waiting += 1
            try:
                async with self._turn:
                    if key not in self._kept:
                        self._keep(key, await self._decode(frame, width, quality))
            finally:
                self._waiting -= 1
        self._kept.move_to_end(key)
        return self._kept[key], frame.wall_ms

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    def _keep(self, key: Key, picture: bytes) -> None:
        self._kept[key] = picture
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    async def _decode(self, frame: KeyFrameLike, width: int, quality: int) -> bytes:
        try:
            async with asyncio.timeout(self._patience):
                picture = await self._ask(f"{frame.codec} {width} {quality}\n".encode() + frame.data)
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            self.failed += 1
            raise SnapshotError("the decoder failed on the key frame") from error
        except BaseException:
            await self._end()  # an answer that nobody waited for must not be the next one's
            raise
        finally:
            if self._orders >= ORDERS_MAX or sys.exc_info()[0] is not None:
                await self._end()
        if not picture:
            self.failed += 1
            raise SnapshotError("the key frame cannot be decoded")
        self.decoded += 1
        return picture

    async def _ask(self, order: bytes) -> bytes:
        if self._process is None or self._process.returncode is not None:
            self._orders = 0
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "media.snapshot_worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        self._orders += 1
        sink, source = self._process.stdin, self._process.stdout
        assert sink is not None and source is not None
        sink.write(struct.pack(">I", len(order)) + order)
        await sink.drain()
        return await source.readexactly(struct.unpack(">I", await source.readexactly(4))[0])

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
