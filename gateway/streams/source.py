"""Where the source of a stream stands that is pushed or pulled: a table. No socket, no clock."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from gateway.errors import IllegalTransitionError


class SourceState(StrEnum):
    """IDLE: nobody pushes, or nothing is pulled; BROKEN: what is pulled cannot be had now, and is tried again."""

    IDLE = "IDLE"
    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    FLOWING = "FLOWING"
    SILENT = "SILENT"
    BROKEN = "BROKEN"


class SourceCause(StrEnum):
    """What happened to it."""

    OPENED = "OPENED"
    """We begin to pull."""
    CONNECTED = "CONNECTED"
    """The other side is there: it pushes, or answers."""
    MEDIA = "MEDIA"
    SILENCE = "SILENCE"
    CONNECT_FAILED = "CONNECT_FAILED"
    DISCONNECTED = "DISCONNECTED"
    ENDED = "ENDED"
    """It is not tried again: who pushed has gone, or we closed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceView:
    """Where a source stands, for people."""

    state: SourceState
    since: datetime
    peer: str | None
    reason: str
    """Of the last failure or disconnection."""
    reason_code: str
    """The word for it that does not change."""
    failures: int
    """Tries to connect that failed since it last was there."""
    retry_at: datetime | None


S, C = SourceState, SourceCause
PRESENT: Final = (S.CONNECTED, S.FLOWING, S.SILENT)
TRANSITIONS: Final = {
    (S.IDLE, C.OPENED): S.CONNECTING,
    (S.IDLE, C.CONNECTED): S.CONNECTED,
    (S.CONNECTING, C.CONNECTED): S.CONNECTED,
    (S.CONNECTING, C.CONNECT_FAILED): S.BROKEN,
    (S.CONNECTING, C.SILENCE): S.CONNECTING,
    (S.BROKEN, C.SILENCE): S.BROKEN,
    (S.BROKEN, C.CONNECT_FAILED): S.BROKEN,
    (S.BROKEN, C.CONNECTED): S.CONNECTED,
    (S.CONNECTED, C.CONNECTED): S.CONNECTED,
    (S.CONNECTED, C.MEDIA): S.FLOWING,
    (S.CONNECTED, C.SILENCE): S.SILENT,
    (S.FLOWING, C.MEDIA): S.FLOWING,
    (S.FLOWING, C.SILENCE): S.SILENT,
    (S.SILENT, C.MEDIA): S.FLOWING,
    (S.SILENT, C.SILENCE): S.SILENT,
    **dict.fromkeys([(state, C.DISCONNECTED) for state in PRESENT], S.BROKEN),
    **dict.fromkeys([(state, C.ENDED) for state in S], S.IDLE),
}


class Source:
    """Follows one source; `told` says whether a step is worth a line of history."""

    def __init__(self) -> None:
        self.state = S.IDLE
        self.failures = 0
        """Tries to connect that failed since it last was there."""
        self._reason = ""

    def handle(self, cause: SourceCause, reason: str = "") -> tuple[SourceState, SourceState, bool]:
        """Takes one step and returns the state before, the state after, and whether history should tell of it.

        Of the failures of one outage it should tell the first, and each that has another reason than the one before:
        a camera that is off for a week is no million lines. IllegalTransitionError, and nothing changed, if this may
        not come now.
        """
        before = self.state
        try:
            after = TRANSITIONS[before, cause]
        except KeyError:
            raise IllegalTransitionError(before, cause) from None
        again = after is before and reason == self._reason
        self.state = after
        if cause is C.CONNECT_FAILED:
            self.failures += 1
        elif after in PRESENT:
            self.failures = 0
        if cause is not C.SILENCE:  # it is told of once in an outage, and is no failure of its own
            self._reason = reason if cause is C.CONNECT_FAILED else ""
        told = not again if cause is C.CONNECT_FAILED else after is not before
        return before, after, told
