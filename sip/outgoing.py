"""Calls and subscriptions as an application holds them: awaitable faces of the machines in the core."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from sip.call import Call, CallCause, CallState, Ended, Party
from sip.events import CallOver
from sip.failures import CallEndedError, CallRefusedError, FlowClosedError, RequestTimeoutError
from sip.flow import Flow
from sip.message import Request, Response
from sip.subscription import Notifier, Subscriber, SubscriberState

if TYPE_CHECKING:
    from sip.endpoint import Endpoint

# provisional responses kept for a reader of `progress`; the newest are dropped, and no one misses them
MAX_PROGRESS: Final = 32
BYE_TIMEOUT: Final = 5.0  # seconds until a BYE is given up; the call is over all the same

Fields = Iterable[tuple[str, object]]


class CallHandle:
    """What both kinds of calls share. `context` belongs to the application."""

    def __init__(self, endpoint: "Endpoint", call: Call, request: Request) -> None:
        self._endpoint = endpoint
        self._call = call
        self.request = request
        self.context: Any = None
        self._established = endpoint.loop.create_future()
        self._ended: asyncio.Future[Ended] = endpoint.loop.create_future()
        self._on_ended: list[Callable[[Ended], None]] = []
        call.context = self

    @property
    def call_id(self) -> str:
        return self._call.dialog.call_id

    @property
    def state(self) -> CallState:
        return self._call.state

    @property
    def flow(self) -> Flow:
        """Where requests of this call go; set it when the device has registered anew from elsewhere."""
        return self._call.dialog.flow

    @flow.setter
    def flow(self, flow: Flow) -> None:
        self._call.dialog.flow = flow

    @property
    def ended(self) -> Ended | None:
        """Who ended it and why, once it is over."""
        return self._call.ended

    def on_ended(self, callback: Callable[[Ended], None]) -> None:
        """Calls back once when the call is over, or at once if it is."""
        if self._call.ended is not None:
            callback(self._call.ended)
        else:
            self._on_ended.append(callback)

    async def wait_ended(self) -> Ended:
        """Waits until it is over."""
        return await asyncio.shield(self._ended)

    async def bye(self, reason: str = "hung up", timeout: float = BYE_TIMEOUT) -> Ended:  # noqa: ASYNC109
        """Ends the call by whatever its state asks for (BYE, CANCEL, refusal) and waits, at most `timeout` seconds, for
        the peer to confirm; unconfirmed, BYE goes on being repeated for its 32 s. Ended already, it does nothing."""
        self.hang_up(reason)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                return await self.wait_ended()
        return self._call.ended or self._call.wanted or Ended(Party.LOCAL, reason)

    def hang_up(self, reason: str = "hung up") -> None:
        """The same without waiting."""
        self._endpoint.hang_up(self._call, reason)

    async def send(
        self,
        method: str,
        body: bytes = b"",
        content_type: str | None = None,
        *,
        headers: Fields = (),
        timeout: float = 8.0,  # noqa: ASYNC109 - a protocol's time-out with errors of its own
    ) -> Response:
        """Sends a request inside the call's dialog and waits for its final response.

        Raises CallEndedError if the call is over, RequestTimeoutError, FlowClosedError.
        """
        if self._call.over:
            raise CallEndedError(f"call {self.call_id} is over")
        fields = [*headers, ("Content-Type", content_type)] if content_type else list(headers)
        request = self._call.dialog.request(method, fields, body)
        return await self._endpoint.send_in_dialog(self._call.dialog.flow, request, timeout)

    async def info(self, body: bytes, content_type: str = "Application/MANSRTSP", timeout: float = 8.0) -> Response:  # noqa: ASYNC109
        """Sends INFO (RFC 2976), as `send`."""
        return await self.send("INFO", body, content_type, timeout=timeout)

    def snapshot(self) -> dict[str, Any]:
        """Plain values from which `Endpoint.restore_call` makes an established call again."""
        return self._call.snapshot()

    # -- told by the endpoint -----------------------------------------------------------------------------------------

    def _is_established(self) -> None:
        if not self._established.done():
            self._established.set_result(self._call.answer)

    def _is_over(self, event: CallOver) -> None:
        if not self._established.done():
            self._established.set_exception(self._error(event))
            self._established.exception()  # whether anybody waits is their affair
        if not self._ended.done():
            self._ended.set_result(event.ended)
        callbacks, self._on_ended = self._on_ended, []
        for callback in callbacks:
            callback(event.ended)

    def _error(self, event: CallOver) -> Exception:
        if event.response is not None and event.response.status != 487:
            return CallRefusedError(event.response)
        return CallEndedError(event.ended.reason)


class OutgoingCall(CallHandle):
    """A call that we make. `provisional` is the last provisional response."""

    def __init__(self, endpoint: "Endpoint", call: Call, request: Request) -> None:
        super().__init__(endpoint, call, request)
        self.provisional: Response | None = None
        self._progress: asyncio.Queue[Response | None] = asyncio.Queue(MAX_PROGRESS + 1)

    async def answer(self, timeout: float | None = None) -> Response:  # noqa: ASYNC109 - with an error of its own
        """Waits for the 2xx; its body is the SDP answer. ACK has been sent then.

        Raises CallRefusedError with the final response, RequestTimeoutError after `timeout` seconds (the call is
        cancelled then; a late 200 is acknowledged and ended), FlowClosedError, or CallEndedError if it was cancelled.
        """
        try:
            async with asyncio.timeout(timeout):
                answer: Response = await asyncio.shield(self._established)
                return answer
        except TimeoutError:
            self.hang_up("no answer in time")
            raise RequestTimeoutError(f"INVITE {self.call_id}", self.flow) from None

    async def cancel(self, reason: str = "cancelled") -> Ended:
        """Ends the call before or after it was answered, as `bye`, and waits for the end; the core bounds the wait."""
        self.hang_up(reason)
        return await self.wait_ended()

    async def progress(self) -> AsyncIterator[Response]:
        """Provisional responses as they come, until the final one; for one reader."""
        while (response := await self._progress.get()) is not None:
            yield response

    def _is_progressing(self, response: Response) -> None:
        self.provisional = response
        if self._progress.qsize() < MAX_PROGRESS:
            self._progress.put_nowait(response)

    def _is_established(self) -> None:
        super()._is_established()
        self._end_progress()

    def _is_over(self, event: CallOver) -> None:
        self._end_progress()
        super()._is_over(event)

    def _end_progress(self) -> None:
        if not self._progress.full():
            self._progress.put_nowait(None)

    def _error(self, event: CallOver) -> Exception:
        what = f"INVITE {self.call_id}"
        if event.ended.by is Party.NETWORK:
            broken = event.ended.reason == CallCause.BROKEN.value
            return FlowClosedError(what, self.flow) if broken else RequestTimeoutError(what, self.flow)
        return super()._error(event)


class IncomingCall(CallHandle):
    """A call that a peer offers; `received_at` is monotonic seconds. 100 has been sent."""

    def __init__(self, endpoint: "Endpoint", call: Call, request: Request, received_at: float) -> None:
        super().__init__(endpoint, call, request)
        self.received_at = received_at

    def ringing(self, status: int = 180, headers: Fields = (), body: bytes = b"") -> None:
        """Sends a provisional response."""
        self._endpoint.progress(self._call, status, headers, body)

    def accept(self, body: bytes, content_type: str = "application/sdp", headers: Fields = ()) -> None:
        """Sends 200 with `body` and repeats it until ACK; CallEndedError if the caller has cancelled."""
        self._endpoint.accept(self._call, [*headers, ("Content-Type", content_type)], body)

    def reject(self, status: int = 488, headers: Fields = ()) -> None:
        """Refuses; nothing if the caller has cancelled."""
        self._endpoint.reject(self._call, status, headers)

    async def acknowledged(self) -> None:
        """Waits for the ACK of an accepted call; CallEndedError if it never comes (the core bounds the wait)."""
        await asyncio.shield(self._established)


class Subscription:
    """A subscription of ours at a peer, refreshed by itself until it ends or `unsubscribe`."""

    def __init__(self, endpoint: "Endpoint", subscriber: Subscriber) -> None:
        self._endpoint = endpoint
        self._subscriber = subscriber
        self.context: Any = None
        self._active: asyncio.Future[Response] = endpoint.loop.create_future()
        self._ended: asyncio.Future[str] = endpoint.loop.create_future()
        self._on_ended: list[Callable[[str], None]] = []
        subscriber.context = self

    @property
    def call_id(self) -> str:
        return self._subscriber.dialog.call_id

    @property
    def state(self) -> SubscriberState:
        return self._subscriber.state

    @property
    def granted(self) -> int:
        """Seconds granted last."""
        return self._subscriber.granted

    def on_ended(self, callback: Callable[[str], None]) -> None:
        """Calls back once with the reason when it has ended, or at once if it has."""
        if self._ended.done():
            callback(self._ended.result())
        else:
            self._on_ended.append(callback)

    async def wait_active(self) -> Response:
        """Waits for the first 2xx; raises CallRefusedError or CallEndedError."""
        return await asyncio.shield(self._active)

    async def wait_ended(self) -> str:
        """Waits for the end; why."""
        return await asyncio.shield(self._ended)

    def unsubscribe(self) -> None:
        """Ends it; `wait_ended` tells when the peer has confirmed."""
        self._endpoint.unsubscribe(self._subscriber)

    def _is_active(self, response: Response) -> None:
        if not self._active.done():
            self._active.set_result(response)

    def _is_over(self, reason: str, response: Response | None) -> None:
        if not self._active.done():
            refused = response is not None and response.status >= 300
            self._active.set_exception(
                CallRefusedError(response) if refused and response is not None else CallEndedError(reason)
            )
            self._active.exception()
        if not self._ended.done():
            self._ended.set_result(reason)
        callbacks, self._on_ended = self._on_ended, []
        for callback in callbacks:
            callback(reason)


class Notifications:
    """A peer's subscription at us: sends its NOTIFYs. Refreshes and the end are dealt with by the core."""

    def __init__(self, endpoint: "Endpoint", notifier: Notifier, request: Request) -> None:
        self._endpoint = endpoint
        self._notifier = notifier
        self.request = request
        self.context: Any = None
        self._on_ended: list[Callable[[str], None]] = []
        notifier.context = self

    @property
    def over(self) -> bool:
        return self._notifier.over

    def on_ended(self, callback: Callable[[str], None]) -> None:
        """Calls back once with the reason when it has ended."""
        self._on_ended.append(callback)

    async def notify(
        self,
        body: bytes,
        content_type: str = "Application/MANSCDP+xml",
        *,
        headers: Fields = (),
        timeout: float = 8.0,  # noqa: ASYNC109 - a protocol's time-out with errors of its own
    ) -> Response:
        """Sends a NOTIFY and waits for its response; CallEndedError if the subscription is over, and as
        `Endpoint.request`."""
        if self._notifier.over:
            raise CallEndedError("the subscription is over")
        return await self._endpoint.notify(self._notifier, [*headers, ("Content-Type", content_type)], body, timeout)

    def terminate(self, reason: str = "deactivated") -> None:
        """Ends it with a last NOTIFY; ended already, it does nothing."""
        self._endpoint.terminate(self._notifier, reason)

    def _is_over(self, reason: str) -> None:
        callbacks, self._on_ended = self._on_ended, []
        for callback in callbacks:
            callback(reason)
