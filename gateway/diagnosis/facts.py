"""What is known of a device and of one of its channels at one moment: what `findings` judges. Plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gateway.devices.model import CatalogueStatus, DeviceState, InvitationStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRegister:
    """REGISTERs of one id from one source that were refused for one reason."""

    device_id: str
    source: str
    reason: str
    wrong_password: bool
    first_at: datetime
    last_at: datetime
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationFacts:
    """Who the device is to us; None is what is not known."""

    state: DeviceState
    registered: bool
    """It holds a registration that has not ended."""
    credential: str
    """The user name it must show."""
    first_registered_at: datetime | None
    registered_at: datetime | None
    expires_at: datetime | None
    transport: str
    remote: str
    """Where requests to it go; empty while there is no way to it."""
    contact: str
    user_agent: str | None
    gb_version: str | None
    last_seen_at: datetime | None
    keepalive_interval: float | None
    """Learnt, in seconds."""
    patience: float
    """Seconds of silence after which it is offline."""
    clock_drift: float | None
    """Seconds by which its clock is ahead."""
    challenged_at: datetime | None
    """When a REGISTER of it was last asked for its password."""
    challenged_source: str
    refused: Sequence[RefusedRegister] = ()
    """Newest first."""
    strangers: Sequence[RefusedRegister] = ()
    """Ids of nobody that knocked lately; looked up only while the device never registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueFacts:
    """What the device's catalogue says."""

    status: CatalogueStatus
    is_nvr: bool
    codes: int
    """How many codes it names, channels and others."""
    reported_on: bool
    """What it says of this channel; True without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """What the relay sees, or saw when the call ended."""

    transport: str
    port: int
    peer: str | None
    ssrc: str | None
    """Ten digits, as in `y=`."""
    payload: str | None
    expected: int
    received: int
    lost: int
    reordered: int
    duplicates: int
    rejected: int
    jitter_ms: float
    rate_in_bps: int
    first_packet_ms: int | None
    """After the port was opened."""
    first_key_frame_ms: int | None
    video_codec: str | None
    width: int
    height: int
    fps: float
    gop: int
    audio_codec: str | None
    sample_rate: int
    faults: Mapping[str, int] = field(default_factory=dict)
    viewers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """The call under way, or the last one."""

    under_way: bool
    status: InvitationStatus
    wanted: bool
    state: str | None
    """How far the call under way is: opening, inviting, connecting, waiting_media, waiting_video, flowing, ending."""
    transport: str | None
    ssrc: str | None
    """What was asked for."""
    port: int
    call_id: str | None
    stage: str | None
    """Of the last failure; None if the last call did not fail."""
    cause: str | None
    sip_status: int | None
    detail: str
    failed_at: datetime | None
    media: MediaFacts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """What the device is told of us."""

    sip: str
    """host:port of the SIP server."""
    server_id: str
    domain: str
    media_host: str
    """Empty while there is no way to the device, unless it is the same for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything together, at `at`."""

    at: datetime
    device_id: str
    channel_id: str | None
    """None where the device alone is asked about: one that never registered has no channel yet."""
    registration: RegistrationFacts
    catalogue: CatalogueFacts
    call: CallFacts | None
    """None without a channel."""
    addresses: Addresses
    deviations: Mapping[str, int]
