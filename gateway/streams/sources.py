"""Where video of streams comes from that are no channels': who pushes them, and what is pulled for them.

What is stored decides; what runs follows it, one change of a stream at a time. A push is judged in the same turns, so
that none is accepted by what a stream was a moment ago.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple, Protocol

import structlog

from gateway.errors import GatewayError, IllegalTransitionError, UnavailableError
from gateway.media_event import MediaEvent
from gateway.store import Store, StreamQuotas
from gateway.streams.carriage import Transport, transport_of
from gateway.streams.errors import UrlError
from gateway.streams.history import StreamHistory
from gateway.streams.inputs import Input
from gateway.streams.model import AccessType, StreamEvent, StreamRecord, StreamState
from gateway.streams.programs import Programs
from gateway.streams.pull_inputs import FIRST_LABEL, InputRelay, PullInputs
from gateway.streams.source import Source, SourceCause, SourceState, SourceView
from gateway.streams.turns import Turns
from media._core import CoreError, Feed

AGAIN_SECONDS: Final = 5.0
OPENED_AT_ONCE: Final = 20
OPENING_GAP_SECONDS: Final = 0.1
"""200 pulls a second at start-up: neither our resolver nor the cameras' network has a storm to bear."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

log = structlog.get_logger(__name__)

C = SourceCause
CAUSES: Final[Mapping[str, SourceCause]] = {
    "connected": C.CONNECTED,
    "connect_failed": C.CONNECT_FAILED,
    "first_packet": C.MEDIA,
    "tracks": C.MEDIA,
    "resumed": C.MEDIA,
    "silent": C.SILENCE,
    "disconnected": C.DISCONNECTED,
    "ended": C.ENDED,
    "failed": C.ENDED,
}
"""What events of the relay mean for a source."""


class Why(NamedTuple):
    """Why something became of a source."""

    reason: str = ""
    """A sentence."""
    code: str = ""
    """The word for it that does not change."""


NO_REASON: Final = Why()
STOPPED: Final = Why("the stream was stopped", "stream_stopped")
UNWATCHED: Final = Why("nobody watched it for as long as its options allow", "unwatched")
CHANGED: Final = Why("the stream was changed", "changed")
DELETED: Final = Why("the stream was deleted", "deleted")
REPLACED: Final = Why("another push took its place", "replaced")


class ReceiverHandle(Protocol):
    """What `open_pull` made (`media._core.Receiver`)."""

    @property
    def id(self) -> int: ...


class SourceRelay(InputRelay, Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def open_pull(
        self,
        app: str,
        name: str,
        url: str,
        *,
        private: bool,
        generation: int,
        allow_private: bool,
        transport: Transport,
        command: Sequence[str] = (),
        label: str = "",
    ) -> ReceiverHandle:
        """CoreError for a URL that cannot be used, or if the stream has a source."""

    def accept_publish(self, ticket: int, app: str, name: str, *, private: bool, generation: int) -> int:
        """The new source's id; CoreError if the stream has one, or who asked has gone."""

    def open_feed(self, app: str, name: str, *, transport: Literal["whip"], private: bool, generation: int) -> Feed:
        """A stream whose frames are pushed; CoreError if it has a source."""

    def close_receiver(self, receiver: int) -> None: ...
    def set_private(self, app: str, name: str, private: bool) -> None: ...
    def set_generation(self, app: str, name: str, generation: int) -> None: ...


@dataclass(slots=True)
class _Live:
    """One source that runs, and the stream as it was when it was opened."""

    receiver: int
    stream: StreamRecord
    since: datetime
    source: Source = field(default_factory=Source)
    peer: str | None = None
    why: Why = NO_REASON
    """Of the last failure."""
    retry_at: datetime | None = None

    def outdated(self, stream: StreamRecord) -> bool:
        """Whether it was opened with what no longer counts: it must go, and be opened or pushed anew."""
        old = self.stream
        return (old.access_type, old.url, old.access_key) != (stream.access_type, stream.url, stream.access_key)


class StreamSources:
    """`handle_media` takes the relay's events, `run` is its one task; nothing is to be closed: the relay ends with its
    streams."""

    def __init__(
        self,
        store: Store,
        relay: SourceRelay,
        history: StreamHistory,
        clock: Callable[[], datetime],
        *,
        allow_private: bool = False,
        programs: Programs | None = None,
        return_after: float | None = 30.0,
    ) -> None:
        """`allow_private`: streams may be pulled from addresses of private networks; `programs`: what is left to a
        program of its own; `return_after`: see `PullInputs`."""
        self._programs = programs or Programs()
        self.inputs = PullInputs(relay, history, clock, programs=self._programs, return_after=return_after)
        self._store = store
        self._relay = relay
        self._history = history
        self._clock = clock
        self._allow_private = allow_private
        self._turns = Turns[tuple[str, str]]()
        self._live: dict[tuple[str, str], _Live] = {}
        self._by_receiver: dict[int, _Live] = {}
        self._adrift: set[tuple[str, str]] = set()
        """Streams of which may run what should not, or not what should: followed again soon."""
        self._woken = asyncio.Event()

    # -- what is stored ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until it is cancelled: opens what is to be pulled, and again what was lost by a fault of ours."""
        await self._load()
        while True:
            await self._woken.wait()
            self._woken.clear()
            await asyncio.sleep(AGAIN_SECONDS)
            adrift, self._adrift = self._adrift, set()
            for app, name in adrift:
                await self._try_to_follow(app, name)

    async def _load(self) -> None:
        """Opens the pull of every active stream, spread over time."""
        opened = 0
        while True:
            try:
                async for app, name in self._store.streams.active(AccessType.HTTP_FLV):
                    await self._try_to_follow(app, name)
                    opened += 1
                    if opened % OPENED_AT_ONCE == 0:
                        await asyncio.sleep(OPENING_GAP_SECONDS)
            except UnavailableError as error:
                log.warning("streams are pulled later", error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                if opened:
                    log.info("streams are pulled", streams=opened)
                return

    async def _try_to_follow(self, app: str, name: str) -> None:
        """One that cannot be followed is no reason to leave the others; what cannot be pulled waits for a change."""
        try:
            await self.follow(app, name)
        except GatewayError as error:
            log.warning("a stream cannot be pulled", app=app, stream=name, error=str(error))

    async def follow(self, app: str, name: str, *, stopped: Why = STOPPED) -> None:
        """Brings what runs in line with what is stored of the stream; `stopped`: what history says of one that is.

        UrlError if it cannot be pulled; UnavailableError while the database is away: then it is tried again.
        """
        try:
            await self._follow(app, name, stopped)
        except UnavailableError:
            self._set_adrift(app, name)
            raise

    def _set_adrift(self, app: str, name: str) -> None:
        self._adrift.add((app, name))
        self._woken.set()

    async def _follow(self, app: str, name: str, why: Why) -> None:
        async with self._turns.of((app, name)):
            stream = await self._store.streams.find(app, name)
            live = self._live.get((app, name))
            stopped = stream is None or stream.state is not StreamState.ACTIVE
            if live is not None and (stream is None or stopped or live.outdated(stream)):
                self._close(live, why if stopped else CHANGED)
                live = None
            if stream is None or stopped:
                return
            if live is not None and live.stream.private is not stream.private:
                self._relay.set_private(app, name, stream.private)
            if live is not None:
                live.stream = stream
            elif stream.access_type is AccessType.HTTP_FLV:
                self._pull(stream, await self._store.inputs.of(stream.stream_id))

    async def stop_unwatched(self, app: str, name: str) -> None:
        """Stops a stream that is pulled, because nobody watches it; any other goes on. UnavailableError."""
        stream = await self._store.streams.find(app, name)
        if stream is None or stream.access_type is not AccessType.HTTP_FLV:
            return

        def stopped(stream: StreamRecord) -> StreamRecord:
            return replace(stream, state=StreamState.STOPPED, updated_at=self._clock())

        # What stops needs no quota.
        await self._store.streams.update(stream.project_id, name, stopped, quotas=StreamQuotas(0, 0))
        log.info("nobody watches", app=app, stream=name)
        await self.follow(app, name, stopped=UNWATCHED)

    async def set_inputs(self, stream: StreamRecord, change: Callable[[Sequence[Input]], Sequence[Input]]) -> None:
        """Puts what `change` makes of the inputs that back the stream up in their place, also if it is pulled now; it
        then begins with the first one. Raises what `change` does, with nothing changed."""
        async with self._turns.of((stream.app, stream.name)):
            inputs = change(await self._store.inputs.of(stream.stream_id))
            await self._store.inputs.put(stream.stream_id, inputs)
            live = self._live.get((stream.app, stream.name))
            if live is not None and live.stream.access_type is AccessType.HTTP_FLV:
                if any(one.active and one.input.number != 1 for one in self.inputs.look(live.receiver)):
                    self.inputs.choose(live.receiver, 1)
                self.inputs.begin(live.stream, live.receiver, inputs)

    def input_receiver(self, app: str, name: str) -> int | None:
        """The receiver of a stream that is pulled now."""
        live = self._live.get((app, name))
        return live.receiver if live is not None and live.stream.access_type is AccessType.HTTP_FLV else None

    @asynccontextmanager
    async def ending(self, stream: StreamRecord) -> AsyncIterator[None]:
        """Ends what runs of the stream, and lets nothing begin until it is left; with an error it goes on as it was."""
        async with self._turns.of((stream.app, stream.name)):
            live = self._live.get((stream.app, stream.name))
            if live is not None:
                self._close(live, DELETED)
            try:
                yield
            except BaseException:
                self._set_adrift(stream.app, stream.name)
                raise

    def set_generation(self, app: str, name: str, generation: int) -> None:
        """Play addresses of other generations are void from now on."""
        self._relay.set_generation(app, name, generation)

    # -- what comes in ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def turn(self, app: str, name: str) -> AsyncIterator[None]:
        """Nothing of the stream is changed meanwhile."""
        async with self._turns.of((app, name)):
            yield

    def accept(self, ticket: int, stream: StreamRecord) -> None:
        """Lets a push in that was judged in this `turn`. One that is silent already gives way to it.

        CoreError if the stream is pushed already, or who asked has gone.
        """
        live = self._live.get((stream.app, stream.name))
        if live is not None and live.source.state is SourceState.SILENT:
            self._close(live, REPLACED)
        receiver = self._relay.accept_publish(
            ticket, stream.app, stream.name, private=stream.private, generation=stream.generation
        )
        if live is not None:  # it has ended, and that was not told
            self._forget(live)
        self._add(_Live(receiver, stream, self._clock()), C.CONNECTED)

    def open_feed(self, stream: StreamRecord) -> Feed:
        """The same for a publisher of whom the relay knows nothing: its frames are pushed into the feed. CoreError."""
        live = self._live.get((stream.app, stream.name))
        if live is not None and live.source.state is SourceState.SILENT:
            self._close(live, REPLACED)
        feed = self._relay.open_feed(
            stream.app, stream.name, transport="whip", private=stream.private, generation=stream.generation
        )
        if live is not None:  # it has ended, and that was not told
            self._forget(live)
        self._add(_Live(feed.id, stream, self._clock()), C.CONNECTED)
        return feed

    def handle_media(self, event: MediaEvent) -> None:
        """An event of the relay; those of channels, and of sources that were closed, are passed over."""
        live = self._by_receiver.get(event.receiver)
        cause = CAUSES.get(event.kind)
        try:
            self._handle(live, cause, event)
        finally:
            self.inputs.handle_media(event)

    def _handle(self, live: _Live | None, cause: SourceCause | None, event: MediaEvent) -> None:
        if live is None or cause is None:
            return
        if cause is C.CONNECTED or "peer" in event.detail:  # what a program fetches has none
            live.peer = event.detail.get("peer")
        at = EPOCH + timedelta(milliseconds=event.at_ms)
        retry = event.detail.get("retry_ms")
        live.retry_at = at + timedelta(milliseconds=int(retry)) if retry else None
        if cause is C.ENDED:
            self._forget(live)
            if live.stream.access_type is AccessType.HTTP_FLV:  # we did not end it
                self._set_adrift(live.stream.app, live.stream.name)
        self._step(live, cause, at, Why(event.detail.get("reason", ""), event.detail.get("cause", "")))

    def look(self, app: str, name: str) -> SourceView | None:
        """Where the source of a stream stands; None if there is none."""
        live = self._live.get((app, name))
        if live is None:
            return None
        return SourceView(
            state=live.source.state,
            since=live.since,
            peer=live.peer,
            reason=live.why.reason,
            reason_code=live.why.code,
            failures=live.source.failures,
            retry_at=live.retry_at,
        )

    @property
    def counts(self) -> dict[SourceState, int]:
        """How many sources stand where."""
        counted = dict.fromkeys(SourceState, 0)
        for live in self._live.values():
            counted[live.source.state] += 1
        return counted

    # -- one source -------------------------------------------------------------------------------------------------

    def _pull(self, stream: StreamRecord, backups: Sequence[Input]) -> None:
        url = stream.url or ""
        try:
            receiver = self._relay.open_pull(
                stream.app,
                stream.name,
                url,
                private=stream.private,
                generation=stream.generation,
                allow_private=self._allow_private,
                transport=transport_of(url),
                command=self._programs.command(url),
                label=FIRST_LABEL,
            )
        except CoreError as error:
            raise UrlError("url", str(error)) from error
        self._add(_Live(receiver.id, stream, self._clock()), C.OPENED)
        self.inputs.begin(stream, receiver.id, backups)

    def _add(self, live: _Live, cause: SourceCause) -> None:
        self._live[live.stream.app, live.stream.name] = live
        self._by_receiver[live.receiver] = live
        self._step(live, cause, live.since, NO_REASON)

    def _close(self, live: _Live, why: Why) -> None:
        self._forget(live)
        with suppress(CoreError):
            self._relay.close_receiver(live.receiver)
        self._step(live, C.ENDED, self._clock(), why)

    def _forget(self, live: _Live) -> None:
        self._by_receiver.pop(live.receiver, None)
        self.inputs.forget(live.receiver)
        if self._live.get((live.stream.app, live.stream.name)) is live:
            del self._live[live.stream.app, live.stream.name]

    def _step(self, live: _Live, cause: SourceCause, at: datetime, why: Why) -> None:
        stream, reason = live.stream, why.reason
        try:
            before, after, told = live.source.handle(cause, reason)
        except IllegalTransitionError as error:
            log.warning("a source did what it cannot do", app=stream.app, stream=stream.name, error=str(error))
            return
        live.why = why if reason else live.why
        if after is not before:
            live.since = at
        if not told:
            return
        log.info(
            "source changed", app=stream.app, stream=stream.name, state=after.value, cause=cause.value, reason=reason
        )
        self._history.put(
            StreamEvent(
                at=at,
                project_id=stream.project_id,
                stream_name=stream.name,
                before=before.value,
                after=after.value,
                cause=cause.value,
                detail=reason or (live.peer or "" if cause is C.CONNECTED else ""),
                reason_code=why.code,
            )
        )
