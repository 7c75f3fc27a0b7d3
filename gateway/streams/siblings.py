"""Streams with AAC beside streams whose sound players cannot decode: made when asked for, gone when nobody watches."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self

import structlog

from gateway.errors import ConflictError, NotFoundError, UnavailableError
from gateway.streams.live import LiveStream
from gateway.streams.model import StreamRecord
from media._core import CoreError, Feed
from media.sibling import Sibling, Subscriber

SUFFIX: Final = "~aac"
"""Behind the stream's name; no stream that is made by hand can be called so."""
SIBLINGS_MAX: Final = 64
ENCODERS: Final = 2
"""Threads for the sound of all of them."""
LOOK_SECONDS: Final = 5.0
IDLE_LOOKS: Final = 12
"""Unwatched for a minute, one ends."""

log = structlog.get_logger(__name__)


class SiblingRelay(Subscriber, Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def stream(self, app: str, name: str) -> LiveStream | None: ...
    def open_feed(
        self, app: str, name: str, *, transport: Literal["derived"], private: bool, generation: int
    ) -> Feed: ...


class KnownStreams(Protocol):
    """Who knows streams (`gateway.store.streams.StreamStore`)."""

    async def find(self, app: str, name: str) -> StreamRecord | None: ...


class Siblings:
    """All of them. An async context manager; left, it frees its threads."""

    def __init__(
        self,
        relay: SiblingRelay,
        streams: KnownStreams,
        spawn: Callable[[Coroutine[Any, Any, None], str], None],
    ) -> None:
        self._relay = relay
        self._streams = streams
        self._spawn = spawn
        self._running: dict[tuple[str, str], StreamRecord] = {}
        self._executor = ThreadPoolExecutor(ENCODERS, thread_name_prefix="sibling")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def open(self, stream: StreamRecord) -> StreamRecord:
        """The stream as its sibling is called, which runs from now on.

        NotFoundError if nothing flows, ConflictError if its sound needs no other coding, UnavailableError if as many
        run as may.
        """
        key = (stream.app, stream.name)
        sibling = replace(stream, name=stream.name + SUFFIX)
        if key in self._running:
            return sibling
        live = await asyncio.to_thread(self._relay.stream, *key)
        if live is None:
            raise NotFoundError("stream", f"{stream.name} that flows")
        if live.audio_codec is None or live.audio_codec == "AAC":
            sound = live.audio_codec or "missing"
            raise ConflictError(f"the sound of {stream.name} is {sound}: nothing is to be made of it")
        if len(self._running) >= SIBLINGS_MAX:
            raise UnavailableError(f"{SIBLINGS_MAX} streams have their sound made into AAC, and more may not")
        if key not in self._running:  # nobody else came first meanwhile
            self._start(stream, live.receiver, sibling)
        return sibling

    def _start(self, stream: StreamRecord, receiver: int, sibling: StreamRecord) -> None:
        try:
            feed = self._relay.open_feed(
                sibling.app, sibling.name, transport="derived", private=stream.private, generation=stream.generation
            )
            work = Sibling(self._relay, receiver, feed, self._executor)
        except CoreError as error:
            raise ConflictError(str(error)) from error
        self._running[stream.app, stream.name] = stream
        self._spawn(self._run(stream, work), f"AAC of {stream.name}")
        log.info("sound is made into AAC", app=stream.app, stream=stream.name)

    async def _run(self, stream: StreamRecord, work: Sibling) -> None:
        task = asyncio.create_task(work.run())
        try:
            await self._watch(stream, task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            del self._running[stream.app, stream.name]
            log.info("sound is made into AAC no more", app=stream.app, stream=stream.name)

    async def _watch(self, stream: StreamRecord, task: asyncio.Task[None]) -> None:
        """Until it ends, nobody watches, or who may play it changed: addresses that were made void end it, too."""
        idle = 0
        while idle < IDLE_LOOKS:
            await asyncio.wait({task}, timeout=LOOK_SECONDS)
            if task.done():
                return
            try:
                live = await asyncio.to_thread(self._relay.stream, stream.app, stream.name + SUFFIX)
                idle = 0 if live is not None and any(live.viewers.values()) else idle + 1
                now = await self._streams.find(stream.app, stream.name)
            except (CoreError, UnavailableError):  # too busy to tell: it is looked again
                continue
            if now is None or (now.generation, now.private) != (stream.generation, stream.private):
                return
