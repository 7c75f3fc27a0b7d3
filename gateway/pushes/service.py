"""Pushes of streams: what is stored is opened whenever its stream is, and what is shown is how the relay stands."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from gateway.errors import InvalidError, NotFoundError, UnavailableError
from gateway.media_event import MediaEvent
from gateway.pushes.model import PushRecord, PushView
from gateway.pushes.rules import PUSHES_OF_STREAM_MAX, check_url
from gateway.scope import Scope
from gateway.store import Store
from gateway.streams.carriage import Transport, transport_of
from media._core import CoreError, UnknownReceiverError

AGAIN_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 300.0
"""So often pushes are dropped whose streams went without a word."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
BEGINNINGS: Final = frozenset({"tracks", "connected", "first_packet", "resumed"})
"""Events after which a stream is there to be pushed."""
REFUSED_HERE: Final = "refused_here"
"""Cause of a push that the relay does not even begin."""

log = structlog.get_logger(__name__)


class OpenedPush(Protocol):
    """A push in the relay at one moment (`media._core.Push`)."""

    @property
    def id(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def failures(self) -> int: ...


class LiveStream(Protocol):
    """As much of a stream in the relay as is needed here."""

    @property
    def receiver(self) -> int: ...


class PushRelay(Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def open_push(self, receiver: int, url: str, *, allow_private: bool, transport: Transport) -> int:
        """CoreError for an address that cannot be used; UnknownReceiverError for a receiver that is gone."""

    def close_push(self, push: int) -> None:
        """An unknown one is ignored."""

    def pushes(self) -> Sequence[OpenedPush]: ...
    def stream(self, app: str, name: str) -> LiveStream | None:
        """CoreError while it is too busy."""


@dataclass(slots=True)
class _Push:
    record: PushRecord
    opened: int | None = None
    receiver: int = 0
    reason: str = ""
    cause: str = ""
    failed_at: datetime | None = None


class Pushes:
    """`handle_media` takes the relay's events and never waits; `run` is its one task, which opens what is to be opened.

    Streams are deleted in many ways, and their pushes with them, of which nobody tells: so each beginning of a stream
    is held against what is stored. Another stream may have the name by then.
    """

    def __init__(self, store: Store, relay: PushRelay, clock: Callable[[], datetime], *, allow_private: bool) -> None:
        """`allow_private`: streams may be pushed to addresses of private networks."""
        self._store = store
        self._relay = relay
        self._clock = clock
        self._allow_private = allow_private
        self._wanted: dict[tuple[str, str], dict[str, _Push]] = {}
        self._opened: dict[int, _Push] = {}
        self._begun: dict[tuple[str, str], int] = {}
        """Streams that began, and their receivers; as many as there are pushes at most."""
        self._bell = asyncio.Event()

    async def run(self) -> None:
        """Reads what is stored and opens what flows already, then what begins, until it is cancelled; tried again while
        the database is away."""
        for record in await self._every():
            await self._want(record)
        loop = asyncio.get_running_loop()
        due = loop.time() + SWEEP_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._bell.wait()
            if loop.time() >= due:  # however often it rings
                await self.sweep()
                due = loop.time() + SWEEP_SECONDS
            self._bell.clear()
            await self.look()

    async def look(self) -> None:
        """Opens the pushes of streams that began, as far as they are still stored."""
        streams, self._begun = self._begun, {}  # what begins meanwhile rings again
        for (app, name), begun in streams.items():
            known = list(self._wanted.get((app, name), {}).values())
            try:
                stream = await self._store.streams.find(app, name)
                stored = () if stream is None else await self._store.pushes.of(stream.stream_id)
            except UnavailableError:  # what was stored last counts
                log.warning("pushes are opened as they were known", app=app, stream=name)
            else:
                self._keep(known, stored)
            # Meanwhile the stream may have ended, or begun anew.
            receiver = await self._present(app, name, begun)
            if receiver is not None:
                for push in self._wanted.get((app, name), {}).values():
                    self._open(push, receiver)

    async def sweep(self) -> None:
        """Drops what is not stored any more."""
        known = [push for pushes in self._wanted.values() for push in pushes.values()]
        try:
            stored = await self._store.pushes.every()
        except UnavailableError:  # the next time
            return
        self._keep(known, stored)

    def _keep(self, known: Sequence[_Push], stored: Sequence[PushRecord]) -> None:
        """Drops what is not `stored` of what was `known` before that was read."""
        there = {record.push_id for record in stored}
        for push in known:
            if push.record.push_id not in there:
                self._forget(push.record)
                log.info("a push has gone with its stream", app=push.record.app, push=push.record.push_id)

    async def _every(self) -> Sequence[PushRecord]:
        while True:
            try:
                return await self._store.pushes.every()
            except UnavailableError as error:
                log.warning("pushes are opened later", error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)

    async def create(self, scope: Scope, stream_name: str, url: str) -> PushView:
        """NotFoundError for the stream; InvalidError for an address that cannot be pushed to, QuotaError."""
        check_url(url)
        stream = await self._store.streams.get(scope, stream_name)
        if stream is None:
            raise NotFoundError("stream", stream_name)
        record = PushRecord(
            push_id=f"push-{secrets.token_hex(8)}",
            stream_id=stream.stream_id,
            app=stream.app,
            stream_name=stream.name,
            url=url,
            created_at=self._clock(),
        )
        await self._store.pushes.add(record, most=PUSHES_OF_STREAM_MAX)
        push = await self._want(record)
        if push.cause == REFUSED_HERE:
            self._forget(record)
            await self._store.pushes.delete(record.stream_id, record.push_id)
            raise InvalidError("url", push.reason)
        return self._view(push, {})

    async def list(self, scope: Scope, stream_name: str) -> Sequence[PushView]:
        """Those of a stream, the oldest first; NotFoundError for the stream."""
        stream = await self._store.streams.get(scope, stream_name)
        if stream is None:
            raise NotFoundError("stream", stream_name)
        records = await self._store.pushes.of(stream.stream_id)
        opened = {push.id: push for push in self._relay.pushes()}
        known = self._wanted.get((stream.app, stream.name), {})
        return [self._view(known.get(record.push_id) or _Push(record), opened) for record in records]

    async def delete(self, scope: Scope, stream_name: str, push_id: str) -> None:
        """NotFoundError for the stream or the push."""
        stream = await self._store.streams.get(scope, stream_name)
        if stream is None:
            raise NotFoundError("stream", stream_name)
        await self._store.pushes.delete(stream.stream_id, push_id)
        push = self._wanted.get((stream.app, stream.name), {}).get(push_id)
        if push is not None:
            self._forget(push.record)

    def handle_media(self, event: MediaEvent) -> None:
        """An event of the relay."""
        if event.kind.startswith("push_"):
            self._handle_push(event)
        elif event.kind in BEGINNINGS:
            pushes = self._wanted.get((event.app, event.name), {}).values()
            if any(push.opened is None or push.receiver != event.receiver for push in pushes):
                self._begun[event.app, event.name] = event.receiver
                self._bell.set()

    @property
    def counts(self) -> dict[str, int]:
        """How many pushes are wanted, and how many are open because their stream is."""
        return {"wanted": sum(map(len, self._wanted.values())), "open": len(self._opened)}

    def _handle_push(self, event: MediaEvent) -> None:
        push = self._opened.get(int(event.detail["push"]))
        if push is None:
            return
        told = {"app": event.app, "stream": event.name, "push": push.record.push_id}
        if event.kind == "push_failed":
            push.reason, push.cause = event.detail["reason"], event.detail["cause"]
            push.failed_at = EPOCH + timedelta(milliseconds=event.at_ms)
            log.warning("a push failed", **told, reason=push.reason, cause=push.cause)
        elif event.kind == "push_connected":
            log.info("a stream is pushed", **told, peer=event.detail["peer"])
        else:
            del self._opened[int(event.detail["push"])]
            push.opened = None
            log.info("a push ended", **told, reason=event.detail["reason"])

    async def _want(self, record: PushRecord) -> _Push:
        key = (record.app, record.stream_name)
        push = self._wanted.setdefault(key, {}).setdefault(record.push_id, _Push(record))
        receiver = await self._present(*key)
        if receiver is not None and self._wanted.get(key, {}).get(record.push_id) is push:  # not deleted meanwhile
            self._open(push, receiver)
        return push

    async def _present(self, app: str, name: str, otherwise: int | None = None) -> int | None:
        """The receiver of a stream now, if it is open; `otherwise` while the relay is too busy to tell."""
        try:
            live = await asyncio.to_thread(self._relay.stream, app, name)
        except CoreError as error:
            log.warning("the relay does not tell of a stream", app=app, stream=name, error=str(error))
            return otherwise
        return None if live is None else live.receiver

    def _open(self, push: _Push, receiver: int) -> None:
        if push.opened is not None and push.receiver == receiver:
            return
        if push.opened is not None:  # of a receiver that is gone: that it ended is not heard any more
            self._opened.pop(push.opened, None)
            self._relay.close_push(push.opened)
            push.opened = None
        try:
            url = push.record.url
            push.opened = self._relay.open_push(
                receiver, url, allow_private=self._allow_private, transport=transport_of(url)
            )
        except UnknownReceiverError:  # it ended this moment, which is no fault of the address
            return
        except CoreError as error:
            push.reason, push.cause, push.failed_at = str(error), REFUSED_HERE, self._clock()
            return
        if push.cause == REFUSED_HERE:  # that holds no more; what the server said stays as the last failure
            push.reason, push.cause, push.failed_at = "", "", None
        push.receiver = receiver
        self._opened[push.opened] = push

    def _forget(self, record: PushRecord) -> None:
        pushes = self._wanted.get((record.app, record.stream_name), {})
        push = pushes.pop(record.push_id, None)
        if not pushes:
            self._wanted.pop((record.app, record.stream_name), None)
        if push is not None and push.opened is not None:
            self._opened.pop(push.opened, None)
            self._relay.close_push(push.opened)

    def _view(self, push: _Push, opened: Mapping[int, OpenedPush]) -> PushView:
        now = opened.get(push.opened) if push.opened is not None else None
        state = now.state.upper() if now is not None else ("WAITING" if push.opened is not None else "STOPPED")
        return PushView(
            record=push.record,
            state=state,
            bytes_out=now.bytes_out if now is not None else 0,
            failures=now.failures if now is not None else 0,
            reason=push.reason,
            cause=push.cause,
            failed_at=push.failed_at,
        )
