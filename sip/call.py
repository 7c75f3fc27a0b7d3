"""What becomes of an INVITE, on both sides, as tables (RFC 3261 §13 to §15, §9; RFC 6026).

A call is one INVITE and the dialog it makes. These machines only say what to do (`Step`); `sip.calls` does it.

The races that matter: CANCEL may not be sent before a provisional response, and it may cross the 200. A device whose
200 is neither acknowledged nor ended streams for ever, so a 200 that nobody wants any more is always answered with
ACK and then BYE, even after the call was given up (`ABANDONED`).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from sip.dialog import Dialog
from sip.failures import IllegalTransitionError
from sip.message import Response


class CallState(Enum):
    """Where a call is."""

    CALLING = "calling"  # we sent INVITE, nothing heard
    RINGING = "ringing"  # a provisional response was heard
    CANCEL_WANTED = "cancel wanted"  # given up before anything was heard
    CANCELLING = "cancelling"  # CANCEL sent
    OFFERED = "offered"  # we received INVITE and owe an answer
    ACCEPTED = "accepted"  # we sent 200 and wait for its ACK
    HANG_UP_WANTED = "hang up wanted"  # the same, and we want to end it (RFC 3261 §15: not before the ACK)
    ESTABLISHED = "established"
    ENDING = "ending"  # BYE sent
    ENDED = "ended"
    ABANDONED = "abandoned"  # ended without an answer: a late 200 may still come
    DISMISSED = "dismissed"  # it came, and was acknowledged and ended


class CallCause(Enum):
    """What may happen to a call. SUCCESS and FAILURE are final responses to the INVITE, received or sent."""

    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "3xx-6xx"
    TIMEOUT = "no final response, or no ACK"
    BROKEN = "the flow is closed"
    ACK = "ACK received"
    CANCEL = "CANCEL received"
    BYE = "BYE received"
    BYE_DONE = "our BYE is answered or given up"
    HANG_UP = "our user wants no more"


class Step(Enum):
    """What to do after a transition."""

    NOTHING = "nothing"
    REPORT = "tell the user"
    ACK = "send ACK"
    ACK_AND_REPORT = "send ACK, tell the user"
    ACK_AND_BYE = "send ACK and BYE"
    CANCEL = "send CANCEL"
    BYE = "send BYE"
    TERMINATE = "answer the INVITE with 487"


Table = dict[tuple[CallState, CallCause], tuple[CallState, Step]]
_S, _C = CallState, CallCause

OUTGOING: Final[Table] = {
    (_S.CALLING, _C.PROVISIONAL): (_S.RINGING, Step.REPORT),
    (_S.CALLING, _C.SUCCESS): (_S.ESTABLISHED, Step.ACK_AND_REPORT),
    (_S.CALLING, _C.FAILURE): (_S.ENDED, Step.REPORT),
    (_S.CALLING, _C.TIMEOUT): (_S.ABANDONED, Step.REPORT),
    (_S.CALLING, _C.BROKEN): (_S.ABANDONED, Step.REPORT),
    (_S.CALLING, _C.HANG_UP): (_S.CANCEL_WANTED, Step.NOTHING),
    (_S.RINGING, _C.PROVISIONAL): (_S.RINGING, Step.REPORT),
    (_S.RINGING, _C.SUCCESS): (_S.ESTABLISHED, Step.ACK_AND_REPORT),
    (_S.RINGING, _C.FAILURE): (_S.ENDED, Step.REPORT),
    (_S.RINGING, _C.TIMEOUT): (_S.ABANDONED, Step.REPORT),
    (_S.RINGING, _C.BROKEN): (_S.ABANDONED, Step.REPORT),
    (_S.RINGING, _C.HANG_UP): (_S.CANCELLING, Step.CANCEL),
    (_S.RINGING, _C.BYE): (_S.ABANDONED, Step.REPORT),  # allowed in an early dialog, RFC 3261 §15
    (_S.CANCEL_WANTED, _C.PROVISIONAL): (_S.CANCELLING, Step.CANCEL),
    (_S.CANCEL_WANTED, _C.SUCCESS): (_S.ENDING, Step.ACK_AND_BYE),
    (_S.CANCEL_WANTED, _C.FAILURE): (_S.ENDED, Step.REPORT),
    (_S.CANCEL_WANTED, _C.TIMEOUT): (_S.ABANDONED, Step.REPORT),
    (_S.CANCEL_WANTED, _C.BROKEN): (_S.ABANDONED, Step.REPORT),
    (_S.CANCELLING, _C.SUCCESS): (_S.ENDING, Step.ACK_AND_BYE),  # it crossed our CANCEL
    (_S.CANCELLING, _C.FAILURE): (_S.ENDED, Step.REPORT),
    (_S.CANCELLING, _C.TIMEOUT): (_S.ABANDONED, Step.REPORT),
    (_S.CANCELLING, _C.BROKEN): (_S.ABANDONED, Step.REPORT),
    (_S.CANCELLING, _C.BYE): (_S.ABANDONED, Step.REPORT),
    (_S.ESTABLISHED, _C.SUCCESS): (_S.ESTABLISHED, Step.ACK),  # a 200 again: our ACK was lost
    (_S.ESTABLISHED, _C.HANG_UP): (_S.ENDING, Step.BYE),
    (_S.ESTABLISHED, _C.BYE): (_S.ENDED, Step.REPORT),
    (_S.ENDING, _C.SUCCESS): (_S.ENDING, Step.ACK),
    (_S.ENDING, _C.BYE): (_S.ENDED, Step.REPORT),  # both hung up at once
    (_S.ENDING, _C.BYE_DONE): (_S.ENDED, Step.REPORT),
    (_S.ENDED, _C.SUCCESS): (_S.ENDED, Step.ACK),
    (_S.ABANDONED, _C.SUCCESS): (_S.DISMISSED, Step.ACK_AND_BYE),
    (_S.DISMISSED, _C.SUCCESS): (_S.DISMISSED, Step.ACK),
}

INCOMING: Final[Table] = {
    (_S.OFFERED, _C.PROVISIONAL): (_S.OFFERED, Step.NOTHING),
    (_S.OFFERED, _C.SUCCESS): (_S.ACCEPTED, Step.NOTHING),
    (_S.OFFERED, _C.FAILURE): (_S.ENDED, Step.REPORT),
    (_S.OFFERED, _C.CANCEL): (_S.ENDED, Step.TERMINATE),
    (_S.OFFERED, _C.BYE): (_S.ENDED, Step.TERMINATE),
    (_S.OFFERED, _C.TIMEOUT): (_S.ENDED, Step.REPORT),
    (_S.OFFERED, _C.BROKEN): (_S.ENDED, Step.REPORT),
    (_S.ACCEPTED, _C.ACK): (_S.ESTABLISHED, Step.REPORT),
    (_S.ACCEPTED, _C.TIMEOUT): (_S.ENDING, Step.BYE),  # RFC 3261 §13.3.1.4
    (_S.ACCEPTED, _C.BYE): (_S.ENDED, Step.REPORT),
    (_S.ACCEPTED, _C.HANG_UP): (_S.HANG_UP_WANTED, Step.NOTHING),
    (_S.HANG_UP_WANTED, _C.ACK): (_S.ENDING, Step.BYE),
    (_S.HANG_UP_WANTED, _C.TIMEOUT): (_S.ENDING, Step.BYE),
    (_S.HANG_UP_WANTED, _C.BYE): (_S.ENDED, Step.REPORT),
    (_S.ESTABLISHED, _C.HANG_UP): (_S.ENDING, Step.BYE),
    (_S.ESTABLISHED, _C.BYE): (_S.ENDED, Step.REPORT),
    (_S.ENDING, _C.BYE): (_S.ENDED, Step.REPORT),
    (_S.ENDING, _C.BYE_DONE): (_S.ENDED, Step.REPORT),
}

OVER: Final = frozenset({CallState.ENDED, CallState.ABANDONED, CallState.DISMISSED})


class Party(Enum):
    """Who ended a call."""

    LOCAL = "local"
    REMOTE = "remote"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class Ended:
    """Who ended a call and why: `status` of the refusal if there was one, `reason` for people."""

    by: Party
    reason: str
    status: int | None = None


class Call:
    """One call: its dialog, its state, and whatever its user hangs on it (`context`).

    `sequence` is the CSeq number of the INVITE, `answer` the 2xx that was received or sent.
    """

    __slots__ = (
        "ack_data", "answer", "armed_at", "bye_status", "context", "dialog", "ended", "interval",
        "invite", "outgoing", "repeat_at", "repeat_until", "sequence", "state", "wanted",
    )  # fmt: skip

    def __init__(self, dialog: Dialog, *, outgoing: bool, sequence: int, state: CallState) -> None:
        self.dialog = dialog
        self.outgoing = outgoing
        self.sequence = sequence
        self.state = state
        self.answer: Response | None = None
        self.ended: Ended | None = None
        self.wanted: Ended | None = None
        self.bye_status: int | None = None
        self.invite: Any = None  # the INVITE's transaction while it lasts
        self.ack_data = b""
        self.context: Any = None
        self.armed_at: float | None = None
        self.interval = 0.0
        self.repeat_at: float | None = None
        self.repeat_until = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more will be reported about it."""
        return self.state in OVER

    def knows(self, cause: CallCause) -> bool:
        """Whether the table has a row for this now."""
        return (self.state, cause) in (OUTGOING if self.outgoing else INCOMING)

    def handle(self, cause: CallCause) -> Step:
        """Moves the state and says what to do. From the network, what does not fit is absorbed; from our user it is
        a bug."""
        row = (OUTGOING if self.outgoing else INCOMING).get((self.state, cause))
        if row is None:
            if cause in _OURS and not (self.outgoing and cause is not CallCause.HANG_UP):
                raise IllegalTransitionError(self.state, cause)
            return Step.NOTHING
        self.state, step = row
        return step

    def next_timeout(self) -> float | None:
        """When the 200 that we sent is to be repeated, until its ACK comes."""
        return self.repeat_at

    def snapshot(self) -> dict[str, Any]:
        """Plain values for a store; only an established call can be taken up again."""
        return {"dialog": self.dialog.snapshot(), "outgoing": self.outgoing, "sequence": self.sequence}


_OURS: Final = {CallCause.HANG_UP, CallCause.SUCCESS, CallCause.FAILURE, CallCause.PROVISIONAL}
