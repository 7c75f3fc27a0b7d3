"""The four transaction machines of RFC 3261 §17 with the corrections of RFC 6026, as tables.

A machine is told what happened and answers what to do about it (`Action`); it neither parses nor sends.
`sip.transaction_layer` owns all of one endpoint's machines and finds the one that a message belongs to.

What stands in no row: for something that came from the network (a response out of place, a late ACK) it means
"absorb it"; for something that we did ourselves (a second final response) it is a bug, `IllegalTransitionError`.

Beyond the RFC, two rows make each machine end without help: PROCEEDING of an INVITE is bounded
(`Timers.proceeding`), and so is a non-INVITE server that its user never answers (the client has given up by then).
"""

from enum import Enum
from typing import ClassVar, Final

from sip.failures import IllegalTransitionError
from sip.flow import Flow
from sip.timers import Timers


class State(Enum):
    """States of all four machines, with the names of RFC 3261 figures 5 to 8; ACCEPTED is RFC 6026's."""

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


class Cause(Enum):
    """What may happen to a transaction. A client receives responses, a server sends them: same words."""

    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "3xx-6xx"
    REQUEST = "request again"
    ACK = "ACK"
    RETRANSMIT = "timer A, E or G"
    TIMEOUT = "timer B, F or H"
    ELAPSED = "timer D, I, J, K, L or M"
    BROKEN = "flow closed"


class Action(Enum):
    """What the layer has to do after a transition."""

    NOTHING = "nothing"
    SEND = "send the message (again)"
    DELIVER = "tell the user"
    ACKNOWLEDGE = "send the ACK of a refusal again"
    ACKNOWLEDGE_AND_DELIVER = "send the ACK of a refusal and tell the user"


Table = dict[tuple[State, Cause], tuple[State, Action]]

# RFC 3261 §17.1.1 (figure 5), RFC 6026 §7.2 and §8.4
INVITE_CLIENT: Final[Table] = {
    (State.CALLING, Cause.RETRANSMIT): (State.CALLING, Action.SEND),
    (State.CALLING, Cause.PROVISIONAL): (State.PROCEEDING, Action.DELIVER),
    (State.CALLING, Cause.SUCCESS): (State.ACCEPTED, Action.DELIVER),
    (State.CALLING, Cause.FAILURE): (State.COMPLETED, Action.ACKNOWLEDGE_AND_DELIVER),
    (State.CALLING, Cause.TIMEOUT): (State.TERMINATED, Action.DELIVER),
    (State.CALLING, Cause.BROKEN): (State.TERMINATED, Action.DELIVER),
    (State.PROCEEDING, Cause.PROVISIONAL): (State.PROCEEDING, Action.DELIVER),
    (State.PROCEEDING, Cause.SUCCESS): (State.ACCEPTED, Action.DELIVER),
    (State.PROCEEDING, Cause.FAILURE): (State.COMPLETED, Action.ACKNOWLEDGE_AND_DELIVER),
    (State.PROCEEDING, Cause.TIMEOUT): (State.TERMINATED, Action.DELIVER),
    (State.PROCEEDING, Cause.BROKEN): (State.TERMINATED, Action.DELIVER),
    (State.ACCEPTED, Cause.SUCCESS): (State.ACCEPTED, Action.DELIVER),  # the user sends its ACK again
    (State.ACCEPTED, Cause.ELAPSED): (State.TERMINATED, Action.NOTHING),
    (State.ACCEPTED, Cause.BROKEN): (State.TERMINATED, Action.NOTHING),
    (State.COMPLETED, Cause.FAILURE): (State.COMPLETED, Action.ACKNOWLEDGE),
    (State.COMPLETED, Cause.ELAPSED): (State.TERMINATED, Action.NOTHING),
    (State.COMPLETED, Cause.BROKEN): (State.TERMINATED, Action.NOTHING),
}

# RFC 3261 §17.1.2 (figure 6)
CLIENT: Final[Table] = {
    (State.TRYING, Cause.RETRANSMIT): (State.TRYING, Action.SEND),
    (State.TRYING, Cause.PROVISIONAL): (State.PROCEEDING, Action.DELIVER),
    (State.TRYING, Cause.SUCCESS): (State.COMPLETED, Action.DELIVER),
    (State.TRYING, Cause.FAILURE): (State.COMPLETED, Action.DELIVER),
    (State.TRYING, Cause.TIMEOUT): (State.TERMINATED, Action.DELIVER),
    (State.TRYING, Cause.BROKEN): (State.TERMINATED, Action.DELIVER),
    (State.PROCEEDING, Cause.RETRANSMIT): (State.PROCEEDING, Action.SEND),
    (State.PROCEEDING, Cause.PROVISIONAL): (State.PROCEEDING, Action.DELIVER),
    (State.PROCEEDING, Cause.SUCCESS): (State.COMPLETED, Action.DELIVER),
    (State.PROCEEDING, Cause.FAILURE): (State.COMPLETED, Action.DELIVER),
    (State.PROCEEDING, Cause.TIMEOUT): (State.TERMINATED, Action.DELIVER),
    (State.PROCEEDING, Cause.BROKEN): (State.TERMINATED, Action.DELIVER),
    (State.COMPLETED, Cause.ELAPSED): (State.TERMINATED, Action.NOTHING),
    (State.COMPLETED, Cause.BROKEN): (State.TERMINATED, Action.NOTHING),
}

# RFC 3261 §17.2.1 (figure 7), RFC 6026 §7.1 and §8.5
INVITE_SERVER: Final[Table] = {
    (State.PROCEEDING, Cause.REQUEST): (State.PROCEEDING, Action.SEND),
    (State.PROCEEDING, Cause.PROVISIONAL): (State.PROCEEDING, Action.SEND),
    (State.PROCEEDING, Cause.SUCCESS): (State.ACCEPTED, Action.SEND),
    (State.PROCEEDING, Cause.FAILURE): (State.COMPLETED, Action.SEND),
    (State.PROCEEDING, Cause.TIMEOUT): (State.TERMINATED, Action.DELIVER),
    (State.PROCEEDING, Cause.BROKEN): (State.TERMINATED, Action.DELIVER),
    (State.ACCEPTED, Cause.REQUEST): (State.ACCEPTED, Action.NOTHING),  # the user repeats its 2xx by itself
    (State.ACCEPTED, Cause.SUCCESS): (State.ACCEPTED, Action.SEND),
    (State.ACCEPTED, Cause.ACK): (State.ACCEPTED, Action.DELIVER),
    (State.ACCEPTED, Cause.ELAPSED): (State.TERMINATED, Action.NOTHING),
    (State.ACCEPTED, Cause.BROKEN): (State.TERMINATED, Action.NOTHING),
    (State.COMPLETED, Cause.REQUEST): (State.COMPLETED, Action.SEND),
    (State.COMPLETED, Cause.RETRANSMIT): (State.COMPLETED, Action.SEND),
    (State.COMPLETED, Cause.ACK): (State.CONFIRMED, Action.NOTHING),
    (State.COMPLETED, Cause.TIMEOUT): (State.TERMINATED, Action.NOTHING),
    (State.COMPLETED, Cause.BROKEN): (State.TERMINATED, Action.NOTHING),
    (State.CONFIRMED, Cause.ELAPSED): (State.TERMINATED, Action.NOTHING),
    (State.CONFIRMED, Cause.BROKEN): (State.TERMINATED, Action.NOTHING),
}

# RFC 3261 §17.2.2 (figure 8). COMPLETED is held by the layer as bare bytes, see `TransactionLayer`.
SERVER: Final[Table] = {
    (State.TRYING, Cause.REQUEST): (State.TRYING, Action.NOTHING),
    (State.TRYING, Cause.PROVISIONAL): (State.PROCEEDING, Action.SEND),
    (State.TRYING, Cause.SUCCESS): (State.COMPLETED, Action.SEND),
    (State.TRYING, Cause.FAILURE): (State.COMPLETED, Action.SEND),
    (State.TRYING, Cause.TIMEOUT): (State.TERMINATED, Action.DELIVER),
    (State.TRYING, Cause.BROKEN): (State.TERMINATED, Action.DELIVER),
    (State.PROCEEDING, Cause.REQUEST): (State.PROCEEDING, Action.SEND),
    (State.PROCEEDING, Cause.PROVISIONAL): (State.PROCEEDING, Action.SEND),
    (State.PROCEEDING, Cause.SUCCESS): (State.COMPLETED, Action.SEND),
    (State.PROCEEDING, Cause.FAILURE): (State.COMPLETED, Action.SEND),
    (State.PROCEEDING, Cause.TIMEOUT): (State.TERMINATED, Action.DELIVER),
    (State.PROCEEDING, Cause.BROKEN): (State.TERMINATED, Action.DELIVER),
    (State.COMPLETED, Cause.REQUEST): (State.COMPLETED, Action.SEND),
    (State.COMPLETED, Cause.ELAPSED): (State.TERMINATED, Action.NOTHING),
    (State.COMPLETED, Cause.BROKEN): (State.TERMINATED, Action.NOTHING),
}


def cause_of(status: int) -> Cause:
    """The cause that a response with this status code is."""
    if status < 200:
        return Cause.PROVISIONAL
    return Cause.SUCCESS if status < 300 else Cause.FAILURE


class Transaction:
    """What the machines share: a table, the last message sent, and at most two deadlines.

    `key` is what the layer finds it by; `message` the bytes that a retransmission repeats.
    """

    __slots__ = ("_interval", "_timers", "armed_at", "ends_at", "flow", "key", "message", "retransmit_at", "state")

    TABLE: ClassVar[Table]
    START: ClassVar[State]
    OURS: ClassVar[frozenset[Cause]] = frozenset()

    def __init__(self, now: float, key: str, flow: Flow, timers: Timers, message: bytes = b"") -> None:
        self.key = key
        self.flow = flow
        self.message = message
        self.state = self.START
        self.armed_at: float | None = None
        self.retransmit_at: float | None = None
        self.ends_at: float | None = None
        self._timers = timers
        self._interval = timers.t1
        self._enter(now)

    def handle(self, now: float, cause: Cause) -> Action:
        """Takes one input and says what to do; IllegalTransitionError if we may not do this now."""
        row = self.TABLE.get((self.state, cause))
        if row is None:
            if cause in self.OURS:
                raise IllegalTransitionError(self.state, cause)
            return Action.NOTHING
        before, (self.state, action) = self.state, row
        if self.state is not before:
            self._enter(now)
            if self.ends_at is not None and self.ends_at <= now and self._lingers():
                self.abandon()  # a reliable transport needs no lingering: timers D, I, J, K are 0
        elif cause is Cause.RETRANSMIT and not self.flow.reliable:
            self._back_off(now)
        return action

    def due(self, now: float) -> Cause | None:
        """Which of its timers has fired, if any: to be passed to `handle`."""
        if self.ends_at is not None and now >= self.ends_at:
            return Cause.ELAPSED if self._lingers() else Cause.TIMEOUT
        if self.retransmit_at is not None and now >= self.retransmit_at:
            return Cause.RETRANSMIT
        return None

    def next_timeout(self) -> float | None:
        """The earlier of its deadlines, or None."""
        if self.retransmit_at is None or self.ends_at is None:
            return self.ends_at if self.retransmit_at is None else self.retransmit_at
        return min(self.retransmit_at, self.ends_at)

    def abandon(self) -> None:
        """Ends it at once and without a word."""
        self.state = State.TERMINATED
        self.retransmit_at = self.ends_at = None

    @property
    def terminated(self) -> bool:
        """Whether it may be forgotten."""
        return self.state is State.TERMINATED

    def _lingers(self) -> bool:
        """Whether the state's end is the quiet kind (ELAPSED) and not a missing answer (TIMEOUT)."""
        return (self.state, Cause.ELAPSED) in self.TABLE

    def _enter(self, now: float) -> None:
        """Sets the deadlines of the state just entered."""
        raise NotImplementedError

    def _back_off(self, now: float) -> None:
        """Sets the next retransmission after one."""
        self._interval *= 2
        self.retransmit_at = now + self._interval

    def _retransmit_from(self, now: float) -> None:
        self._interval = self._timers.t1
        self.retransmit_at = None if self.flow.reliable else now + self._interval


class InviteClient(Transaction):
    """Sends one INVITE (RFC 3261 §17.1.1, RFC 6026 §8.4)."""

    __slots__ = ()
    TABLE = INVITE_CLIENT
    START = State.CALLING

    def _enter(self, now: float) -> None:
        timers, self.retransmit_at = self._timers, None
        match self.state:
            case State.CALLING:  # timers A and B
                self._retransmit_from(now)
                self.ends_at = now + timers.timeout
            case State.PROCEEDING:
                self.ends_at = now + timers.proceeding
            case State.ACCEPTED:  # timer M
                self.ends_at = now + timers.timeout
            case State.COMPLETED:  # timer D
                self.ends_at = now + timers.linger_invite_failure(reliable=self.flow.reliable)
            case _:
                self.ends_at = None

    def give_up_after(self, now: float) -> None:
        """Bounds the wait for a final response once CANCEL was sent (RFC 3261 §9.1: 64·T1)."""
        if self.state is State.PROCEEDING and self.ends_at is not None:
            self.ends_at = min(self.ends_at, now + self._timers.timeout)


class Client(Transaction):
    """Sends one request other than INVITE and ACK (RFC 3261 §17.1.2)."""

    __slots__ = ()
    TABLE = CLIENT
    START = State.TRYING

    def _enter(self, now: float) -> None:
        match self.state:
            case State.TRYING:  # timers E and F
                self._retransmit_from(now)
                self.ends_at = now + self._timers.timeout
            case State.PROCEEDING:  # timer E at T2, timer F goes on
                self.retransmit_at = None if self.flow.reliable else now + self._timers.t2
            case State.COMPLETED:  # timer K
                self.retransmit_at = None
                self.ends_at = now + self._timers.linger(reliable=self.flow.reliable)
            case _:
                self.retransmit_at = self.ends_at = None

    def _back_off(self, now: float) -> None:
        longest = self._timers.t2
        self._interval = longest if self.state is State.PROCEEDING else min(2 * self._interval, longest)
        self.retransmit_at = now + self._interval


class InviteServer(Transaction):
    """Answers one INVITE (RFC 3261 §17.2.1, RFC 6026 §8.5)."""

    __slots__ = ()
    TABLE = INVITE_SERVER
    START = State.PROCEEDING
    OURS = frozenset({Cause.PROVISIONAL, Cause.SUCCESS, Cause.FAILURE})

    def _enter(self, now: float) -> None:
        timers, self.retransmit_at = self._timers, None
        match self.state:
            case State.PROCEEDING:
                self.ends_at = now + timers.proceeding
            case State.ACCEPTED:  # timer L
                self.ends_at = now + timers.timeout
            case State.COMPLETED:  # timers G and H
                self._retransmit_from(now)
                self.ends_at = now + timers.timeout
            case State.CONFIRMED:  # timer I
                self.ends_at = now + timers.linger(reliable=self.flow.reliable)
            case _:
                self.ends_at = None

    def _back_off(self, now: float) -> None:
        self._interval = min(2 * self._interval, self._timers.t2)
        self.retransmit_at = now + self._interval


class Server(Transaction):
    """Answers one request other than INVITE and ACK (RFC 3261 §17.2.2)."""

    __slots__ = ()
    TABLE = SERVER
    START = State.TRYING
    OURS = frozenset({Cause.PROVISIONAL, Cause.SUCCESS, Cause.FAILURE})

    def _enter(self, now: float) -> None:
        match self.state:
            case State.TRYING:
                self.ends_at = now + self._timers.timeout
            case State.COMPLETED:  # timer J
                self.ends_at = now + self._timers.remember(reliable=self.flow.reliable)
            case State.TERMINATED:
                self.ends_at = None
            case _:
                pass
