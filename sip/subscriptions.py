"""Drives all subscriptions of one endpoint, ours at peers and peers' at us (RFC 6665). No socket, no clock."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from sip.dialog import Dialog, DialogCause, DialogState
from sip.events import Event, NotifierOver, SubscriptionActive, SubscriptionOver
from sip.failures import OverloadedError
from sip.flow import Flow
from sip.headers import Headers
from sip.message import Request, Response
from sip.subscription import Notifier, Subscriber, SubscriberCause, SubscriberStep
from sip.timers import Deadlines
from sip.transaction_layer import Failure, IncomingTransaction, Listener, Outcome, TransactionLayer
from sip.values import NameAddr, SubscriptionState

DEFAULT_EXPIRES: Final = 3600  # seconds, where a SUBSCRIBE names none
LONGEST_EXPIRES: Final = 7 * 86_400  # seconds granted to a refresh, whatever it asks for
_OF_THE_DIALOG: Final = (
    "Via", "Route", "From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards", "Expires", "Content-Length",
)  # fmt: skip

Fields = Iterable[tuple[str, object]]


class Subscriptions:
    """See the module. `emit` receives events; `contact(flow, user)` makes our Contact on a flow."""

    def __init__(
        self,
        layer: TransactionLayer,
        token: Callable[[], str],
        contact: Callable[[Flow, str | None], NameAddr],
        emit: Callable[[Event], None],
    ) -> None:
        self._layer = layer
        self._token = token
        self._contact = contact
        self._emit = emit
        self._subscribers: dict[tuple[str, str], Subscriber] = {}  # by Call-ID and our tag
        self._notifiers: dict[tuple[str, str], Notifier] = {}
        self._deadlines: Deadlines[Subscriber | Notifier] = Deadlines()

    def __len__(self) -> int:
        return len(self._subscribers) + len(self._notifiers)

    def open(self) -> list[Subscriber]:
        """Subscriptions of ours that are not over."""
        return list(self._subscribers.values())

    # -- as the subscriber --------------------------------------------------------------------------------------------

    def subscribe(self, now: float, flow: Flow, request: Request) -> Subscriber:
        """Sends a complete SUBSCRIBE (but for Via) and keeps it refreshed; raises OverloadedError."""
        asked = request.headers.expires
        template = Request("SUBSCRIBE", request.uri, request.headers.removing(*_OF_THE_DIALOG), request.body)
        asked = DEFAULT_EXPIRES if asked is None else asked
        subscriber = Subscriber(Dialog.of_sent_request(request, flow), template, asked)
        self._layer.send_request(now, flow, request, partial(self._on_outcome, subscriber))
        self._subscribers[_key(subscriber.dialog)] = subscriber
        return subscriber

    def unsubscribe(self, now: float, subscriber: Subscriber) -> None:
        """Ends it; ended already, it does nothing."""
        self._do(now, subscriber, SubscriberCause.UNSUBSCRIBE, "unsubscribed")

    def find_subscriber(self, notify: Request) -> Subscriber | None:
        """The subscription that a NOTIFY belongs to, by Call-ID and our tag."""
        return self._subscribers.get((notify.call_id, notify.to.tag or ""))

    def handle_notify(self, now: float, flow: Flow, subscriber: Subscriber, request: Request) -> None:
        """Takes a NOTIFY's news about the subscription itself; its user answers it. Without Subscription-State it is
        active."""
        dialog = subscriber.dialog
        dialog.note_request(request)
        if flow.remote.host == dialog.flow.remote.host:
            dialog.flow = flow
        if dialog.state is DialogState.EARLY:
            dialog.handle(DialogCause.ESTABLISH)
        state = request.headers.subscription_state or SubscriptionState("active")
        if state.state == "terminated":
            self._do(
                now, subscriber, SubscriberCause.TERMINATED, f"terminated by the peer: {state.reason or 'no reason'}"
            )
            return
        if state.expires is not None and subscriber.expires_at is not None:
            subscriber.expires_at = min(subscriber.expires_at, now + state.expires)  # never longer than was granted
            self._deadlines.arm(subscriber)
        self._do(now, subscriber, SubscriberCause.NOTIFIED)

    def _on_outcome(self, subscriber: Subscriber, now: float, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            self._do(now, subscriber, SubscriberCause.REFUSED, outcome.value)
        elif 200 <= outcome.status < 300:
            self._granted(now, subscriber, outcome)
        elif outcome.status >= 300:
            reason = f"refused: {outcome.status} {outcome.reason}"
            self._do(now, subscriber, SubscriberCause.REFUSED, reason, outcome)

    def _granted(self, now: float, subscriber: Subscriber, response: Response) -> None:
        dialog = subscriber.dialog
        if dialog.state is DialogState.EARLY or dialog.remote_tag is None:
            dialog.learn(response)
        if dialog.state is DialogState.EARLY:
            dialog.handle(DialogCause.ESTABLISH)
        granted = response.headers.expires
        seconds = subscriber.asked if granted is None else min(granted, subscriber.asked)
        subscriber.grant(now, seconds)
        self._do(now, subscriber, SubscriberCause.GRANTED, "unsubscribed", response)
        self._deadlines.arm(subscriber)

    def _do(
        self,
        now: float,
        subscriber: Subscriber,
        cause: SubscriberCause,
        why: str = "",
        response: Response | None = None,
    ) -> None:
        match subscriber.handle(cause):
            case SubscriberStep.REPORT if response is not None:
                self._emit(SubscriptionActive(subscriber, response))
            case SubscriberStep.REFRESH:
                self._send(now, subscriber, subscriber.asked)
            case SubscriberStep.UNSUBSCRIBE:
                self._send(now, subscriber, 0)
            case SubscriberStep.END:
                self._subscribers.pop(_key(subscriber.dialog), None)
                if subscriber.dialog.state is not DialogState.TERMINATED:
                    subscriber.dialog.handle(DialogCause.END)
                self._emit(SubscriptionOver(subscriber, why, response))
            case _:
                pass

    def _send(self, now: float, subscriber: Subscriber, expires: int) -> None:
        """Event and body go with each refresh (GB/T 28181-2022 §9.11)."""
        template = subscriber.template
        request = subscriber.dialog.request("SUBSCRIBE", [*template.headers, ("Expires", expires)], template.body)
        try:
            self._layer.send_request(now, subscriber.dialog.flow, request, partial(self._on_outcome, subscriber))
        except OverloadedError:
            self._do(now, subscriber, SubscriberCause.REFUSED, "overloaded")

    # -- as the notifier ----------------------------------------------------------------------------------------------

    def accept(
        self, now: float, transaction: IncomingTransaction, expires: int, headers: Fields = (), body: bytes = b""
    ) -> Notifier:
        """Grants a peer's first SUBSCRIBE for `expires` seconds by a 200; IllegalTransitionError if it was answered
        already."""
        request, flow = transaction.request, transaction.flow
        tag = self._token()
        dialog = Dialog.of_received_request(request, flow, tag, self._contact(flow, request.uri.user))
        fields = [("Expires", expires), ("Contact", dialog.contact), *headers]
        self._layer.respond(now, transaction, request.response(200, to_tag=tag, headers=fields, body=body))
        dialog.handle(DialogCause.ESTABLISH)
        notifier = Notifier(dialog, request.headers.get("Event") or "", now + expires)
        self._notifiers[_key(dialog)] = notifier
        self._deadlines.arm(notifier)
        return notifier

    def find_notifier(self, subscribe: Request) -> Notifier | None:
        """The subscription that a SUBSCRIBE with a To tag refreshes."""
        return self._notifiers.get((subscribe.call_id, subscribe.to.tag or ""))

    def handle_refresh(self, now: float, flow: Flow, notifier: Notifier, transaction: IncomingTransaction) -> None:
        """Grants a refresh as asked, or ends the subscription for Expires 0 with a last NOTIFY (RFC 6665 §4.2.1.4)."""
        request = transaction.request
        notifier.dialog.note_request(request)
        notifier.dialog.flow = flow
        asked = request.headers.expires
        expires = DEFAULT_EXPIRES if asked is None else min(asked, LONGEST_EXPIRES)
        fields = [("Expires", expires), ("Contact", notifier.dialog.contact)]
        self._layer.respond(now, transaction, request.response(200, headers=fields))
        if expires:
            notifier.expires_at = now + expires
            self._deadlines.arm(notifier)
        else:
            self.terminate(now, notifier, "timeout", "unsubscribed")

    def notify_request(self, now: float, notifier: Notifier, headers: Fields = (), body: bytes = b"") -> Request:
        """The next NOTIFY, still without Via: Event repeated, Subscription-State active with the time left."""
        left = max(int(notifier.expires_at - now), 0)
        return self._notify_request(notifier, f"active;expires={left}", headers, body)

    def send(self, now: float, notifier: Notifier, request: Request, listener: Listener) -> None:
        """Sends it; an answer that the peer does not know the subscription ends it (RFC 6665 §4.2.2)."""

        def heard(now: float, outcome: Outcome) -> None:
            if isinstance(outcome, Response) and outcome.status == 481:
                self._end(notifier, "the subscriber does not know it")
            listener(now, outcome)

        self._layer.send_request(now, notifier.dialog.flow, request, heard)

    def terminate(self, now: float, notifier: Notifier, reason: str = "deactivated", why: str = "terminated") -> None:
        """Ends a peer's subscription with a last NOTIFY; `reason` as RFC 6665 §4.1.3 names it."""
        if notifier.over:
            return
        request = self._notify_request(notifier, f"terminated;reason={reason}", (), b"")
        self._end(notifier, why)
        self._layer.send_request(now, notifier.dialog.flow, request, _ignore)

    def _notify_request(self, notifier: Notifier, state: str, headers: Fields, body: bytes) -> Request:
        fields = [("Event", notifier.event)] if notifier.event else []
        return notifier.dialog.request("NOTIFY", Headers([*fields, ("Subscription-State", state), *headers]), body)

    def _end(self, notifier: Notifier, why: str) -> None:
        if not notifier.over:
            notifier.over = True
            self._notifiers.pop(_key(notifier.dialog), None)
            notifier.dialog.handle(DialogCause.END)
            self._emit(NotifierOver(notifier, why))

    # -- time ---------------------------------------------------------------------------------------------------------

    def handle_timeout(self, now: float) -> None:
        """Refreshes and expires what is due."""
        for item in self._deadlines.pop(now):
            if isinstance(item, Notifier):
                self.terminate(now, item, "timeout", "expired")
            elif (cause := item.due(now)) is not None:
                self._do(now, item, cause, "expired")
                self._deadlines.arm(item)

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`; early at worst."""
        return self._deadlines.next_timeout()


def _key(dialog: Dialog) -> tuple[str, str]:
    return dialog.call_id, dialog.local_tag


def _ignore(_now: float, _outcome: Outcome) -> None:
    """Nobody waits for the answer to the last NOTIFY."""
