"""What an application talks to: an asyncio shell around the core and its sockets.

Handlers may be plain functions, called and done within the read of a datagram, which is what thousands of keepalives
a second want; or coroutine functions, of which each call becomes a task of the endpoint's. At most `max_tasks` run
at once: a request beyond that is answered 503 with Retry-After. Handlers get each request once; retransmissions
never reach them.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from sip.alarm import Alarm
from sip.call import Call, CallCause, Ended, Party
from sip.core import Core, PendingRequest
from sip.digest import DigestClient
from sip.errors import SipParseError
from sip.events import (
    CallEstablished,
    CallOffered,
    CallOver,
    CallProgress,
    Event,
    NotifierOver,
    RequestAnswered,
    RequestFailed,
    RequestReceived,
    SubscriptionActive,
    SubscriptionOver,
)
from sip.failures import FlowClosedError, RequestTimeoutError
from sip.flow import Address, Flow
from sip.handler_tasks import HandlerTasks
from sip.incoming import Incoming
from sip.message import Message, Request, Response
from sip.outgoing import CallHandle, IncomingCall, Notifications, OutgoingCall, Subscription
from sip.subscription import Notifier, Subscriber
from sip.tcp import TcpLimits
from sip.timers import Timers
from sip.transaction_layer import Failure, IncomingTransaction, Limits
from sip.transport import Listen, Transports
from sip.values import CSeq
from sip.watchers import Trace, Watchers

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT: Final = 8.0  # seconds; devices that have not answered a MESSAGE by then never do
RETRY_AFTER: Final = 5  # seconds, told with 503
BUILT_IN: Final = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS")

Handler = Callable[[Incoming], Awaitable[None] | None]
CallHandler = Callable[[IncomingCall], Awaitable[None] | None]
Fields = Iterable[tuple[str, object]]

_CREDENTIALS: Final = {401: "Authorization", 407: "Proxy-Authorization"}


@dataclass(slots=True)
class EndpointCounters:
    """What the shell has seen; numbers only grow."""

    internal_errors: int = 0
    overloaded: int = 0
    method_not_allowed: int = 0


class Endpoint:
    """An async context manager: listening when entered, gone when left.

    `advertise(flow)` names the address by which the peer of a flow reaches us, for Via and Contact; by default the
    local address that it has reached, with the port that we listen on. `token()` makes an unguessable word.
    """

    def __init__(
        self,
        listen: Sequence[Listen],
        *,
        user_agent: str = "",
        advertise: Callable[[Flow], Address] | None = None,
        token: Callable[[], str] = lambda: secrets.token_hex(10),
        timers: Timers | None = None,
        limits: Limits | None = None,
        tcp_limits: TcpLimits | None = None,
        max_tasks: int = 4096,
    ) -> None:
        self._listen = listen
        self._user_agent = user_agent
        self._tcp_limits = tcp_limits or TcpLimits()
        self._handlers: dict[str, Handler] = {}
        self._call_handler: CallHandler | None = None
        self._tasks = HandlerTasks(max_tasks)
        self._pending: set[PendingRequest] = set()
        self._watchers = Watchers(self._tasks.guard)
        self._closed_callbacks: list[Callable[[Flow, str], None]] = []
        self._alarm: Alarm
        self._own = EndpointCounters()
        self._core = Core(
            token,
            advertise=advertise or self._listening_address,
            user_agent=user_agent,
            timers=timers,
            limits=limits,
            accepts_calls=False,
        )
        self._transports: Transports
        self.loop: asyncio.AbstractEventLoop

    # -- life ---------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._fire)
        self._transports = Transports(
            self.loop,
            on_datagram=self._on_datagram,
            on_message=self._on_stream_message,
            on_drained=self._arm,
            on_closed=self._on_closed,
            limits=self._tcp_limits,
        )
        try:
            for listen in self._listen:
                await self._transports.listen(listen)
        except BaseException:
            await self._transports.close()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Cancels the handlers that still run, fails the requests that still wait, closes the sockets. Calls are not
        ended: whoever made them does that before."""
        self._alarm.stop()
        await self._tasks.stop()
        await self._transports.close()
        for pending in list(self._pending):
            self._fail(pending, Failure.BROKEN)
        for call in self._core.calls.open():
            call.ended = Ended(Party.NETWORK, CallCause.BROKEN.value)
            self._publish(CallOver(call, call.ended))
        for subscriber in self._core.subscriptions.open():
            self._publish(SubscriptionOver(subscriber, Failure.BROKEN.value))

    @property
    def addresses(self) -> list[tuple[str, Address]]:
        """(transport, address) of each listening socket, with real ports."""
        return self._transports.addresses

    @property
    def counters(self) -> dict[str, int]:
        """All counters and sizes by dotted names, for metrics."""
        core = self._core
        parts: dict[str, dict[str, int]] = {
            "endpoint": {
                **asdict(self._own),
                "handler_errors": self._tasks.errors,
                "tasks": len(self._tasks),
                "requests": len(self._pending),
            },
            "messages": asdict(core.counters),
            "transactions": {**asdict(core.transactions.counters), **core.transactions.sizes},
            "dialogs": {"calls": len(core.calls), "subscriptions": len(core.subscriptions)},
        }
        flat = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        return flat | self._transports.counters()

    # -- what the application registers -------------------------------------------------------------------------------

    def on(self, method: str, handler: Handler) -> None:
        """Handles requests of one method; the last handler set counts. Not for INVITE: `on_invite`."""
        if method in {"INVITE", "ACK", "CANCEL", "BYE"}:
            raise ValueError(f"{method} is handled by calls")
        self._handlers[method] = handler

    def on_invite(self, handler: CallHandler) -> None:
        """Handles calls that peers offer; without a handler they are refused with 405."""
        self._call_handler = handler
        self._core.accepts_calls = True

    def on_flow_closed(self, callback: Callable[[Flow, str], None]) -> None:
        """Calls back with flow and reason when a TCP connection is gone. UDP has none; what cannot be sent there
        only fails the requests that wait."""
        self._closed_callbacks.append(callback)

    def trace(self, callback: Callable[[Trace], None]) -> Callable[[], None]:
        """Shows each message sent and received; returns what ends it. It costs time: only while somebody looks."""
        return self._watchers.add(callback)

    # -- requests -----------------------------------------------------------------------------------------------------

    async def flow_to(self, transport: str, host: str, port: int) -> Flow:
        """A way to a peer that has not come to us: connects for TCP. Host must be numeric; raises OSError,
        ValueError."""
        return await self._transports.flow_to(transport, Address(host, port))

    def close_flow(self, flow: Flow) -> None:
        """Closes a TCP connection; nothing for UDP."""
        self._transports.close_flow(flow)

    async def request(
        self,
        request: Request,
        *,
        flow: Flow,
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109 - a protocol's time-out with an error of its own
        digest: DigestClient | None = None,
    ) -> Response:
        """Sends a request outside of any dialog and waits for its final response, whatever its status.

        From must be given; what else it lacks (tag, To, Call-ID, CSeq, Max-Forwards, Contact, User-Agent) is added, Via
        always. With `digest`, a 401 or 407 is answered once with credentials; `timeout` is for each of the two tries.
        Raises RequestTimeoutError after `timeout` seconds (it is not sent again then), FlowClosedError,
        OverloadedError.
        """
        request = self._core.complete(flow, request)
        response = await self._send(flow, request, timeout)
        if digest is None or response.status not in _CREDENTIALS:
            return response
        headers = response.headers
        challenges = headers.www_authenticate if response.status == 401 else headers.proxy_authenticate
        if not digest.handle_challenge(challenges):
            return response
        credentials = digest.authorize(request.method, str(request.uri))
        cseq = CSeq(request.cseq.number + 1, request.method)
        fields = request.headers.replacing("CSeq", cseq).replacing(_CREDENTIALS[response.status], credentials)
        return await self._send(flow, replace(request, headers=fields), timeout)

    async def invite(self, request: Request, *, flow: Flow) -> OutgoingCall:
        """Sends INVITE and returns the call at once; `await call.answer(timeout)` tells the rest. Raises
        OverloadedError."""
        request = self._core.complete(flow, request)
        call = self._core.calls.invite(self.loop.time(), flow, request)
        handle = OutgoingCall(self, call, request)
        self._pump()
        return handle

    def restore_call(self, snapshot: Mapping[str, Any], flow: Flow | None = None) -> CallHandle:
        """An established call from `snapshot()`, to be ended after a crash; `flow` where the device is now.

        Raises KeyError, TypeError or ValueError for what no `snapshot` made.
        """
        call = self._core.calls.adopt(snapshot, flow)
        method = "INVITE"
        return CallHandle(self, call, Request(method, call.dialog.target))

    async def subscribe(
        self,
        request: Request,
        *,
        flow: Flow,
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109 - a protocol's time-out with an error of its own
    ) -> Subscription:
        """Sends SUBSCRIBE (its Expires is what is asked for at each refresh) and waits until it is granted.

        NOTIFYs go to the handler of that method, with `incoming.subscription` set. Raises CallRefusedError,
        CallEndedError, RequestTimeoutError (it is ended then, should it be granted late), OverloadedError.
        """
        request = self._core.complete(flow, request)
        subscriber = self._core.subscriptions.subscribe(self.loop.time(), flow, request)
        subscription = Subscription(self, subscriber)
        self._pump()
        try:
            async with asyncio.timeout(timeout):
                await subscription.wait_active()
        except TimeoutError:
            subscription.unsubscribe()
            raise RequestTimeoutError(f"SUBSCRIBE {subscription.call_id}", flow) from None
        return subscription

    # -- for handles of calls, subscriptions and requests -------------------------------------------------------------

    def respond(
        self, transaction: IncomingTransaction, status: int, reason: str | None, headers: Fields, body: bytes
    ) -> None:
        """Use `Incoming.respond`."""
        self._core.respond(self.loop.time(), transaction, status, reason=reason, headers=headers, body=body)
        self._flush()

    def ignore(self, transaction: IncomingTransaction) -> None:
        """Use `Incoming.ignore`."""
        self._core.transactions.ignore(self.loop.time(), transaction)

    def hang_up(self, call: Call, reason: str) -> None:
        """Use `CallHandle.hang_up`."""
        self._core.calls.hang_up(self.loop.time(), call, reason)
        self._pump()

    def progress(self, call: Call, status: int, headers: Fields, body: bytes) -> None:
        """Use `IncomingCall.ringing`."""
        self._core.calls.progress(self.loop.time(), call, status, headers, body)
        self._pump()

    def accept(self, call: Call, headers: Fields, body: bytes) -> None:
        """Use `IncomingCall.accept`."""
        self._core.calls.accept(self.loop.time(), call, headers, body)
        self._pump()

    def reject(self, call: Call, status: int, headers: Fields) -> None:
        """Use `IncomingCall.reject`."""
        self._core.calls.reject(self.loop.time(), call, status, headers)
        self._pump()

    async def send_in_dialog(self, flow: Flow, request: Request, timeout: float) -> Response:  # noqa: ASYNC109
        """Use `CallHandle.send`."""
        return await self._send(flow, request, timeout)

    async def _send(self, flow: Flow, request: Request, timeout: float) -> Response:  # noqa: ASYNC109
        pending = self._core.request(self.loop.time(), flow, request, self.loop.create_future())
        return await self._wait(pending, timeout)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Use `Subscription.unsubscribe`."""
        self._core.subscriptions.unsubscribe(self.loop.time(), subscriber)
        self._pump()

    def accept_subscription(
        self, transaction: IncomingTransaction, expires: int, headers: Fields, body: bytes
    ) -> Notifications:
        """Use `Incoming.accept_subscription`."""
        notifier = self._core.subscriptions.accept(self.loop.time(), transaction, expires, headers, body)
        self._pump()
        return Notifications(self, notifier, transaction.request)

    async def notify(self, notifier: Notifier, headers: Fields, body: bytes, timeout: float) -> Response:  # noqa: ASYNC109
        """Use `Notifications.notify`."""
        now = self.loop.time()
        request = self._core.subscriptions.notify_request(now, notifier, headers, body)
        pending = PendingRequest(request, notifier.dialog.flow, self.loop.create_future())
        self._core.subscriptions.send(now, notifier, request, self._core.listener(pending))
        return await self._wait(pending, timeout)

    def terminate(self, notifier: Notifier, reason: str) -> None:
        """Use `Notifications.terminate`."""
        self._core.subscriptions.terminate(self.loop.time(), notifier, reason)
        self._pump()

    # -- sockets ------------------------------------------------------------------------------------------------------

    def _on_datagram(self, flow: Flow, data: bytes) -> None:
        now = self.loop.time()
        if self._watchers:
            self._watchers.show(Trace(now, False, flow, data))
        try:
            self._core.handle_datagram(now, flow, data)
            self._work()
        except Exception:
            self._broken(flow, data)

    def _on_stream_message(self, flow: Flow, message: Message | SipParseError) -> None:
        now = self.loop.time()
        if isinstance(message, SipParseError):
            self._core.counters.malformed += 1
            return
        if self._watchers:
            self._watchers.show(Trace(now, False, flow, bytes(message)))
        try:
            self._core.handle_message(now, flow, message)
            self._work()
        except Exception:
            self._broken(flow, bytes(message))

    def _broken(self, flow: Flow, data: bytes) -> None:
        """A bug of ours must not cost other peers their messages: it costs this one message, loudly."""
        self._own.internal_errors += 1
        logger.exception("SIP message not handled", extra={"flow": str(flow), "head": data[:64].hex()})

    def _on_closed(self, flow: Flow, reason: str) -> None:
        self._core.handle_flow_closed(self.loop.time(), flow)
        self._pump()
        for callback in self._closed_callbacks if flow.reliable else ():
            self._tasks.guard(callback, flow, reason)

    def _pump(self) -> None:
        """Sends and publishes what the core has, and arms the timer; call after every input but those of sockets."""
        self._work()
        self._arm()

    def _work(self) -> None:
        self._flush()
        while (event := self._core.poll_event()) is not None:
            self._publish(event)
            self._flush()

    def _flush(self) -> None:
        while (transmit := self._core.poll_transmit()) is not None:
            flow, data = transmit
            if self._watchers:
                self._watchers.show(Trace(self.loop.time(), True, flow, data))
            self._transports.send(flow, data)

    def _arm(self) -> None:
        """Armed too early is fine: it fires and re-arms."""
        self._alarm.arm(self._core.next_timeout())

    def _fire(self) -> None:
        self._core.handle_timeout(self.loop.time())
        self._pump()

    def _listening_address(self, flow: Flow) -> Address:
        """The local address of a flow; of a connection that we opened, with the port where we listen instead of its
        own."""
        if flow.transport == "TCP":
            for transport, address in self._transports.addresses:
                if transport == "TCP" and (":" in address.host) == (":" in flow.local.host):
                    return Address(flow.local.host, address.port)
        return flow.local

    # -- events -------------------------------------------------------------------------------------------------------

    def _publish(self, event: Event) -> None:  # noqa: PLR0912 - one row for each kind of event
        match event:
            case RequestReceived():
                self._on_request(event)
            case RequestAnswered(pending, response):
                self._on_answer(pending, response)
            case RequestFailed(pending, failure):
                self._fail(pending, failure)
            case CallOffered(call, request, _, received_at):
                self._on_call(IncomingCall(self, call, request, received_at))
            case CallProgress(call, response):
                if isinstance(call.context, OutgoingCall):
                    call.context._is_progressing(response)
            case CallEstablished(call):
                if isinstance(call.context, CallHandle):
                    call.context._is_established()
            case CallOver(call):
                if isinstance(call.context, CallHandle):
                    self._tasks.guard(call.context._is_over, event)
            case SubscriptionActive(subscriber, response):
                if isinstance(subscriber.context, Subscription):
                    subscriber.context._is_active(response)
            case SubscriptionOver(subscriber, reason, refusal):
                if isinstance(subscriber.context, Subscription):
                    self._tasks.guard(subscriber.context._is_over, reason, refusal)
            case NotifierOver(notifier, reason):
                if isinstance(notifier.context, Notifications):
                    self._tasks.guard(notifier.context._is_over, reason)

    def _on_request(self, event: RequestReceived) -> None:
        incoming = Incoming(self, event)
        handler = self._handlers.get(event.request.method)
        if handler is None:
            self._answer_by_default(incoming)
        elif self._tasks.full:
            self._own.overloaded += 1
            incoming.respond(503, headers=[("Retry-After", RETRY_AFTER)])
        else:
            self._tasks.run(handler, incoming, lambda: None if incoming.answered else incoming.respond(500))

    def _answer_by_default(self, incoming: Incoming) -> None:
        allow = ", ".join([*BUILT_IN, *(method for method in self._handlers if method not in BUILT_IN)])
        if incoming.request.method == "OPTIONS" or incoming.subscription is not None:
            incoming.respond(200, headers=[("Allow", allow)])
        else:
            self._own.method_not_allowed += 1
            incoming.respond(405, headers=[("Allow", allow)])

    def _on_call(self, call: IncomingCall) -> None:
        if self._call_handler is None:
            call.reject(405)
        elif self._tasks.full:
            self._own.overloaded += 1
            call.reject(503, [("Retry-After", RETRY_AFTER)])
        else:
            self._tasks.run(self._call_handler, call, lambda: call.hang_up("handler failed"))

    # -- requests that wait -------------------------------------------------------------------------------------------

    async def _wait(self, pending: PendingRequest, timeout: float) -> Response:  # noqa: ASYNC109
        self._pending.add(pending)
        self._pump()
        try:
            async with asyncio.timeout(timeout):
                response: Response = await pending.context
                return response
        except TimeoutError:
            raise RequestTimeoutError(_what(pending), pending.flow) from None
        finally:
            self._pending.discard(pending)
            self._core.abandon(pending)

    def _on_answer(self, pending: PendingRequest, response: Response) -> None:
        if response.status >= 200 and not pending.context.done():
            pending.context.set_result(response)

    def _fail(self, pending: PendingRequest, failure: Failure) -> None:
        if not pending.context.done():
            error = FlowClosedError if failure is Failure.BROKEN else RequestTimeoutError
            pending.context.set_exception(error(_what(pending), pending.flow))


def _what(pending: PendingRequest) -> str:
    return f"{pending.request.method}, Call-ID {pending.request.call_id}"
