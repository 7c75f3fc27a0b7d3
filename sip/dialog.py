"""Dialogs: what two user agents remember about each other so that later requests reach the right one (RFC 3261 §12).

A dialog is made half by the request that asks for it and completed by a response or, for subscriptions, a NOTIFY that
overtakes the response. Requests inside go down the dialog's `flow`, never to the address in a Contact: behind NAT that
address reaches nobody. The Contact is still what the Request-URI says.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from sip.failures import IllegalTransitionError
from sip.flow import Address, Flow
from sip.headers import Headers
from sip.message import Request, Response
from sip.uri import Uri
from sip.values import CSeq, NameAddr

MAX_FORWARDS: Final = 70


class DialogState(Enum):
    """RFC 3261 §12."""

    EARLY = "early"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


class DialogCause(Enum):
    """What moves a dialog."""

    PROVISIONAL = "1xx with a tag"
    ESTABLISH = "2xx, or NOTIFY of a subscription"
    END = "BYE, refusal, time-out or expiry"


TRANSITIONS: Final = {
    (DialogState.EARLY, DialogCause.PROVISIONAL): DialogState.EARLY,
    (DialogState.EARLY, DialogCause.ESTABLISH): DialogState.CONFIRMED,
    (DialogState.EARLY, DialogCause.END): DialogState.TERMINATED,
    (DialogState.CONFIRMED, DialogCause.ESTABLISH): DialogState.CONFIRMED,  # a 2xx again
    (DialogState.CONFIRMED, DialogCause.END): DialogState.TERMINATED,
}


class Dialog:
    """One dialog as one side sees it.

    `local` and `remote` are From and To of the requests that we send; `sequence` the CSeq number of the last one sent.
    `flow` may be set when the peer has moved to another address or connection.
    """

    __slots__ = (
        "call_id",
        "contact",
        "flow",
        "local",
        "remote",
        "remote_sequence",
        "routes",
        "sequence",
        "state",
        "target",
    )

    def __init__(
        self,
        call_id: str,
        local: NameAddr,
        remote: NameAddr,
        target: Uri,
        flow: Flow,
        *,
        sequence: int = 0,
        remote_sequence: int | None = None,
        routes: Iterable[NameAddr] = (),
        contact: NameAddr | None = None,
        state: DialogState = DialogState.EARLY,
    ) -> None:
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.target = target
        self.flow = flow
        self.sequence = sequence
        self.remote_sequence = remote_sequence
        self.routes = tuple(routes)
        self.contact = contact
        self.state = state

    @classmethod
    def of_sent_request(cls, request: Request, flow: Flow) -> "Dialog":
        """Our half of the dialog that `request` asks for; the peer's tag is still to come (RFC 3261 §12.1.2)."""
        return cls(
            request.call_id,
            request.from_,
            request.to,
            request.uri,
            flow,
            sequence=request.cseq.number,
            contact=request.headers.contact,
        )

    @classmethod
    def of_received_request(cls, request: Request, flow: Flow, tag: str, contact: NameAddr | None) -> "Dialog":
        """The dialog that a peer asks for; `tag` is ours (RFC 3261 §12.1.1)."""
        theirs = request.headers.contact
        return cls(
            request.call_id,
            request.to.with_tag(tag),
            request.from_,
            theirs.uri if theirs else request.from_.uri,
            flow,
            remote_sequence=request.cseq.number,
            routes=_without_own(request.headers.record_routes, flow.local),
            contact=contact,
        )

    @property
    def local_tag(self) -> str:
        return self.local.tag or ""

    @property
    def remote_tag(self) -> str | None:
        """None until the peer has given one; a peer of RFC 2543 never does."""
        return self.remote.tag

    def handle(self, cause: DialogCause) -> None:
        """Moves the state; IllegalTransitionError, and nothing changed, if it may not come now."""
        try:
            self.state = TRANSITIONS[self.state, cause]
        except KeyError:
            raise IllegalTransitionError(self.state, cause) from None

    def learn(self, response: Response) -> None:
        """Takes tag, target and route set of the peer from a response that makes the dialog (RFC 3261 §12.1.2,
        §13.2.2)."""
        self.remote = response.to
        if response.headers.contact is not None:
            self.target = response.headers.contact.uri
        self.routes = _without_own(tuple(reversed(response.headers.record_routes)), self.flow.local)

    def belongs(self, request: Request) -> bool:
        """Whether a request with this Call-ID is for us, by our tag. The peer's tag and address are not compared:
        devices write what they like there, and our tag is what a stranger cannot know. A request without a To tag
        passes as well: MediaStatus comes so (GB/T 28181-2016 §9.8.2)."""
        tag = request.to.tag
        return tag is None or tag == self.local_tag

    def note_request(self, request: Request) -> None:
        """Takes over what a request of the peer says about it: its CSeq and, if it refreshes the target, its
        Contact."""
        self.remote_sequence = max(self.remote_sequence or 0, request.cseq.number)
        if self.remote.tag is None and request.from_.tag:
            self.remote = request.from_
        if request.method in _REFRESHES_TARGET and request.headers.contact is not None:
            self.target = request.headers.contact.uri

    def request(self, method: str, headers: Iterable[tuple[str, object]] = (), body: bytes = b"") -> Request:
        """The next request inside the dialog, still without Via (RFC 3261 §12.2.1.1)."""
        self.sequence += 1
        return self._request(method, self.sequence, headers, body)

    def ack(self, sequence: int) -> Request:
        """The ACK of a 2xx; `sequence` is the CSeq number of the INVITE (RFC 3261 §13.2.2.4)."""
        return self._request("ACK", sequence, (), b"")

    def _request(self, method: str, sequence: int, headers: Iterable[tuple[str, object]], body: bytes) -> Request:
        fields: list[tuple[str, object]] = [("Route", route) for route in self.routes]
        fields += [("From", self.local), ("To", self.remote), ("Call-ID", self.call_id)]
        fields += [("CSeq", CSeq(sequence, method)), ("Max-Forwards", MAX_FORWARDS)]
        if self.contact is not None and method in _WITH_CONTACT:
            fields.append(("Contact", self.contact))
        return Request(method, self.target, Headers([*fields, *headers]), body)

    def snapshot(self) -> dict[str, Any]:
        """All of it as plain values for a store, so that a BYE can be sent after a crash."""
        return {
            "call_id": self.call_id,
            "local": str(self.local),
            "remote": str(self.remote),
            "target": str(self.target),
            "sequence": self.sequence,
            "remote_sequence": self.remote_sequence,
            "routes": [str(route) for route in self.routes],
            "contact": str(self.contact) if self.contact else None,
            "state": self.state.value,
            "flow": [self.flow.transport, *self.flow.local, *self.flow.remote, self.flow.connection],
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any], flow: Flow | None = None) -> "Dialog":
        """The inverse; `flow` replaces the old one, whose TCP connection cannot have survived.

        Raises KeyError, TypeError, ValueError (SipParseError) for what `snapshot` never made.
        """
        transport, local_host, local_port, host, port, connection = snapshot["flow"]
        old = Flow(transport, Address(local_host, local_port), Address(host, port), connection)
        return cls(
            snapshot["call_id"],
            NameAddr.parse(snapshot["local"]),
            NameAddr.parse(snapshot["remote"]),
            Uri.parse(snapshot["target"]),
            flow or old,
            sequence=snapshot["sequence"],
            remote_sequence=snapshot["remote_sequence"],
            routes=[NameAddr.parse(route) for route in snapshot["routes"]],
            contact=NameAddr.parse(snapshot["contact"]) if snapshot["contact"] else None,
            state=DialogState(snapshot["state"]),
        )


_REFRESHES_TARGET: Final = {"INVITE", "SUBSCRIBE", "NOTIFY", "UPDATE"}
_WITH_CONTACT: Final = {"INVITE", "SUBSCRIBE", "NOTIFY", "INFO", "UPDATE"}


def _without_own(routes: Iterable[NameAddr], own: Address) -> tuple[NameAddr, ...]:
    """A route set without ourselves: devices send our own address back in Route and Record-Route, and we must not
    loop."""
    return tuple(route for route in routes if (route.uri.host, route.uri.port or 5060) != own)
