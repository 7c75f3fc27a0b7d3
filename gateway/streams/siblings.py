"""Streams with AAC beside streams whose sound players cannot decode: made when asked for, gone when nobody watches."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self

import structlog

from gateway.errors import ConflictError, GatewayError, NotFoundError, UnavailableError
from gateway.media_event import MediaEvent
from gateway.metrics import Gathered
from gateway.streams.live import LiveStream
from gateway.streams.model import StreamRecord
from gateway.streams.questions import Questions
from media._core import CoreError, Feed
from media.sibling import Sibling, Subscriber

SUFFIX: Final = "~aac"
"""Behind the stream's name; no stream that is made by hand can be called so. The relay calls it so, too."""
SIBLINGS_MAX: Final = 64
ENCODERS: Final = 2
"""Threads for the sound of all of them."""
LOOK_SECONDS: Final = 5.0
IDLE_LOOKS: Final = 12
"""Unwatched for a minute, one that was made by a call ends: its address has yet to reach a player."""
WATCHED_LOOKS: Final = 2
"""One that a viewer asked for ends so many looks after the last one left."""

log = structlog.get_logger(__name__)


class SiblingRelay(Subscriber, Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def answer_play(self, ticket: int, allowed: bool) -> None: ...

    def stream(self, app: str, name: str) -> LiveStream | None: ...
    def open_feed(
        self, app: str, name: str, *, transport: Literal["derived"], private: bool, generation: int
    ) -> Feed: ...


class Source(Protocol):
    """Whose sound is made into AAC: a stream, or a playback of one."""

    @property
    def app(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def private(self) -> bool: ...
    @property
    def generation(self) -> int: ...


class KnownStreams(Protocol):
    """Who knows some of them (`gateway.store.streams.StreamStore`, `gateway.playback.service.Playbacks`)."""

    async def find(self, app: str, name: str) -> Source | None: ...


@dataclass(frozen=True, slots=True)
class _Played:
    """The source as it was."""

    app: str
    name: str
    private: bool
    generation: int

    @classmethod
    def of(cls, source: Source) -> Self:
        return cls(source.app, source.name, source.private, source.generation)


@dataclass(slots=True)
class _Running:
    """The source as it was, and how long its sibling stays unwatched."""

    stream: _Played
    idle_looks: int


class Siblings:
    """All of them. `handle_media` takes the relay's events and never waits; `counts` is what came of viewers' wishes.
    An async context manager; left, it frees its threads."""

    def __init__(
        self,
        relay: SiblingRelay,
        known: Sequence[KnownStreams],
        spawn: Callable[[Coroutine[Any, Any, None], str], None],
        *,
        look: float = LOOK_SECONDS,
    ) -> None:
        """`known`: who is asked for a stream, one after the other; `look`: seconds between two looks at who watches."""
        self.counts = Counter[str](made=0, refused=0, failed=0, busy=0)
        self._relay = relay
        self._known = known
        self._spawn = spawn
        self._look = look
        self._questions = Questions()
        self._running: dict[tuple[str, str], _Running] = {}
        self._executor = ThreadPoolExecutor(ENCODERS, thread_name_prefix="sibling")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._questions.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def collectors(self) -> tuple[Gathered, ...]:
        """What is told at /metrics."""
        return (
            Gathered(
                "gateway_aac_viewers",
                "First viewers who asked for sound as AAC",
                "outcome",
                lambda: self.counts,
                counter=True,
            ),
            Gathered("gateway_aac_streams", "Streams whose sound is made into AAC", "name", self._figures),
        )

    def handle_media(self, event: MediaEvent) -> None:
        """Only `aac` counts: somebody who may play a stream wants its sound so."""
        if event.kind != "aac":
            return
        detail = event.detail
        ticket = int(detail["ticket"])
        if not self._questions.ask(lambda: self._answer(ticket, detail["app"], detail["name"])):
            self._tell(ticket, "busy")

    async def _answer(self, ticket: int, app: str, name: str) -> None:
        try:
            stream = await self._find(app, name)
            if stream is None:
                raise NotFoundError("stream", name)
            await self._ensure(stream, WATCHED_LOOKS)
        except (CoreError, GatewayError) as error:
            log.info("sound is not made into AAC", app=app, stream=name, error=str(error))
            self._tell(ticket, "failed" if isinstance(error, CoreError) else "refused")
            return
        self._tell(ticket, "made")

    def _tell(self, ticket: int, outcome: str) -> None:
        self.counts[outcome] += 1
        try:
            self._relay.answer_play(ticket, outcome == "made")
        except CoreError as error:
            log.debug("who wanted AAC has gone", error=str(error))

    def _figures(self) -> dict[str, float]:
        return {"running": len(self._running)}

    async def open(self, stream: StreamRecord) -> StreamRecord:
        """The stream as its sibling is called, which runs from now on, and ends a minute after it was watched last.

        NotFoundError if nothing flows, ConflictError if its sound needs no other coding, UnavailableError if as many
        run as may.
        """
        await self._ensure(stream, IDLE_LOOKS)
        return replace(stream, name=stream.name + SUFFIX)

    async def _find(self, app: str, name: str) -> _Played | None:
        for known in self._known:
            if (found := await known.find(app, name)) is not None:
                return _Played.of(found)
        return None

    async def _ensure(self, source: Source, idle_looks: int) -> None:
        stream = _Played.of(source)
        key = (stream.app, stream.name)
        if (running := self._running.get(key)) is not None:
            running.idle_looks = max(running.idle_looks, idle_looks)
            return
        live = await asyncio.to_thread(self._relay.stream, *key)
        if live is None:
            raise NotFoundError("stream", f"{stream.name} that flows")
        if live.audio_codec is None or live.audio_codec == "AAC":
            sound = live.audio_codec or "missing"
            raise ConflictError(f"the sound of {stream.name} is {sound}: nothing is to be made of it")
        if len(self._running) >= SIBLINGS_MAX:
            raise UnavailableError(f"{SIBLINGS_MAX} streams have their sound made into AAC, and more may not")
        if key not in self._running:  # nobody else came first meanwhile
            self._start(_Running(stream, idle_looks), live.receiver)

    def _start(self, running: _Running, receiver: int) -> None:
        stream = running.stream
        try:
            feed = self._relay.open_feed(
                stream.app,
                stream.name + SUFFIX,
                transport="derived",
                private=stream.private,
                generation=stream.generation,
            )
            work = Sibling(self._relay, receiver, feed, self._executor)
        except CoreError as error:
            raise ConflictError(str(error)) from error
        self._running[stream.app, stream.name] = running
        self._spawn(self._run(running, work), f"AAC of {stream.name}")
        log.info("sound is made into AAC", app=stream.app, stream=stream.name)

    async def _run(self, running: _Running, work: Sibling) -> None:
        stream = running.stream
        task = asyncio.create_task(work.run())
        try:
            await self._watch(running, task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            del self._running[stream.app, stream.name]
            log.info("sound is made into AAC no more", app=stream.app, stream=stream.name)

    async def _watch(self, running: _Running, task: asyncio.Task[None]) -> None:
        """Until it ends, nobody watches, or who may play it changed: addresses that were made void end it, too."""
        stream, idle = running.stream, 0
        while idle < running.idle_looks:
            await asyncio.wait({task}, timeout=self._look)
            if task.done():
                return
            try:
                live = await asyncio.to_thread(self._relay.stream, stream.app, stream.name + SUFFIX)
                idle = 0 if live is not None and any(live.viewers.values()) else idle + 1
                now = await self._find(stream.app, stream.name)
            except (CoreError, UnavailableError):  # too busy to tell: it is looked again
                continue
            if now != stream:
                return
