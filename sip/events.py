"""What the core of an endpoint tells its user, in the order in which it happened."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sip.flow import Flow
from sip.message import Request, Response

if TYPE_CHECKING:
    from sip.call import Call, Ended
    from sip.core import PendingRequest
    from sip.subscription import Notifier, Subscriber
    from sip.transaction_layer import Failure, IncomingTransaction


@dataclass(slots=True)
class RequestReceived:
    """A request that wants an answer; `call` or `subscriber` if it came inside one."""

    transaction: "IncomingTransaction"
    request: Request
    flow: Flow
    received_at: float
    call: "Call | None" = None
    subscriber: "Subscriber | None" = None
    notifier: "Notifier | None" = None


@dataclass(slots=True)
class RequestAnswered:
    """A response to a request of ours; provisional ones come here too."""

    pending: "PendingRequest"
    response: Response


@dataclass(slots=True)
class RequestFailed:
    """A request of ours got no final response."""

    pending: "PendingRequest"
    failure: "Failure"


@dataclass(slots=True)
class CallOffered:
    """A peer calls us: accept or reject it."""

    call: "Call"
    request: Request
    flow: Flow
    received_at: float


@dataclass(slots=True)
class CallProgress:
    """A provisional response to an INVITE of ours."""

    call: "Call"
    response: Response


@dataclass(slots=True)
class CallEstablished:
    """Our INVITE was accepted (`call.answer` says how), or the ACK of a call that we accepted has come."""

    call: "Call"


@dataclass(slots=True)
class CallOver:
    """The call has ended, once; `response` is the refusal, if there was one."""

    call: "Call"
    ended: "Ended"
    response: Response | None = None


@dataclass(slots=True)
class SubscriptionActive:
    """A SUBSCRIBE of ours was accepted, the first one or a refresh."""

    subscriber: "Subscriber"
    response: Response


@dataclass(slots=True)
class SubscriptionOver:
    """A subscription has ended, once; `response` is the refusal, if there was one."""

    subscriber: "Subscriber"
    reason: str
    response: Response | None = None


@dataclass(slots=True)
class NotifierOver:
    """A subscription that a peer had with us has ended or run out."""

    notifier: "Notifier"
    reason: str


Event = (
    RequestReceived
    | RequestAnswered
    | RequestFailed
    | CallOffered
    | CallProgress
    | CallEstablished
    | CallOver
    | SubscriptionActive
    | SubscriptionOver
    | NotifierOver
)
