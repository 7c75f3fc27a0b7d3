"""All transactions of one endpoint: finds the machine that a message belongs to and does what it says (RFC 3261 §17).

No socket, no clock. Whoever sends a request gives a listener, called with each response and with the failure; new
requests are returned to the caller. Bytes to send are collected in order for `poll_transmit`.

How messages are matched. Responses: by the branch that we made up, and the method. Requests: by branch, sent-by,
Call-ID and CSeq number, and the method. The RFC asks for branch, sent-by and method alone (§17.2.3); cameras repeat
a branch on their next REGISTER, leave out the magic cookie or the whole branch, and thousands of them call
themselves 192.168.1.64:5060. Without the cookie, the From tag is compared as well, as RFC 2543 did.
"""

import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, NamedTuple

from sip.failures import OverloadedError
from sip.flow import Address, Flow
from sip.message import Request, Response
from sip.timers import Deadlines, Expiry, Timers
from sip.transaction import Action, Cause, Client, InviteClient, InviteServer, Server, State, cause_of
from sip.values import MAGIC_COOKIE, Via


class Transmit(NamedTuple):
    """Bytes to be sent down a flow."""

    flow: Flow
    data: bytes


class Failure(Enum):
    """How a transaction ends without a final response."""

    TIMEOUT = "nobody answered"
    BROKEN = "the flow is closed"


Outcome = Response | Failure
Listener = Callable[[float, Outcome], None]
ServerListener = Callable[[float, Failure], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds, each with its policy: `clients` reached raises OverloadedError; `servers` (requests not yet answered)
    reached answers 503; `answered` reached forgets the oldest response, which costs at worst a second answer to a
    retransmission."""

    clients: int = 65_536
    servers: int = 16_384
    answered: int = 262_144


@dataclass(slots=True)
class TransactionCounters:
    """What happened; numbers only grow."""

    requests_sent: int = 0
    responses_sent: int = 0
    retransmissions_sent: int = 0
    retransmissions_received: int = 0
    stray_responses: int = 0
    stray_acks: int = 0
    timeouts: int = 0
    broken: int = 0
    never_answered: int = 0
    refused_overload: int = 0
    forgotten_early: int = 0


class OutgoingTransaction:
    """A client machine with what it was made for."""

    __slots__ = ("armed_at", "listener", "machine", "request")

    def __init__(self, machine: Client | InviteClient, request: Request, listener: Listener) -> None:
        self.machine = machine
        self.request = request
        self.listener = listener
        self.armed_at: float | None = None

    @property
    def flow(self) -> Flow:
        return self.machine.flow

    def next_timeout(self) -> float | None:
        return self.machine.next_timeout()


class IncomingTransaction:
    """A server machine with the request that it answers; `listener` hears of the end without an answer."""

    __slots__ = ("armed_at", "final", "listener", "machine", "request")

    def __init__(self, machine: Server | InviteServer, request: Request) -> None:
        self.final = False  # whether we gave a final response
        self.machine = machine
        self.request = request
        self.listener: ServerListener | None = None
        self.armed_at: float | None = None

    @property
    def flow(self) -> Flow:
        return self.machine.flow

    @property
    def answered(self) -> bool:
        """Whether a final response was given, or none can be given any more."""
        return self.machine.state not in _UNANSWERED

    def next_timeout(self) -> float | None:
        return self.machine.next_timeout()


_UNANSWERED: Final = {State.TRYING, State.PROCEEDING}
_Either = OutgoingTransaction | IncomingTransaction


class TransactionLayer:
    """See the module. `token()` returns a fresh unguessable word; `advertise(flow)` the address to write into Via."""

    def __init__(
        self, token: Callable[[], str], advertise: Callable[[Flow], Address], timers: Timers, limits: Limits
    ) -> None:
        self.timers = timers
        self.counters = TransactionCounters()
        self._token = token
        self._advertise = advertise
        self._limits = limits
        self._clients: dict[tuple[str, str], OutgoingTransaction] = {}
        self._servers: dict[str, IncomingTransaction] = {}
        self._unanswered = 0
        self._by_flow: dict[Flow, dict[_Either, None]] = {}
        # COMPLETED of a non-INVITE server over UDP is nothing but the bytes to repeat: no object, no timer of its own
        self._answered: dict[str, bytes] = {}
        self._forget: Expiry[str] = Expiry(timers.remember(reliable=False))
        self._waiting: Expiry[str] = Expiry(timers.timeout)
        self._deadlines: Deadlines[_Either] = Deadlines()
        self._transmits: deque[Transmit] = deque()

    # -- as a client --------------------------------------------------------------------------------------------------

    def send_request(self, now: float, flow: Flow, request: Request, listener: Listener) -> OutgoingTransaction:
        """Starts a transaction with a fresh Via on top of `request`; raises OverloadedError if there are too many.

        BYE is always sent: there are no more of them than calls, and without it a device streams for ever.
        """
        if len(self._clients) >= self._limits.clients and request.method != "BYE":
            raise OverloadedError(f"{len(self._clients)} requests are under way")
        branch = MAGIC_COOKIE + self._token()
        request = self._with_via(flow, request, branch)
        kind = InviteClient if request.method == "INVITE" else Client
        machine = kind(now, branch, flow, self.timers, bytes(request))
        transaction = OutgoingTransaction(machine, request, listener)
        self._clients[branch, request.method] = transaction
        self._bind(transaction)
        self._deadlines.arm(transaction)
        self._transmit(flow, machine.message)
        self.counters.requests_sent += 1
        return transaction

    def send_cancel(self, now: float, invite: OutgoingTransaction) -> None:
        """Asks to end an INVITE that was answered provisionally: same branch, same Request-URI (RFC 3261 §9.1)."""
        request = _derived(invite.request, "CANCEL")
        machine = Client(now, invite.machine.key, invite.flow, self.timers, bytes(request))
        transaction = OutgoingTransaction(machine, request, _ignore)
        self._clients[machine.key, "CANCEL"] = transaction
        self._bind(transaction)
        self._deadlines.arm(transaction)
        if isinstance(invite.machine, InviteClient):
            invite.machine.give_up_after(now)
            self._deadlines.arm(invite)
        self._transmit(invite.flow, machine.message)
        self.counters.requests_sent += 1

    def abandon(self, transaction: OutgoingTransaction) -> None:
        """Forgets a request: it is not repeated any more, and what is still answered to it is stray."""
        self._clients.pop((transaction.machine.key, transaction.request.method), None)
        self._unbind(transaction)
        transaction.machine.abandon()
        transaction.listener = _ignore

    def send_ack(self, flow: Flow, request: Request) -> bytes:
        """Sends the ACK of a 2xx, a transaction of its own without an answer; returns its bytes for `repeat`."""
        data = bytes(self._with_via(flow, request, MAGIC_COOKIE + self._token()))
        self._transmit(flow, data)
        return data

    def repeat(self, flow: Flow, data: bytes) -> None:
        """Sends bytes made before, such as the ACK of a 200 that came again."""
        self.counters.retransmissions_sent += 1
        self._transmit(flow, data)

    def handle_response(self, now: float, response: Response) -> bool:
        """Passes a response on to its transaction; False for a stray one."""
        transaction = self._clients.get((response.via.branch or "", response.cseq.method))
        if transaction is None:
            self.counters.stray_responses += 1
            return False
        self._apply(now, transaction, cause_of(response.status), response)
        return True

    # -- as a server --------------------------------------------------------------------------------------------------

    def handle_request(self, now: float, flow: Flow, request: Request) -> IncomingTransaction | None:
        """A new transaction to be answered, or None: a retransmission, or one too many. Not for ACK."""
        key = key_of(request)
        data = self._answered.get(key)
        if data is not None:
            self.counters.retransmissions_received += 1
            self._transmit(flow, data)
            return None
        known = self._servers.get(key)
        if known is not None:
            self.counters.retransmissions_received += 1
            self._apply_server(now, known, Cause.REQUEST)
            return None
        if self._unanswered >= self._limits.servers:
            self.counters.refused_overload += 1
            self.respond_statelessly(flow, request, 503, [("Retry-After", "5")])
            return None
        return self._new_server(now, key, flow, request)

    def _new_server(self, now: float, key: str, flow: Flow, request: Request) -> IncomingTransaction:
        kind = InviteServer if request.method == "INVITE" else Server
        transaction = IncomingTransaction(kind(now, key, flow, self.timers), request)
        self._servers[key] = transaction
        self._bind(transaction)
        self._unanswered += 1
        if kind is InviteServer:
            self._deadlines.arm(transaction)
        else:  # a heap entry would keep each answered request alive for 32 s; its key is enough
            self._waiting.add(now, key)
        return transaction

    def handle_ack(self, now: float, ack: Request) -> bool:
        """Passes an ACK to the INVITE whose refusal it confirms; False if it must be the ACK of a 2xx."""
        transaction = self._servers.get(key_of(ack, "INVITE"))
        if transaction is None or transaction.machine.state is State.ACCEPTED:
            return False
        self._apply_server(now, transaction, Cause.ACK)
        return True

    def find_invite(self, cancel: Request) -> IncomingTransaction | None:
        """The INVITE that a CANCEL means (RFC 3261 §9.2)."""
        return self._servers.get(key_of(cancel, "INVITE"))

    def respond(self, now: float, transaction: IncomingTransaction, response: Response) -> None:
        """Sends a response; IllegalTransitionError if a final one was given already."""
        self.respond_bytes(now, transaction, response.status, bytes(response))

    def respond_bytes(self, now: float, transaction: IncomingTransaction, status: int, data: bytes) -> None:
        """The same with the response written already."""
        machine = transaction.machine
        unanswered = machine.state in _UNANSWERED
        action = machine.handle(now, cause_of(status))
        machine.message = data
        if unanswered and status >= 200:
            transaction.final = True
            self._unanswered -= 1
        if action is Action.SEND:
            self.counters.responses_sent += 1
            self._transmit(machine.flow, data)
        if machine.state is State.COMPLETED and isinstance(machine, Server):
            del self._servers[machine.key]
            self._remember(now, machine.key, data)
        else:
            self._settle(transaction)

    def ignore(self, now: float, transaction: IncomingTransaction) -> None:
        """Forgets a request that is never to be answered, as if its flow had closed: it takes none of the places that
        `Limits.servers` bounds. Sent again, it is a new one."""
        if not transaction.answered:
            transaction.listener = None
            self._apply_server(now, transaction, Cause.BROKEN)

    def respond_statelessly(
        self, flow: Flow, request: Request, status: int, headers: list[tuple[str, object]] | None = None
    ) -> None:
        """Answers without remembering anything, a retransmission with the same tag again (RFC 3261 §8.2.7)."""
        tag = f"{zlib.crc32(key_of(request).encode()):08x}"
        response = request.response(status, to_tag=tag, headers=headers or ())
        self.counters.responses_sent += 1
        self._transmit(flow, bytes(response))

    def _remember(self, now: float, key: str, data: bytes) -> None:
        while len(self._answered) >= self._limits.answered and (oldest := self._forget.pop_oldest()) is not None:
            self._answered.pop(oldest, None)
            self.counters.forgotten_early += 1
        self._answered[key] = data
        self._forget.add(now, key)

    # -- time, flows, output ------------------------------------------------------------------------------------------

    def handle_timeout(self, now: float) -> None:
        """Lets time pass."""
        for key in self._forget.pop(now):
            self._answered.pop(key, None)
        for key in self._waiting.pop(now):
            waiting = self._servers.get(key)
            if waiting is not None and (cause := waiting.machine.due(now)) is not None:
                self._apply_server(now, waiting, cause)
        for transaction in self._deadlines.pop(now):
            cause = transaction.machine.due(now)
            if cause is None:
                self._deadlines.arm(transaction)
            elif isinstance(transaction, OutgoingTransaction):
                self._apply(now, transaction, cause, Failure.TIMEOUT)
            else:
                self._apply_server(now, transaction, cause)

    def handle_flow_closed(self, now: float, flow: Flow) -> None:
        """Ends the transactions of a flow that is gone."""
        for transaction in list(self._by_flow.get(flow, ())):
            if isinstance(transaction, OutgoingTransaction):
                self._apply(now, transaction, Cause.BROKEN, Failure.BROKEN)
            else:
                self._apply_server(now, transaction, Cause.BROKEN)

    def _bind(self, transaction: _Either) -> None:
        """Servers over UDP are not bound: there is no connection to lose, and there are very many of them."""
        if transaction.flow.reliable or isinstance(transaction, OutgoingTransaction):
            self._by_flow.setdefault(transaction.flow, {})[transaction] = None

    def _unbind(self, transaction: _Either) -> None:
        bound = self._by_flow.get(transaction.flow)
        if bound is not None:
            bound.pop(transaction, None)
            if not bound:
                del self._by_flow[transaction.flow]

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`; early at worst."""
        queues = (self._forget, self._waiting, self._deadlines)
        return min((due for queue in queues if (due := queue.next_timeout()) is not None), default=None)

    def poll_transmit(self) -> Transmit | None:
        """The next bytes to send, in order."""
        return self._transmits.popleft() if self._transmits else None

    @property
    def sizes(self) -> dict[str, int]:
        """How much is held; `unanswered` are among the servers, `answered` are responses remembered."""
        return {
            "clients": len(self._clients),
            "servers": len(self._servers),
            "unanswered": self._unanswered,
            "answered": len(self._answered),
            "timers": len(self._deadlines),
            "flows": len(self._by_flow),
        }

    # -- inside -------------------------------------------------------------------------------------------------------

    def _transmit(self, flow: Flow, data: bytes) -> None:
        self._transmits.append(Transmit(flow, data))

    def _apply(self, now: float, transaction: OutgoingTransaction, cause: Cause, outcome: Outcome) -> None:
        machine = transaction.machine
        action = machine.handle(now, cause)
        if machine.terminated:
            self._clients.pop((machine.key, transaction.request.method), None)
            self._unbind(transaction)
        else:
            self._deadlines.arm(transaction)
        if action is Action.SEND:
            self.counters.retransmissions_sent += 1
            self._transmit(machine.flow, machine.message)
        if action in _ACKNOWLEDGES and isinstance(outcome, Response):
            self._acknowledge_refusal(transaction, outcome)
        if action in _DELIVERS:
            self._count(outcome)
            transaction.listener(now, outcome)

    def _count(self, outcome: Outcome) -> None:
        if outcome is Failure.TIMEOUT:
            self.counters.timeouts += 1
        elif outcome is Failure.BROKEN:
            self.counters.broken += 1

    def _acknowledge_refusal(self, transaction: OutgoingTransaction, response: Response) -> None:
        """ACK of a non-2xx: the INVITE's branch and Request-URI, the response's To (RFC 3261 §17.1.1.3)."""
        ack = _derived(transaction.request, "ACK")
        ack = replace(ack, headers=ack.headers.replacing("To", response.to))
        self._transmit(transaction.flow, bytes(ack))

    def _apply_server(self, now: float, transaction: IncomingTransaction, cause: Cause) -> None:
        machine = transaction.machine
        unanswered = machine.state in _UNANSWERED
        action = machine.handle(now, cause)
        if unanswered and machine.terminated:
            self._unanswered -= 1
        self._settle(transaction)
        if action is Action.SEND and machine.message:
            self.counters.retransmissions_sent += 1
            self._transmit(machine.flow, machine.message)
        elif action is Action.DELIVER and cause in _FAILURES:
            self.counters.never_answered += 1
            if transaction.listener is not None:
                transaction.listener(now, _FAILURES[cause])

    def _settle(self, transaction: IncomingTransaction) -> None:
        if transaction.machine.terminated:
            self._servers.pop(transaction.machine.key, None)
            self._unbind(transaction)
        elif isinstance(transaction.machine, InviteServer):
            self._deadlines.arm(transaction)

    def _with_via(self, flow: Flow, request: Request, branch: str) -> Request:
        host, port = self._advertise(flow)
        via = Via(flow.transport, host, port, {"rport": None, "branch": branch})
        return replace(request, headers=request.headers.prepending("Via", via))


_ACKNOWLEDGES: Final = {Action.ACKNOWLEDGE, Action.ACKNOWLEDGE_AND_DELIVER}
_DELIVERS: Final = {Action.DELIVER, Action.ACKNOWLEDGE_AND_DELIVER}
_FAILURES: Final = {Cause.TIMEOUT: Failure.TIMEOUT, Cause.BROKEN: Failure.BROKEN}
_DERIVED_HEADERS: Final = ("Max-Forwards", "From", "To", "Call-ID", "Route", "User-Agent", "Authorization")


def _ignore(_now: float, _outcome: Outcome) -> None:
    """Listens to nothing: what matters about a CANCEL is the final response to the INVITE."""


def _derived(invite: Request, method: str) -> Request:
    """CANCEL or ACK of an INVITE: its top Via, addresses and CSeq number (RFC 3261 §9.1, §17.1.1.3)."""
    fields: list[tuple[str, object]] = [("Via", invite.via)]
    fields += [(name, value) for name in _DERIVED_HEADERS for value in invite.headers.get_all(name)]
    fields.append(("CSeq", f"{invite.cseq.number} {method}"))
    return Request(method, invite.uri, type(invite.headers)(fields))


def key_of(request: Request, method: str = "") -> str:
    """What makes two requests the same one, see the module; `method` replaces the request's own."""
    via = request.via
    key = f"{via.branch} {via.host}:{via.port} {request.call_id} {request.cseq.number} {method or request.method}"
    return key if via.has_cookie else f"{key} {request.from_.tag}"
