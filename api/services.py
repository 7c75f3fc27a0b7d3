"""What the controllers need of the gateway; the composition root gives it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from prometheus_client import CollectorRegistry

from gateway.access.service import AccessStrategies
from gateway.accounts.groups import Groups
from gateway.accounts.keys import AccessKeys
from gateway.accounts.projects import Projects
from gateway.accounts.service import Accounts
from gateway.accounts.users import Users
from gateway.audit.service import Audit
from gateway.credentials.push_keys import PushKeys
from gateway.credentials.service import Credentials
from gateway.devices.model import Channel, ChannelId, Device, DeviceId, StateEvent
from gateway.devices.service import Devices
from gateway.diagnosis.service import Diagnoses
from gateway.diagnosis.taps import Taps
from gateway.gb28181.call import Failure
from gateway.gb28181.call_view import CallView
from gateway.gb28181.trace import SipTraces
from gateway.playback.recordings import Recordings
from gateway.playback.service import Playbacks
from gateway.pushes.service import Pushes
from gateway.record_plans.service import RecordPlans
from gateway.retention.service import Retentions
from gateway.senders.service import Senders
from gateway.statistics.service import Statistics
from gateway.streams.option_book import OptionBook
from gateway.streams.service import Streams
from gateway.streams.siblings import Siblings
from gateway.streams.webrtc import WebRtcStreams
from media.snapshots import Snapshots


class Invitations(Protocol):
    """Who calls channels and hangs up (`gateway.gb28181.invitation_service`)."""

    async def invite(self, channel: Channel, *, quota: int) -> None:
        """Keeps that the channel is wanted and starts its invitation; returns once that is under way.

        `quota`: active streams the project may have (`ChannelStore.set_wanted` counts). NotInvitableError if it is
        invited already or offline, QuotaError, StrategyActiveError, any other GatewayError if it cannot be started.
        """

    async def cancel(self, channel: Channel) -> None:
        """Keeps that the channel is not wanted and ends its call. NotInvitedError if there is nothing to end."""

    def failure(self, device_id: DeviceId, channel_id: ChannelId) -> Failure | None:
        """How the last invitation failed; None if it did not."""

    def look(self, device_id: DeviceId, channel_id: ChannelId) -> CallView | None:
        """All that is known of a channel's calls; None if the channel is unknown."""


class Catalogue(Protocol):
    """Who asks devices for their channels (`gateway.gb28181.query_service`)."""

    async def refresh(self, device: Device) -> None:
        """Starts a query and returns once it is under way; RefreshingError while one runs, DeviceOfflineError."""


class EventHistory(Protocol):
    """The append-only history (`gateway.store.events.EventStore`)."""

    async def history(
        self,
        device_id: DeviceId,
        *,
        channel_id: ChannelId | None = None,
        since: datetime | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[tuple[int, StateEvent]]:
        """Events with their numbers, newest first."""


class Health(Protocol):
    """Whether we can do our work."""

    async def check(self) -> Mapping[str, str | None]:
        """Each part by name, with what is wrong with it; None if nothing is."""


@dataclass(frozen=True, slots=True)
class SipServer:
    """Where devices register, as told to those who set them up."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class MediaServer:
    """Where streams are pushed to, or played from, by a protocol with a port of its own."""

    port: int
    """0: only behind TLS."""
    public_url: str = ""
    """Such as rtmp://host:port; empty: the host at which the client addressed us, and a port of ours."""
    tls_port: int = 0
    """What clients are told who came by https; 0: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """All services together."""

    accounts: Accounts
    keys: AccessKeys
    users: Users
    projects: Projects
    groups: Groups
    audit: Audit
    credentials: Credentials
    push_keys: PushKeys
    devices: Devices
    statistics: Statistics
    streams: Streams
    senders: Senders
    pushes: Pushes
    options: OptionBook
    webrtc: WebRtcStreams
    siblings: Siblings
    retentions: Retentions
    record_plans: RecordPlans
    recordings: Recordings
    playbacks: Playbacks
    snapshots: Snapshots
    strategies: AccessStrategies
    invitations: Invitations
    catalogue: Catalogue
    events: EventHistory
    traces: SipTraces
    diagnoses: Diagnoses
    taps: Taps
    health: Health
    metrics: CollectorRegistry
    sip: SipServer
    clock: Callable[[], datetime]
    rtmp: MediaServer | None = None
    rtsp: MediaServer | None = None
    public_url: str = ""
    """Beginning of play addresses; empty: as the client addressed us."""
