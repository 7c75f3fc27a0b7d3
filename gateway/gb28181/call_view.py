"""What is known of a channel's calls, for diagnosis: the one under way, and how the last one ended."""

from dataclasses import dataclass
from datetime import datetime

from gateway.devices.model import InvitationStatus, MediaTransport
from gateway.gb28181.call import CallState, Failure
from gateway.streams.live import ReceivedStream


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTrace:
    """One call: what we asked for, and what came of it."""

    transport: MediaTransport
    ssrc: int | None
    """What we asked for."""
    port: int
    """Where we waited for media; 0 if we connect ourselves."""
    call_id: str | None
    state: CallState
    media: ReceivedStream | None
    """What the relay saw: now, or when the call's receiver closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """A channel's invitation."""

    status: InvitationStatus
    receiver: int | None
    """The relay's, while a call is under way."""
    current: CallTrace | None
    last: CallTrace | None
    """The last call that failed."""
    failure: Failure | None
    """How it failed; None once video flows again."""
    failed_at: datetime | None
