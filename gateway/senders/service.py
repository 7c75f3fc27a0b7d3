"""Sends streams as RTP to platforms and devices: for operators by HTTP, for cascade and talk by a call.

A sender belongs to a stream that flows, and ends with it; whoever wants it again opens another one. How it ended is
told to who opened it, and kept for a while for people.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, Protocol

import structlog

from gateway.errors import NotFoundError, UnavailableError
from gateway.scope import Scope
from gateway.senders.model import NotFlowingError, SenderEnd, SenderOrder
from gateway.senders.rules import check
from gateway.store import Store
from gateway.streams.model import StreamRecord
from media._core import CoreError, Event, Sender, SenderStats, UnknownReceiverError

if TYPE_CHECKING:
    from media._core import Transport

log = structlog.get_logger(__name__)

ENDS_KEPT: Final = 512
"""Of all streams together; the oldest are forgotten."""

Ended = Callable[[SenderEnd], None]


class LiveStream(Protocol):
    """A stream as the relay tells it."""

    @property
    def receiver(self) -> int: ...


class RelayView(Protocol):
    """What is asked of the relay (`media.relay`)."""

    def stream(self, app: str, name: str) -> LiveStream | None: ...

    def senders(self) -> list[SenderStats]: ...

    def open_sender(
        self,
        receiver: int,
        *,
        transport: "Transport",
        host: str | None,
        port: int,
        ssrc: int,
        payload: Literal["ps", "es"],
        payload_type: int,
        local_port: int,
        video: bool,
        audio: bool,
        report_timeout_ms: int,
        wait_ms: int,
        over: int | None,
        rtcp: bool,
    ) -> Sender: ...

    def close_sender(self, sender: int) -> None: ...


class Senders:
    """All senders of the gateway. Calls are made from the loop's thread."""

    def __init__(self, store: Store, relay: RelayView, *, allow_private: bool = False) -> None:
        """`allow_private`: those who order by `create` may name addresses of private networks."""
        self._store = store
        self._relay = relay
        self._allow_private = allow_private
        self._told: dict[int, Ended] = {}
        self._ends: deque[SenderEnd] = deque(maxlen=ENDS_KEPT)
        self.counts: Counter[str] = Counter()
        """Senders by what became of them: opened, connected, ended, failed."""

    # -- for other parts of the gateway -----------------------------------------------------------------------------

    def open(self, receiver: int, order: SenderOrder, *, ended: Ended | None = None) -> Sender:
        """Sends the stream of `receiver` to a target that was negotiated, wherever it is; `ended` is told once, later.

        InvalidError; NotFlowingError if the stream, or the one it is sent over, is gone; UnavailableError if no port is
        free, or somebody sends over that one already.
        """
        check(order, allow_private=True)
        try:
            opened = self._relay.open_sender(
                receiver,
                transport=order.transport.value,
                host=order.host,
                port=order.port,
                ssrc=order.ssrc,
                payload=order.payload.value,
                payload_type=order.payload_type,
                local_port=order.local_port,
                video=order.video,
                audio=order.audio,
                report_timeout_ms=round(order.report_timeout * 1000),
                wait_ms=round(order.wait * 1000),
                over=order.over,
                rtcp=order.rtcp,
            )
        except UnknownReceiverError as error:
            raise NotFlowingError("the stream has ended") from error
        except CoreError as error:
            raise UnavailableError(str(error)) from error
        self.counts["opened"] += 1
        if ended is not None:
            self._told[opened.id] = ended
        return opened

    def close(self, sender: int) -> None:
        """Ends a sender; an unknown one is ignored."""
        self._relay.close_sender(sender)

    def handle_media(self, event: Event) -> None:
        """Follows the senders' events; for the relay's listener."""
        if event.kind == "sender_connected":
            self.counts["connected"] += 1
            log.info("sending", app=event.app, stream=event.name, **event.detail)
        elif event.kind in {"sender_failed", "sender_ended"}:
            self._end(event)

    def _end(self, event: Event) -> None:
        detail = event.detail
        reached = event.kind == "sender_ended"
        end = SenderEnd(
            sender=int(detail["sender"]),
            app=event.app,
            name=event.name,
            at=datetime.fromtimestamp(event.at_ms / 1000, UTC),
            peer=detail.get("peer"),
            ssrc=int(detail["ssrc"]),
            reached=reached,
            reason=detail.get("reason", ""),
            reason_code=detail.get("cause", ""),
        )
        self.counts["ended" if reached else "failed"] += 1
        self._ends.append(end)
        log.info("sender over", app=event.app, stream=event.name, reached=reached, **detail)
        if told := self._told.pop(end.sender, None):
            told(end)

    # -- for operators ----------------------------------------------------------------------------------------------

    async def create(self, scope: Scope, name: str, order: SenderOrder, *, over: str | None = None) -> SenderStats:
        """Sends a stream of the project, to an address or to the source of the project's stream `over`.

        NotFoundError, NotFlowingError, InvalidError, UnavailableError.
        """
        stream = await self._stream(scope, name)
        if over is not None:
            order = replace(order, over=await self._receiver((await self._stream(scope, over)).app, over))
        check(order, allow_private=self._allow_private)
        opened = self.open(await self._receiver(stream.app, name), order)
        return self._now(stream.app, name, opened.id)

    async def list(self, scope: Scope, name: str) -> tuple[Sequence[SenderStats], Sequence[SenderEnd]]:
        """A stream's senders, oldest first, and those that ended lately, newest first; NotFoundError."""
        app = (await self._stream(scope, name)).app
        running = [one for one in self._relay.senders() if (one.app, one.name) == (app, name)]
        return running, [end for end in reversed(self._ends) if (end.app, end.name) == (app, name)]

    async def delete(self, scope: Scope, name: str, sender: int) -> None:
        """Ends a stream's sender; NotFoundError."""
        app = (await self._stream(scope, name)).app
        self._now(app, name, sender)
        self.close(sender)

    def figures(self) -> dict[str, float]:
        """What became of senders."""
        return {name: float(self.counts[name]) for name in ("opened", "connected", "ended", "failed")}

    async def _receiver(self, app: str, name: str) -> int:
        live = await asyncio.to_thread(self._relay.stream, app, name)
        if live is None:
            raise NotFlowingError(f"nothing comes of stream {name} now")
        return live.receiver

    async def _stream(self, scope: Scope, name: str) -> StreamRecord:
        record = await self._store.streams.get(scope, name)
        if record is None:
            raise NotFoundError("stream", name)
        return record

    def _now(self, app: str, name: str, sender: int) -> SenderStats:
        for one in self._relay.senders():
            if one.id == sender and (one.app, one.name) == (app, name):
                return one
        raise NotFoundError("sender", str(sender))
