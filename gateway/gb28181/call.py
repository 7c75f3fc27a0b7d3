"""One call to one channel, from the INVITE to the last BYE (GB/T 28181-2016 §9.2). No socket, no clock.

The call says what to do (`poll_output`) and is told what happened (`handle`). It owns nothing itself, so its whole
life can be tested: whatever comes in whatever order, each receiver it opened is closed once, and each dialog that may
exist is ended once.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from gateway.devices.model import MediaTransport


class Stage(StrEnum):
    """How far a call came; a failure names the stage it happened in."""

    RECEIVER = "receiver"
    INVITE = "invite"
    CONNECT = "connect"
    MEDIA = "media"
    VIDEO = "video"
    FLOWING = "flowing"


class FailureCause(StrEnum):
    """Why a call failed, for the one who asks "why is there no picture"."""

    NO_PORT = "no_port"
    DEVICE_OFFLINE = "device_offline"
    NO_ANSWER = "no_answer"
    REFUSED = "refused"
    BAD_ANSWER = "bad_answer"
    CONNECT_FAILED = "connect_failed"
    NO_CONNECTION = "no_connection"
    NO_MEDIA = "no_media"
    NO_VIDEO = "no_video"
    WRONG_PAYLOAD = "wrong_payload"
    MEDIA_LOST = "media_lost"
    DEVICE_BYE = "device_bye"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Failure:
    """The end of a call: stage, cause, SIP status if one was given, and what was seen."""

    stage: Stage
    cause: FailureCause
    status: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        code = f" {self.status}" if self.status else ""
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.stage}: {self.cause}{code}{detail}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One offer: how the media should come, and whether to leave out all that is optional in the SDP."""

    transport: MediaTransport
    minimal: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds of patience (reference §9.1)."""

    answer: float = 10.0
    connect: float = 10.0
    media: float = 15.0
    video: float = 15.0
    bye: float = 5.0


# ---------------------------------------------------------------- what happens to a call


@dataclass(frozen=True, slots=True)
class ReceiverOpened:
    """The relay opened the receive port."""


@dataclass(frozen=True, slots=True)
class ReceiverRefused:
    """The relay has no port."""

    detail: str


@dataclass(frozen=True, slots=True)
class Answered:
    """200 with a usable answer; the dialog is confirmed and the ACK sent."""


@dataclass(frozen=True, slots=True)
class BadAnswer:
    """200 whose SDP cannot be used; the dialog exists all the same."""

    detail: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A final answer of 300 or above, or none at all (status None): there is no dialog."""

    status: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Connected:
    """The media TCP connection stands."""


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """The device's media address could not be reached (TCP active)."""

    detail: str


@dataclass(frozen=True, slots=True)
class MediaSeen:
    """The first valid packet came."""


@dataclass(frozen=True, slots=True)
class Playable:
    """Viewers can be served: a key frame, or sound where there is no video."""


@dataclass(frozen=True, slots=True)
class WrongPayload:
    """What comes is not a payload the relay understands."""

    detail: str


@dataclass(frozen=True, slots=True)
class MediaSilent:
    """Nothing came for as long as a stream may pause."""


@dataclass(frozen=True, slots=True)
class MediaLost:
    """What carried the media is gone: its connection closed, or the device was restarted."""

    detail: str


@dataclass(frozen=True, slots=True)
class ByeReceived:
    """The device ended the dialog."""


@dataclass(frozen=True, slots=True)
class DialogEnded:
    """Our CANCEL or BYE is over, answered or not."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nobody wants the call any more."""


@dataclass(frozen=True, slots=True)
class DeviceGone:
    """The device went offline: no signalling can reach it."""


Input = (
    ReceiverOpened | ReceiverRefused | Answered | BadAnswer | Refused | Connected | ConnectFailed | MediaSeen | Playable
    | WrongPayload | MediaSilent | MediaLost | ByeReceived | DialogEnded | Cancelled | DeviceGone
)  # fmt: skip


# ---------------------------------------------------------------- what a call asks for


@dataclass(frozen=True, slots=True)
class OpenReceiver:
    """Open a receive port for the attempt, with a fresh SSRC."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class SendInvite:
    """Send the INVITE with the attempt's offer."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class EndDialog:
    """CANCEL or BYE, whichever fits (RFC 3261 §9.1, §15); a late 200 is acknowledged and ended with BYE."""


@dataclass(frozen=True, slots=True)
class CloseReceiver:
    """Close the receive port and release the SSRC."""


@dataclass(frozen=True, slots=True)
class Flowing:
    """The call succeeded: video (or at least sound) can be watched."""


@dataclass(frozen=True, slots=True)
class Over:
    """The call is over and holds nothing more. Came it to flow before, `failure.stage` is FLOWING."""

    failure: Failure


Output = OpenReceiver | SendInvite | EndDialog | CloseReceiver | Flowing | Over


class CallState(Enum):
    """Where a call stands."""

    OPENING, INVITING, CONNECTING, WAITING_MEDIA, WAITING_VIDEO, FLOWING, ENDING, OVER = range(8)


_STAGES: Final = {
    CallState.OPENING: Stage.RECEIVER,
    CallState.INVITING: Stage.INVITE,
    CallState.CONNECTING: Stage.CONNECT,
    CallState.WAITING_MEDIA: Stage.MEDIA,
    CallState.WAITING_VIDEO: Stage.VIDEO,
    CallState.FLOWING: Stage.FLOWING,
}

_TIMEOUTS: Final = {
    CallState.INVITING: FailureCause.NO_ANSWER,
    CallState.CONNECTING: FailureCause.NO_CONNECTION,
    CallState.WAITING_MEDIA: FailureCause.NO_MEDIA,
    CallState.WAITING_VIDEO: FailureCause.NO_VIDEO,
}

_OFFER_REFUSED: Final = {415, 488, 606}
"""The device cannot do what was offered: a smaller or another offer may help."""


class Call:
    """Follows one call; all times are monotonic seconds.

    `attempts`: the offers to make, in order, never none; the next one follows when the device refuses an offer as
    such (488, 415), answers what cannot be used, or its TCP connection does not come.
    """

    def __init__(self, attempts: Sequence[Attempt], limits: Limits | None = None) -> None:
        self.state = CallState.OPENING
        self.attempt = attempts[0]
        self._further = deque(attempts[1:])
        self._limits = limits or Limits()
        self._due: float | None = None
        self._dialog = False  # an INVITE is out, and neither refused nor ended
        self._opening = True  # a receiver was asked for, and the relay has not said yes or no
        self._receiver = False
        self._early: list[Input] = []
        self._failure: Failure | None = None
        self._outputs: deque[Output] = deque()
        self._outputs.append(OpenReceiver(self.attempt))

    def handle(self, now: float, event: Input) -> None:  # noqa: PLR0912  (one case a kind of input)
        """Takes one input; what comes too late or twice is ignored, for peers race."""
        match event:
            case ReceiverOpened():
                self._receiver_opened(now)
            case ReceiverRefused(detail):
                self._opening = False
                self._end(now, FailureCause.NO_PORT, detail=detail)
                self._finish()
            case Answered():
                self._answered(now)
            case BadAnswer(detail):
                if self.state is CallState.INVITING:
                    self._next_or_end(now, FailureCause.BAD_ANSWER, detail=detail)
            case Refused(status, detail):
                self._refused(now, status, detail)
            case Connected() | MediaSeen() | Playable():
                self._media(now, event)
            case ConnectFailed(detail):
                if self.state is CallState.CONNECTING:
                    self._next_or_end(now, FailureCause.CONNECT_FAILED, detail=detail)
            case WrongPayload(detail):
                self._end(now, FailureCause.WRONG_PAYLOAD, detail=detail)
            case MediaSilent():
                # Before the first packet `Limits.media` decides: a camera may take longer to begin than to pause.
                if self.state in {CallState.WAITING_VIDEO, CallState.FLOWING}:
                    self._end(now, FailureCause.MEDIA_LOST, detail="no packets")
            case MediaLost(detail):
                self._media_lost(now, detail)
            case ByeReceived():
                self._dialog = False
                self._end(now, FailureCause.DEVICE_BYE)
            case DialogEnded():
                if self.state is CallState.ENDING:  # of an earlier attempt otherwise: this one's INVITE is still out
                    self._dialog = False
                    self._finish()
            case Cancelled():
                self._end(now, FailureCause.CANCELLED)
            case DeviceGone():
                self._end(now, FailureCause.DEVICE_OFFLINE)

    def handle_timeout(self, now: float) -> None:
        """Lets time pass; called early, it does nothing."""
        if self._due is None or now < self._due:
            return
        if self.state is CallState.ENDING:
            self._dialog = False
            self._finish()
        elif self.state is CallState.CONNECTING:
            self._next_or_end(now, _TIMEOUTS[self.state])
        else:
            self._end(now, _TIMEOUTS[self.state])

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`, or None."""
        return self._due

    def poll_output(self) -> Output | None:
        """The next thing to do, in order."""
        return self._outputs.popleft() if self._outputs else None

    # ------------------------------------------------------------ steps

    def _receiver_opened(self, now: float) -> None:
        self._opening = False
        if self.state is CallState.ENDING:  # given up while the port was being opened
            self._outputs.append(CloseReceiver())
            self._finish()
        elif self.state is CallState.OPENING:
            self._receiver = self._dialog = True
            self._enter(CallState.INVITING, now + self._limits.answer)
            self._outputs.append(SendInvite(self.attempt))

    def _answered(self, now: float) -> None:
        if self.state is not CallState.INVITING:
            return
        if self.attempt.transport is MediaTransport.UDP:
            self._enter(CallState.WAITING_MEDIA, now + self._limits.media)
        else:
            self._enter(CallState.CONNECTING, now + self._limits.connect)
        early, self._early = self._early, []
        for event in early:
            self._media(now, event)

    def _media(self, now: float, event: Input) -> None:
        if self.state is CallState.INVITING:
            if len(self._early) < len(CallState):  # media may overtake the 200
                self._early.append(event)
            return
        reached = {
            Connected: (CallState.WAITING_MEDIA, self._limits.media),
            MediaSeen: (CallState.WAITING_VIDEO, self._limits.video),
            Playable: (CallState.FLOWING, None),
        }
        state, patience = reached[type(event)]
        if self.state is CallState.OPENING or self.state.value >= state.value:
            return
        self._enter(state, None if patience is None else now + patience)
        if state is CallState.FLOWING:
            self._outputs.append(Flowing())

    def _media_lost(self, now: float, detail: str) -> None:
        if self.state in {CallState.WAITING_MEDIA, CallState.WAITING_VIDEO, CallState.FLOWING}:
            self._end(now, FailureCause.MEDIA_LOST, detail=detail)

    def _refused(self, now: float, status: int | None, detail: str) -> None:
        self._dialog = False
        if self.state is CallState.ENDING:
            self._finish()
        elif self.state is CallState.INVITING:
            cause = FailureCause.NO_ANSWER if status is None else FailureCause.REFUSED
            if status in _OFFER_REFUSED:
                self._next_or_end(now, cause, status=status, detail=detail)
            else:
                self._end(now, cause, status=status, detail=detail)
        elif self.state is not CallState.OPENING:  # after its 200: whatever that means, the dialog is gone
            self._end(now, FailureCause.REFUSED, status=status, detail=detail)

    def _next_or_end(self, now: float, cause: FailureCause, *, status: int | None = None, detail: str = "") -> None:
        self._end(now, cause, status=status, detail=detail, go_on=bool(self._further))

    def _end(
        self, now: float, cause: FailureCause, *, status: int | None = None, detail: str = "", go_on: bool = False
    ) -> None:
        """Gives up what is held; the call is over when the dialog is."""
        if self.state in {CallState.ENDING, CallState.OVER}:
            if cause in {FailureCause.CANCELLED, FailureCause.DEVICE_OFFLINE}:
                self._further.clear()  # the end of one attempt is now the end of the call
            if cause in {FailureCause.DEVICE_BYE, FailureCause.DEVICE_OFFLINE} and self._dialog:
                self._dialog = False
                self._finish()
            return
        self._failure = Failure(_STAGES[self.state], cause, status, detail)
        if not go_on:
            self._further.clear()
        if self._dialog:
            self._outputs.append(EndDialog())
        if self._receiver:
            self._receiver = False
            self._outputs.append(CloseReceiver())
        if cause is FailureCause.DEVICE_OFFLINE:
            self._dialog = False  # the BYE goes out, but nobody will answer it
        self._enter(CallState.ENDING, now + self._limits.bye if self._dialog else None)
        self._finish()

    def _finish(self) -> None:
        if self.state is not CallState.ENDING or self._dialog or self._opening:
            return
        self._early.clear()
        if self._further:
            self.attempt = self._further.popleft()
            self._enter(CallState.OPENING, None)
            self._opening = True
            self._outputs.append(OpenReceiver(self.attempt))
            return
        self._enter(CallState.OVER, None)
        assert self._failure is not None
        self._outputs.append(Over(self._failure))

    def _enter(self, state: CallState, due: float | None) -> None:
        self.state, self._due = state, due
