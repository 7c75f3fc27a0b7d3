"""A request that a peer sent us and that wants exactly one answer."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sip.failures import IllegalTransitionError
from sip.flow import Flow
from sip.message import Request
from sip.transaction import cause_of

if TYPE_CHECKING:
    from sip.endpoint import Endpoint
    from sip.events import RequestReceived
    from sip.outgoing import CallHandle, Notifications, Subscription


class Incoming:
    """A request other than INVITE, ACK, CANCEL and BYE of a call; those are dealt with before.

    `received_at` is monotonic seconds. `call` or `subscription` is the one that it came inside, if any.
    """

    __slots__ = ("_endpoint", "_event", "flow", "received_at", "request")

    def __init__(self, endpoint: "Endpoint", event: "RequestReceived") -> None:
        self._endpoint = endpoint
        self._event = event
        self.request: Request = event.request
        self.flow: Flow = event.flow
        self.received_at: float = event.received_at

    @property
    def call(self) -> "CallHandle | None":
        """The call whose dialog this request is in (INFO, MESSAGE with MediaStatus)."""
        call = self._event.call
        return call.context if call is not None else None

    @property
    def subscription(self) -> "Subscription | None":
        """The subscription of ours that this NOTIFY belongs to."""
        subscriber = self._event.subscriber
        return subscriber.context if subscriber is not None else None

    @property
    def answered(self) -> bool:
        """Whether a final response was given, or none can be given any more."""
        return self._event.transaction.answered

    def respond(
        self,
        status: int,
        reason: str | None = None,
        *,
        headers: Iterable[tuple[str, object]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> None:
        """Answers. Any number of provisional responses, one final one: another is IllegalTransitionError.

        A request that nobody answered for 32 s, or whose connection is gone, is no longer answered: this does
        nothing then.
        """
        transaction = self._event.transaction
        if transaction.final:
            raise IllegalTransitionError(transaction.machine.state, cause_of(status))
        if transaction.answered:
            return
        fields = [*headers, ("Content-Type", content_type)] if content_type else headers
        self._endpoint.respond(transaction, status, reason, fields, body)

    def ignore(self) -> None:
        """Leaves the request without an answer for good. One that is only left lying counts as unanswered for 32 s, and
        so a flood of them would have everybody else refused."""
        self._endpoint.ignore(self._event.transaction)

    def accept_subscription(
        self, expires: int, headers: Iterable[tuple[str, object]] = (), body: bytes = b""
    ) -> "Notifications":
        """Answers a SUBSCRIBE with 200 for `expires` seconds; what it returns sends the NOTIFYs."""
        return self._endpoint.accept_subscription(self._event.transaction, expires, headers, body)
