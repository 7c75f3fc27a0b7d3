"""What a fleet tells about itself while it runs: events for a person, figures for a test."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from gateway.simulator.link import LinkCounts


class EventKind(Enum):
    """What happened to a device."""

    REGISTERED = "registered"
    REGISTER_FAILED = "register failed"
    UNREGISTERED = "unregistered"
    KEEPALIVE_LOST = "keepalive unanswered"
    CONTROLLED = "controlled"
    INVITED = "invited"
    REFUSED = "refused"
    STREAMING = "streaming"
    STREAM_ENDED = "stream ended"
    MOVED = "new source port"
    DIED = "fell silent"


@dataclass(frozen=True)
class FleetEvent:
    """One event of one device (or channel), with a few words."""

    kind: EventKind
    device_id: str
    detail: str = ""


OnEvent = Callable[[FleetEvent], None]


@dataclass
class StreamFigures:
    """One call's stream: what the device knows for certain, to compare with the relay's figures.

    `link.offered` packets were made, `link` says what became of them; `unsent` of those sent the system refused.
    """

    device_id: str
    channel_id: str
    call_id: str
    transport: str
    ssrc: int
    link: LinkCounts
    unsent: int = 0
    running: bool = True


@dataclass
class FleetFigures:
    """Sums over all devices; numbers only grow, but for `registered` and `streaming`."""

    devices: int = 0
    registered: int = 0
    registrations: int = 0
    register_failures: int = 0
    keepalives: int = 0
    keepalives_lost: int = 0
    queries: int = 0
    commands: int = 0
    invitations: int = 0
    refused: int = 0
    streaming: int = 0
    streams: list[StreamFigures] = field(default_factory=list)

    @property
    def packets_sent(self) -> int:
        """RTP packets on the wire, duplicates included."""
        return sum(stream.link.sent for stream in self.streams)

    @property
    def bytes_sent(self) -> int:
        return sum(stream.link.bytes for stream in self.streams)
