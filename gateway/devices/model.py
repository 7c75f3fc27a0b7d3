"""Devices and channels as values. The API's vocabulary is the state's vocabulary."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, NewType

from gateway.access.model import AccessStrategy

DeviceId = NewType("DeviceId", str)
"""What a device registers as: 20 digits by the standard, 1 to 32 letters and digits in the field."""

ChannelId = NewType("ChannelId", str)
"""A video channel of a device; an IPC is often its own only channel."""


class DeviceType(StrEnum):
    """How the device was provisioned; its id's type digits are advice only."""

    IPC = "IPC"
    NVR = "NVR"


class DeviceState(StrEnum):
    """Whether a device is registered and alive (GB/T 28181-2016 §9.1, §9.6)."""

    UNREGISTERED = "UNREGISTERED"
    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"


class InvitationStatus(StrEnum):
    """Where a channel's invitation stands."""

    UNREGISTERED = "UNREGISTERED"
    ONLINE = "ONLINE"
    INVITING = "INVITING"
    INVITE_SUCCESS = "INVITE_SUCCESS"
    CANCELING = "CANCELING"
    TEMPORARY_OFFLINE = "TEMPORARY_OFFLINE"
    OFFLINE = "OFFLINE"


class CatalogueStatus(StrEnum):
    """`channels_query` of the VIS API; IDEL is its spelling."""

    IDEL = "IDEL"
    QUERYING = "QUERYING"
    QUERIED = "QUERIED"


class MediaTransport(StrEnum):
    """How a channel's RTP comes; named from our side (RFC 4145): passive means the device connects."""

    UDP = "UDP"
    TCP_PASSIVE = "TCP_PASSIVE"
    TCP_ACTIVE = "TCP_ACTIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A provisioned device; what it told about itself is None until it did."""

    device_id: DeviceId
    project_id: str
    type: DeviceType
    credential: str
    """User name of its GB28181 credential."""
    state: DeviceState
    catalogue: CatalogueStatus
    suffix: str
    description: str
    created_at: datetime
    updated_at: datetime
    registered_at: datetime | None = None
    """Of the first registration ever."""
    last_seen_at: datetime | None = None
    manufacturer: str | None = None
    model: str | None = None
    firmware: str | None = None
    user_agent: str | None = None
    gb_version: str | None = None
    """X-GB-ver as sent: a hint, never a gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFilter:
    """What a list is narrowed to; None is everything."""

    device_id: str | None = None
    """A part of the id, in any case."""
    type: DeviceType | None = None
    state: DeviceState | None = None


class DeviceFacts(NamedTuple):
    """What lists of devices are filtered and sorted by: plain values, for there may be many at once."""

    device_id: str
    project_id: str
    type: str
    username: str
    state: str
    created_at: datetime
    updated_at: datetime
    first_online_at: datetime | None
    """Of the first registration ever."""
    last_offline_at: datetime | None
    """When it last stopped being online."""
    first_media_at: datetime | None
    """When it first sent video that could be watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A video channel and where its invitation stands."""

    device_id: DeviceId
    channel_id: ChannelId
    project_id: str
    stream_id: str
    app: str
    """First part of its play addresses: the project's name."""
    stream_name: str
    private: bool
    """Its video plays only with a signed address."""
    generation: int
    """Play addresses of earlier generations are void."""
    name: str
    suffix: str
    status: InvitationStatus
    tcp_priority: bool
    tcp_support: bool
    wanted: bool
    """Somebody asked for its video and has not taken that back; survives restarts."""
    reported_on: bool
    """Status of the catalogue item; a channel reported OFF may not be invited."""
    parent_id: str | None
    manufacturer: str | None
    model: str | None
    ptz_type: int | None
    longitude: float | None
    latitude: float | None
    created_at: datetime
    updated_at: datetime
    strategy: AccessStrategy | None = None
    """None until one is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a device proved at REGISTER; the truth after a restart."""

    device_id: DeviceId
    contact: str
    transport: str
    """UDP or TCP."""
    remote_host: str
    remote_port: int
    local_host: str
    local_port: int
    call_id: str
    cseq: int
    registered_at: datetime
    expires_at: datetime
    last_seen_at: datetime
    keepalive_interval: float | None
    """Learnt, in seconds."""


class StateCause(StrEnum):
    """Why a state changed, kept in the append-only history."""

    PROVISION = "PROVISION"
    REGISTER = "REGISTER"
    UNREGISTER = "UNREGISTER"
    KEEPALIVE = "KEEPALIVE"
    KEEPALIVE_LOST = "KEEPALIVE_LOST"
    REGISTRATION_EXPIRED = "REGISTRATION_EXPIRED"
    CONNECTION_LOST = "CONNECTION_LOST"
    CATALOGUE = "CATALOGUE"
    INVITE = "INVITE"
    ANSWERED = "ANSWERED"
    MEDIA = "MEDIA"
    CANCEL = "CANCEL"
    ENDED = "ENDED"
    FAILED = "FAILED"
    MEDIA_LOST = "MEDIA_LOST"
    DEVICE_BYE = "DEVICE_BYE"
    DEVICE_OFFLINE = "DEVICE_OFFLINE"
    DEVICE_ONLINE = "DEVICE_ONLINE"
    RETRY = "RETRY"
    GIVEN_UP = "GIVEN_UP"
    RESTART = "RESTART"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateEvent:
    """One line of the append-only history of a device (channel_id None) or channel."""

    at: datetime
    project_id: str
    device_id: DeviceId
    channel_id: ChannelId | None
    before: str
    after: str
    cause: StateCause
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """One item of a catalogue: a channel, or a node of the tree above it (GB/T 28181-2016 §A.2.6.3)."""

    node_id: str
    name: str
    video: bool
    """A channel that can be invited, not a directory, business group or alarm input."""
    reported_on: bool
    parent_id: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    ptz_type: int | None = None
    longitude: float | None = None
    latitude: float | None = None


@dataclass(frozen=True, slots=True)
class CatalogueChange:
    """What an answer changed; channels as they are now."""

    added: tuple[Channel, ...]
    turned_on: tuple[Channel, ...]
    turned_off: tuple[Channel, ...]
    """Reported OFF, or missing from a complete answer: nothing is deleted by absence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision:
    """What the registrar must know of a device before it registers."""

    device_id: DeviceId
    project_id: str
    type: DeviceType
    username: str
    """The digest user name it must show."""
    password: str
    state: DeviceState = DeviceState.UNREGISTERED
    """As it was when this was first asked: what the history shows last of a device not heard of since the start."""
    user_agent: str | None = None
    gb_version: str | None = None

    def __repr__(self) -> str:
        return f"Provision({self.device_id!r}, {self.username!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCall:
    """A confirmed media dialog, kept so that it can be ended after a crash (RFC 3261 §12)."""

    call_id: str
    device_id: DeviceId
    channel_id: ChannelId
    dialog: Mapping[str, Any]
    """What `sip` needs to take the call up again; plain values."""
    ssrc: int
    media_port: int
    media_transport: MediaTransport
    started_at: datetime
