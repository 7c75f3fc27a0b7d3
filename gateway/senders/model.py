"""What is sent to whom, and what became of it. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from gateway.errors import ConflictError


class NotFlowingError(ConflictError):
    """Nothing comes of the stream now, so nothing can be sent."""


class SenderTransport(Enum):
    """How packets reach their target (GB/T 28181-2016 §D, annex L)."""

    UDP = "udp"
    TCP_ACTIVE = "tcp_active"
    """We connect to the target."""
    TCP_PASSIVE = "tcp_passive"
    """The target connects to us."""


class Payload(Enum):
    """What the packets carry."""

    PS = "ps"
    ES = "es"
    """H.264, H.265, G.711 and AAC as they are, in packets of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderOrder:
    """What is asked for; `gateway.senders.rules.check` says what may be."""

    transport: SenderTransport = SenderTransport.UDP
    """Without meaning if the target is reached `over` a receiver."""
    host: str | None = None
    """Literal address of the target; of a passive one, who may connect (None: anybody)."""
    port: int = 0
    """Of the target; without meaning for a passive one."""
    ssrc: int
    payload: Payload = Payload.PS
    payload_type: int = 96
    local_port: int = 0
    """0: one of the range for RTP."""
    video: bool = True
    audio: bool = True
    report_timeout: float = 0.0
    """Seconds that a target of datagrams may report nothing; 0: for ever."""
    wait: float = 30.0
    """Seconds that a passive one waits for its target, and one `over` a receiver for a connection."""
    over: int | None = None
    """The relay's number of the receiver whose source is the target, on the connection that it has."""
    rtcp: bool = False
    """Reports (RTCP) on a connection too; with datagrams they always go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderEnd:
    """The end of a sender."""

    sender: int
    app: str
    name: str
    at: datetime
    peer: str | None
    ssrc: int
    reached: bool
    """False: it never reached its target."""
    reason: str
    reason_code: str
    """The word for it that does not change."""
