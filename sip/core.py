"""All transactions, calls and subscriptions of one endpoint, sans-IO: no socket, no clock, no randomness of its own.

Inputs: `handle_datagram`, `handle_message`, `handle_flow_closed`, `handle_timeout`, and the commands of the user.
Outputs: `poll_transmit` (bytes and flow), `poll_event` (see `sip.events`), `next_timeout`. Poll both dry after each
input.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from sip.calls import Calls
from sip.dialog import MAX_FORWARDS
from sip.errors import SipParseError
from sip.events import Event, RequestAnswered, RequestFailed, RequestReceived
from sip.flow import Address, Flow
from sip.message import Message, Request, Response, is_keepalive, parse
from sip.subscriptions import Subscriptions
from sip.timers import Timers
from sip.transaction_layer import (
    Failure,
    IncomingTransaction,
    Limits,
    Outcome,
    OutgoingTransaction,
    TransactionLayer,
    Transmit,
)
from sip.uri import Uri
from sip.values import CSeq, NameAddr

_NEEDS_CONTACT: Final = {"INVITE", "SUBSCRIBE", "REGISTER"}
_MUST_BE_IN_DIALOG: Final = {"BYE", "INFO", "INVITE", "UPDATE", "PRACK"}  # with a To tag they mean a dialog of ours
_FIRST_SEQUENCE: Final = 1


@dataclass(slots=True)
class CoreCounters:
    """What came in and was not understood; numbers only grow."""

    received: int = 0
    ignored: int = 0  # NAT keep-alives and other bytes that are no SIP
    malformed: int = 0
    calls_refused: int = 0


class PendingRequest:
    """A request of ours that waits for its final response; `context` belongs to the user."""

    __slots__ = ("context", "flow", "request", "transaction")

    def __init__(self, request: Request, flow: Flow, context: Any = None) -> None:
        self.request = request
        self.flow = flow
        self.context = context
        self.transaction: OutgoingTransaction | None = None


class Core:
    """See the module.

    `token()` returns a fresh unguessable word of hexadecimal digits; `advertise(flow)` the address by which a peer on
    that flow reaches us (written into Via and Contact; by default the local one); `user_agent` goes into our requests.
    Unless it `accepts_calls`, a new INVITE is answered once with 405 and forgotten: whoever writes a false source
    address gets one datagram sent there, not the eleven of a refusal that nobody acknowledges.
    """

    def __init__(
        self,
        token: Callable[[], str],
        *,
        advertise: Callable[[Flow], Address] = lambda flow: flow.local,
        user_agent: str = "",
        timers: Timers | None = None,
        limits: Limits | None = None,
        accepts_calls: bool = True,
    ) -> None:
        self.counters = CoreCounters()
        self.accepts_calls = accepts_calls
        self._token = token
        self._advertise = advertise
        self._user_agent = user_agent
        self._events: deque[Event] = deque()
        self.transactions = TransactionLayer(token, advertise, timers or Timers(), limits or Limits())
        emit = self._events.append
        self.calls = Calls(self.transactions, token, self.contact, emit)
        self.subscriptions = Subscriptions(self.transactions, token, self.contact, emit)

    # -- inputs -------------------------------------------------------------------------------------------------------

    def handle_datagram(self, now: float, flow: Flow, data: bytes) -> Message | None:
        """Takes the bytes of one message; returns it parsed (for a trace), or None for what is no SIP: counted,
        dropped."""
        if is_keepalive(data):
            self.counters.ignored += 1
            return None
        try:
            message = parse(data)
        except SipParseError:
            self.counters.malformed += 1
            return None
        self.handle_message(now, flow, message)
        return message

    def handle_message(self, now: float, flow: Flow, message: Message) -> None:
        """Takes one message that came in on a flow."""
        self.counters.received += 1
        if isinstance(message, Response):
            if not self.transactions.handle_response(now, message):
                self.calls.handle_stray(now, message)
        elif message.method == "ACK":
            self._handle_ack(now, flow, message)
        else:
            via = message.via.stamped(*flow.remote)
            message = Request(message.method, message.uri, message.headers.with_top_via(via), message.body)
            if message.method == "INVITE" and not self.accepts_calls and not message.to.tag:
                self.counters.calls_refused += 1
                self.transactions.respond_statelessly(flow, message, 405)
                return
            transaction = self.transactions.handle_request(now, flow, message)
            if transaction is not None:
                self._route(now, flow, transaction)

    def handle_flow_closed(self, now: float, flow: Flow) -> None:
        """A connection is gone, or a datagram could not be sent: its transactions fail, calls and subscriptions live
        on."""
        self.transactions.handle_flow_closed(now, flow)

    def handle_timeout(self, now: float) -> None:
        """Lets time pass; called early, it does nothing."""
        self.transactions.handle_timeout(now)
        self.calls.handle_timeout(now)
        self.subscriptions.handle_timeout(now)

    # -- outputs ------------------------------------------------------------------------------------------------------

    def poll_transmit(self) -> Transmit | None:
        """The next bytes to send, in order."""
        return self.transactions.poll_transmit()

    def poll_event(self) -> Event | None:
        """The next event, in order."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`; early at worst."""
        queues = (self.transactions, self.calls, self.subscriptions)
        return min((due for queue in queues if (due := queue.next_timeout()) is not None), default=None)

    # -- commands -----------------------------------------------------------------------------------------------------

    def complete(self, flow: Flow, request: Request) -> Request:
        """`request` with what every request needs and this one lacks: From tag, To, Call-ID, CSeq, Max-Forwards, and
        Contact and User-Agent where they belong. Via is added when it is sent. ValueError without From."""
        headers = request.headers
        if "From" not in headers:
            raise ValueError(f"{request.method} without From")
        if headers.from_.tag is None:
            headers = headers.replacing("From", headers.from_.with_tag(self._token()))
        defaults: list[tuple[str, object]] = [
            ("To", NameAddr(request.uri)),
            ("Call-ID", self._token()),
            ("CSeq", CSeq(_FIRST_SEQUENCE, request.method)),
            ("Max-Forwards", MAX_FORWARDS),
        ]
        if request.method in _NEEDS_CONTACT:
            defaults.append(("Contact", self.contact(flow, headers.from_.uri.user)))
        if self._user_agent:
            defaults.append(("User-Agent", self._user_agent))
        for name, value in defaults:
            if name not in headers:
                headers = headers.adding(name, value)
        return replace(request, headers=headers)

    def contact(self, flow: Flow, user: str | None) -> NameAddr:
        """Our Contact as a peer on that flow can use it."""
        host, port = self._advertise(flow)
        return NameAddr(Uri(user, host, port))

    def request(self, now: float, flow: Flow, request: Request, context: Any = None) -> PendingRequest:
        """Sends a request other than INVITE and ACK; what it lacks is added. Raises OverloadedError, ValueError."""
        request = self.complete(flow, request)
        pending = PendingRequest(request, flow, context)
        pending.transaction = self.transactions.send_request(now, flow, request, self.listener(pending))
        return pending

    def abandon(self, pending: PendingRequest) -> None:
        """Nobody waits any more: a command that was reported as failed must not be sent again."""
        if pending.transaction is not None:
            self.transactions.abandon(pending.transaction)

    def listener(self, pending: PendingRequest) -> Callable[[float, Outcome], None]:
        """What turns outcomes of a transaction into events about `pending`."""
        return partial(self._on_outcome, pending)

    def _on_outcome(self, pending: PendingRequest, _now: float, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            self._events.append(RequestFailed(pending, outcome))
        else:
            self._events.append(RequestAnswered(pending, outcome))

    def respond(
        self,
        now: float,
        transaction: IncomingTransaction,
        status: int,
        *,
        reason: str | None = None,
        headers: Iterable[tuple[str, object]] = (),
        body: bytes = b"",
    ) -> Response:
        """Answers a request; a To tag is added where one is due. IllegalTransitionError for a second final response."""
        request = transaction.request
        response = request.response(status, reason, to_tag=self._token(), headers=headers, body=body)
        self.transactions.respond(now, transaction, response)
        return response

    # -- inside -------------------------------------------------------------------------------------------------------

    def _handle_ack(self, now: float, flow: Flow, ack: Request) -> None:
        if not self.transactions.handle_ack(now, ack) and not self.calls.handle_ack(now, flow, ack):
            self.transactions.counters.stray_acks += 1

    def _route(self, now: float, flow: Flow, transaction: IncomingTransaction) -> None:
        """Gives a new request to the call or subscription that it belongs to, else to the user."""
        request = transaction.request
        if request.method == "CANCEL":
            self._cancel(now, transaction)
            return
        event = RequestReceived(transaction, request, flow, now)
        call = None if request.method == "INVITE" and not request.to.tag else self.calls.find(request)
        if call is not None:
            if self.calls.handle_request(now, flow, call, transaction):
                return
            event.call = call
        elif request.method == "NOTIFY":
            event.subscriber = self.subscriptions.find_subscriber(request)
        elif request.method == "SUBSCRIBE" and request.to.tag:
            notifier = self.subscriptions.find_notifier(request)
            if notifier is None:
                self.respond(now, transaction, 481)
            else:
                self.subscriptions.handle_refresh(now, flow, notifier, transaction)
            return
        elif request.method in _MUST_BE_IN_DIALOG and (request.to.tag or request.method == "BYE"):
            self.respond(now, transaction, 481)
            return
        elif request.method == "INVITE":
            self.calls.handle_invite(now, flow, transaction)
            return
        self._events.append(event)
        if event.subscriber is not None:
            self.subscriptions.handle_notify(now, flow, event.subscriber, request)

    def _cancel(self, now: float, transaction: IncomingTransaction) -> None:
        """CANCEL is answered by itself; the INVITE then gets its 487 (RFC 3261 §9.2)."""
        invite = self.transactions.find_invite(transaction.request)
        self.respond(now, transaction, 200 if invite is not None else 481)
        if invite is not None:
            self.calls.handle_cancel(now, invite)
