"""A subscription as its subscriber sees it, as a table, and as its notifier does (RFC 6665 §4.1, §4.2).

`sip.subscriptions` drives them. A NOTIFY may overtake the 200 to SUBSCRIBE and makes the dialog then (§4.1.2.4).
"""

from enum import Enum
from typing import Any, Final

from sip.dialog import Dialog
from sip.message import Request


class SubscriberState(Enum):
    """Where our subscription at a peer is."""

    REQUESTED = "requested"  # SUBSCRIBE sent
    ACTIVE = "active"
    REFRESHING = "refreshing"  # SUBSCRIBE sent again
    UNWANTED = "unwanted"  # we want no more, but a SUBSCRIBE is still unanswered
    ENDING = "ending"  # SUBSCRIBE with Expires 0 sent
    ENDED = "ended"


class SubscriberCause(Enum):
    """What may happen to it."""

    GRANTED = "2xx to SUBSCRIBE"
    REFUSED = "refusal of SUBSCRIBE, or no answer"
    NOTIFIED = "NOTIFY, active or pending"
    TERMINATED = "NOTIFY, terminated"
    DUE = "time to refresh"
    EXPIRED = "granted time is over"
    UNSUBSCRIBE = "our user wants no more"


class SubscriberStep(Enum):
    """What to do after a transition."""

    NOTHING = "nothing"
    REPORT = "tell the user that it is active"
    REFRESH = "send SUBSCRIBE"
    UNSUBSCRIBE = "send SUBSCRIBE with Expires 0"
    END = "tell the user that it is over"


_S, _C, _D = SubscriberState, SubscriberCause, SubscriberStep

# A refused refresh ends the subscription: many devices cannot refresh, and the user subscribes anew (RFC 6665
# §4.1.2.3 for 481).
TRANSITIONS: Final = {
    (_S.REQUESTED, _C.GRANTED): (_S.ACTIVE, _D.REPORT),
    (_S.REQUESTED, _C.REFUSED): (_S.ENDED, _D.END),
    (_S.REQUESTED, _C.NOTIFIED): (_S.REQUESTED, _D.NOTHING),
    (_S.REQUESTED, _C.TERMINATED): (_S.ENDED, _D.END),
    (_S.REQUESTED, _C.UNSUBSCRIBE): (_S.UNWANTED, _D.NOTHING),
    (_S.ACTIVE, _C.NOTIFIED): (_S.ACTIVE, _D.NOTHING),
    (_S.ACTIVE, _C.DUE): (_S.REFRESHING, _D.REFRESH),
    (_S.ACTIVE, _C.EXPIRED): (_S.ENDED, _D.END),
    (_S.ACTIVE, _C.TERMINATED): (_S.ENDED, _D.END),
    (_S.ACTIVE, _C.UNSUBSCRIBE): (_S.ENDING, _D.UNSUBSCRIBE),
    (_S.REFRESHING, _C.GRANTED): (_S.ACTIVE, _D.REPORT),
    (_S.REFRESHING, _C.REFUSED): (_S.ENDED, _D.END),
    (_S.REFRESHING, _C.NOTIFIED): (_S.REFRESHING, _D.NOTHING),
    (_S.REFRESHING, _C.EXPIRED): (_S.ENDED, _D.END),
    (_S.REFRESHING, _C.TERMINATED): (_S.ENDED, _D.END),
    (_S.REFRESHING, _C.UNSUBSCRIBE): (_S.UNWANTED, _D.NOTHING),
    (_S.UNWANTED, _C.GRANTED): (_S.ENDING, _D.UNSUBSCRIBE),
    (_S.UNWANTED, _C.REFUSED): (_S.ENDED, _D.END),
    (_S.UNWANTED, _C.NOTIFIED): (_S.UNWANTED, _D.NOTHING),
    (_S.UNWANTED, _C.TERMINATED): (_S.ENDED, _D.END),
    (_S.ENDING, _C.GRANTED): (_S.ENDED, _D.END),
    (_S.ENDING, _C.REFUSED): (_S.ENDED, _D.END),
    (_S.ENDING, _C.NOTIFIED): (_S.ENDING, _D.NOTHING),
    (_S.ENDING, _C.TERMINATED): (_S.ENDED, _D.END),
}

SHORTEST_REFRESH: Final = 10.0  # seconds; a peer that grants less gets no storm of refreshes out of us


class Subscriber:
    """Our subscription at a peer. `asked` and `granted` in seconds; `template` holds the headers and body of each
    refresh."""

    __slots__ = ("armed_at", "asked", "context", "dialog", "expires_at", "granted", "refresh_at", "state", "template")

    def __init__(self, dialog: Dialog, template: Request, asked: int) -> None:
        self.dialog = dialog
        self.template = template
        self.asked = asked
        self.granted = 0
        self.state = SubscriberState.REQUESTED
        self.refresh_at: float | None = None
        self.expires_at: float | None = None
        self.armed_at: float | None = None
        self.context: Any = None

    @property
    def over(self) -> bool:
        """Whether nothing more will be reported about it."""
        return self.state is SubscriberState.ENDED

    def handle(self, cause: SubscriberCause) -> SubscriberStep:
        """Moves the state and says what to do; what does not fit is absorbed."""
        self.state, step = TRANSITIONS.get((self.state, cause), (self.state, SubscriberStep.NOTHING))
        if self.over:
            self.refresh_at = self.expires_at = None
        return step

    def grant(self, now: float, seconds: int) -> None:
        """Sets the deadlines: refresh at two thirds of what was granted."""
        self.granted = seconds
        self.expires_at = now + seconds
        self.refresh_at = now + max(seconds * 2 / 3, SHORTEST_REFRESH)

    def due(self, now: float) -> SubscriberCause | None:
        """What time has brought, if anything."""
        deadline = self.next_timeout()
        if deadline is None or now < deadline:
            return None
        return SubscriberCause.DUE if deadline == self._refresh_due() else SubscriberCause.EXPIRED

    def next_timeout(self) -> float | None:
        """Its refresh or its expiry, whichever comes first; None where a SUBSCRIBE under way will decide."""
        if (self.state, SubscriberCause.EXPIRED) not in TRANSITIONS or self.expires_at is None:
            return None
        refresh_at = self._refresh_due()
        return self.expires_at if refresh_at is None else min(refresh_at, self.expires_at)

    def _refresh_due(self) -> float | None:
        return self.refresh_at if self.state is SubscriberState.ACTIVE else None


class Notifier:
    """A peer's subscription at us, active until `expires_at`; `event` is the Event header that it gave, as text."""

    __slots__ = ("armed_at", "context", "dialog", "event", "expires_at", "over")

    def __init__(self, dialog: Dialog, event: str, expires_at: float) -> None:
        self.dialog = dialog
        self.event = event
        self.expires_at = expires_at
        self.over = False
        self.armed_at: float | None = None
        self.context: Any = None

    def next_timeout(self) -> float | None:
        return None if self.over else self.expires_at
