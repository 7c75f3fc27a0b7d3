"""Options of streams: kept in the store, and told to the relay whenever a stream opens, and while it flows."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import structlog

from gateway.errors import GatewayError, NotFoundError, UnavailableError
from gateway.media_event import MediaEvent
from gateway.retention.model import RecordingForm
from gateway.scope import Scope
from gateway.store import Store
from gateway.streams.model import StreamRecord
from gateway.streams.options import NOTHING, Form, OwnOptions, StreamOptions
from gateway.streams.siblings import SUFFIX
from media._core import CoreError

AGAIN_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class OpenStream(Protocol):
    """As much of a stream in the relay as is needed here."""

    @property
    def receiver(self) -> int: ...


class OptionRelay(Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def when_opened(self, told: Callable[[str, str, int], None]) -> None:
        """`told` is called with app, name and receiver of each stream that opens."""

    def set_options(
        self,
        receiver: int,
        *,
        forms: Sequence[str],
        audio: bool,
        gop_bytes_max: int,
        from_gop: bool,
        no_viewer_ms: int,
        hls_segment_ms: int,
        hls_segments: int,
        hls_always: Sequence[str],
        merge_write_ms: int,
    ) -> None:
        """CoreError if the receiver is gone."""

    def set_viewers_max(self, app: str, name: str, viewers_max: int) -> None: ...
    def stream(self, app: str, name: str) -> OpenStream | None: ...


@dataclass(frozen=True, slots=True)
class OptionView:
    """What was chosen for a stream, and what counts."""

    own: OwnOptions
    effective: StreamOptions


class OptionBook:
    """A stream that opens is told its options in the same moment, from memory: so there is none that is given out in a
    form that it must not. `load` it before anything opens."""

    def __init__(
        self,
        store: Store,
        relay: OptionRelay,
        defaults: StreamOptions,
        *,
        stop: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """`stop` ends a stream that is pulled and that nobody watches."""
        self._store = store
        self._relay = relay
        self._defaults = defaults
        self._stop = stop
        self._own: dict[tuple[str, str], OwnOptions] = {}
        self._doubted: dict[tuple[str, str], int] = {}
        """Streams that opened, by their receivers, whose options are looked up again."""
        self._unwatched: set[tuple[str, str]] = set()
        self._woken = asyncio.Event()
        relay.when_opened(self._opened)

    async def load(self) -> None:
        """Reads what was chosen. UnavailableError."""
        self._own = {(app, name): own async for app, name, own in self._store.options.every()}

    @property
    def defaults(self) -> StreamOptions:
        """What counts for streams of which nothing was chosen."""
        return self._defaults

    def of(self, app: str, name: str) -> StreamOptions:
        """What counts for a stream; a sibling has the options of the stream that it is made of."""
        return self._own.get((app, name.removesuffix(SUFFIX)), NOTHING).over(self._defaults)

    def allows(self, app: str, name: str, form: Form) -> bool:
        """Whether the stream is given out so."""
        return form in self.of(app, name).forms

    def recording_form(self, app: str, name: str) -> RecordingForm:
        """What a stream is to be recorded as."""
        own = self._own.get((app, name), NOTHING).recording_form
        return self._defaults.recording_form if own is None else own

    async def stored_recording_form(self, stream: StreamRecord) -> RecordingForm:
        """The same as it is stored: what is remembered may be of a stream of the same name that was deleted."""
        own = await self._store.options.of(stream.stream_id) or NOTHING
        return own.over(self._defaults).recording_form

    async def get(self, scope: Scope, name: str) -> OptionView:
        """NotFoundError."""
        stream = await self._find(scope, name)
        own = await self._store.options.of(stream.stream_id) or NOTHING
        return OptionView(own, own.over(self._defaults))

    async def put(self, scope: Scope, name: str, own: OwnOptions, at: datetime) -> OptionView:
        """Puts these in the place of all that was chosen; in force at once. NotFoundError, InvalidError."""
        own.check()
        stream = await self._find(scope, name)
        await self._store.options.put(stream.stream_id, own, at)
        self._note(stream.app, stream.name, own)
        for called in (stream.name, stream.name + SUFFIX):
            live = await asyncio.to_thread(self._relay.stream, stream.app, called)
            if live is not None:
                self._tell(stream.app, called, live.receiver)
        return OptionView(own, own.over(self._defaults))

    def handle_media(self, event: MediaEvent) -> None:
        """An event of the relay: of pulled streams, those that nobody watches for as long as was chosen are stopped."""
        own = self._own.get((event.app, event.name))
        if event.kind == "no_viewers" and own is not None and own.no_viewers:
            self._unwatched.add((event.app, event.name))
            self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled: stops what nobody watches, and looks at the store again for streams that opened."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._unwatched:
                await self._let_go(*self._unwatched.pop())
            while self._doubted:
                (app, name), receiver = self._doubted.popitem()
                try:
                    await self._look_again(app, name, receiver)
                except UnavailableError as error:
                    log.warning("options are looked up later", error=str(error))
                    self._doubted.setdefault((app, name), receiver)
                    await asyncio.sleep(AGAIN_SECONDS)

    async def _let_go(self, app: str, name: str) -> None:
        try:
            await self._stop(app, name)
        except GatewayError as error:
            log.warning("a stream that nobody watches cannot be stopped", app=app, stream=name, error=str(error))

    async def _find(self, scope: Scope, name: str) -> StreamRecord:
        stream = await self._store.streams.get(scope, name)
        if stream is None:
            raise NotFoundError("stream", name)
        return stream

    def _opened(self, app: str, name: str, receiver: int) -> None:
        self._tell(app, name, receiver)
        if (app, name) in self._own:
            self._doubted[app, name] = receiver
            self._woken.set()

    async def _look_again(self, app: str, name: str, receiver: int) -> None:
        """What is remembered may be of a stream of the same name that was deleted."""
        stored = await self._store.options.find(app, name) or NOTHING
        if stored != self._own.get((app, name), NOTHING):
            self._note(app, name, stored)
            self._tell(app, name, receiver)

    def _note(self, app: str, name: str, own: OwnOptions) -> None:
        if own == NOTHING:
            self._own.pop((app, name), None)
        else:
            self._own[app, name] = own

    def _tell(self, app: str, name: str, receiver: int) -> None:
        options = self.of(app, name)
        try:
            self._relay.set_options(
                receiver,
                forms=options.forms,
                audio=options.audio,
                gop_bytes_max=options.gop_bytes_max,
                from_gop=options.from_gop,
                no_viewer_ms=round(options.no_viewers * 1000),
                hls_segment_ms=round(options.hls_segment * 1000),
                hls_segments=options.hls_segments,
                hls_always=options.hls_always,
                merge_write_ms=round(options.merge_write * 1000),
            )
        except CoreError as error:
            log.debug("a stream has gone before it had its options", app=app, stream=name, error=str(error))
            return
        self._relay.set_viewers_max(app, name, options.viewers_max)
