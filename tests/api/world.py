"""A gateway without cameras: real services over a real database, with doors to the parts that speak SIP and media."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from prometheus_client import CollectorRegistry

from api.services import Gateway, MediaServer, SipServer
from gateway.access.errors import StrategyActiveError
from gateway.access.rules import Settled
from gateway.access.service import AccessStrategies
from gateway.access.slices import AccessSlice
from gateway.accounts.groups import Groups
from gateway.accounts.keys import AccessKeys
from gateway.accounts.passwords import Passwords
from gateway.accounts.projects import Projects
from gateway.accounts.quotas import Quotas
from gateway.accounts.service import Accounts, FirstStart
from gateway.accounts.users import Users
from gateway.audit.service import Audit
from gateway.credentials.push_keys import PushKeys
from gateway.credentials.service import Credentials
from gateway.devices.errors import NotInvitableError, NotInvitedError, RefreshingError
from gateway.devices.model import (
    CatalogueEntry,
    CatalogueStatus,
    Channel,
    ChannelId,
    Device,
    DeviceId,
    DeviceState,
    InvitationStatus,
    Registration,
    StateCause,
    StateEvent,
)
from gateway.devices.presence import Patience
from gateway.devices.rosters import Rosters
from gateway.devices.service import Devices
from gateway.diagnosis.facts import Addresses
from gateway.diagnosis.service import Diagnoses
from gateway.diagnosis.taps import Taps
from gateway.errors import GatewayError
from gateway.gb28181.call import Failure, FailureCause, Stage
from gateway.gb28181.call_view import CallView
from gateway.gb28181.directory import Directory
from gateway.gb28181.refusals import Refusals
from gateway.gb28181.trace import SipTraces
from gateway.playback.library import Library
from gateway.playback.recordings import Recordings
from gateway.playback.service import Playbacks
from gateway.pushes.service import Pushes
from gateway.record_plans.service import RecordPlans
from gateway.retention.buckets import ObjectStorage
from gateway.retention.depot import Depot
from gateway.retention.model import RecordingForm, Retained
from gateway.retention.service import Retentions
from gateway.senders.service import Senders
from gateway.settings import DEFAULT_QUOTAS
from gateway.statistics.packet_counter import PacketCounter
from gateway.statistics.service import Statistics
from gateway.store import Store
from gateway.streams.model import StreamRecord
from gateway.streams.option_book import OptionBook
from gateway.streams.options import StreamOptions
from gateway.streams.push import RULES, TokenPolicy
from gateway.streams.service import Streams
from gateway.streams.siblings import Siblings
from gateway.streams.traffic import StreamTraffic
from gateway.streams.webrtc import WebRtcStreams
from media._core import CoreError
from media.snapshots import Snapshots
from sip.endpoint import Endpoint
from tests.gateway.streams.notes import NotingRelay

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
DOMAIN = "3402000000"
S = InvitationStatus


@dataclass
class Live:
    """A stream as the relay would tell it."""

    app: str = ""
    name: str = ""
    receiver: int = 1
    transport: str = "udp"
    first_packet_ms: int | None = 1
    video_codec: str | None = "H264"
    width: int = 704
    height: int = 576
    fps: float = 25.0
    audio_codec: str | None = "PCMA"
    expected: int = 4511
    received: int = 4511
    bytes_in: int = 137_857_335
    bytes_out: int = 16_938_360_832
    rate_in_bps: int = 102_883
    rate_out_bps: int = 0
    rate_video_bps: int = 100_000
    rate_audio_bps: int = 2_883
    viewers: Mapping[str, int] = field(default_factory=lambda: {"http-flv": 1, "hls": 1})

    @property
    def id(self) -> int:
        return self.receiver


SENT = ("transport", "payload", "video", "audio", "ssrc", "over")


@dataclass
class Sent:
    """A sender as the relay would tell it."""

    id: int
    receiver: int
    transport: str
    payload: str
    video: bool
    audio: bool
    ssrc: int
    over: int | None
    app: str = ""
    name: str = ""
    port: int = 30_000
    peer: str | None = None
    state: str = "sending"
    since_ms: int = 1_767_225_600_000
    packets: int = 7
    bytes: int = 9_800
    skips: int = 0
    dropped: int = 0
    heard_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Viewer:
    """A viewer as the relay would tell it."""

    id: int
    protocol: str = "http-flv"
    peer: str | None = "192.0.2.9:40000"
    since_ms: int = 1_772_352_000_000
    bytes_out: int = 1000
    skips: int = 0
    user_agent: str = "VLC"


class Relay(NotingRelay):
    """The relay's answers, to be set by a test; what it is told, it notes."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[tuple[str, str], Live] = {}
        self.steered: list[tuple[int, str, float]] = []
        self.sent: list[Sent] = []
        self.watching: dict[tuple[str, str], list[Viewer]] = {}

    def viewers(self, app: str, name: str) -> list[Viewer]:
        return list(self.watching.get((app, name), ()))

    def kick(self, viewer: int) -> bool:
        for watching in self.watching.values():
            for one in watching:
                if one.id == viewer:
                    watching.remove(one)
                    return True
        return False

    def stream(self, app: str, name: str) -> Live | None:
        return self.live.get((app, name))

    def when_opened(self, told: Any) -> None:
        """Nothing opens here."""

    def set_options(self, receiver: int, **options: Any) -> None:
        """Nothing flows here."""

    def set_viewers_max(self, app: str, name: str, viewers_max: int) -> None:
        """Nothing flows here."""

    def streams(self) -> list[Live]:
        return [replace(live, app=app, name=name) for (app, name), live in self.live.items()]

    def open_sender(self, receiver: int, **settings: Any) -> Any:
        if settings["local_port"] == 9:
            raise CoreError("cannot open port 9")
        sent = Sent(id=len(self.told) + 1, receiver=receiver, **{name: settings[name] for name in SENT})
        (sent.app, sent.name) = next(key for key, live in self.live.items() if live.receiver == receiver)
        sent.peer = f"{settings['host']}:{settings['port']}"
        self.told.append(("send", receiver, settings))
        self.sent.append(sent)
        return sent

    def senders(self) -> list[Any]:
        return list(self.sent)

    def close_sender(self, sender: int) -> None:
        self.sent = [one for one in self.sent if one.id != sender]

    def open_playback(self, app: str, name: str, files: Sequence[tuple[str, int]], **wanted: Any) -> Live:
        self.live[app, name] = Live(transport="playback", receiver=len(self.live) + 100)
        self.open[self.live[app, name].receiver] = (app, name)
        return self.live[app, name]

    def playback_seek(self, receiver: int, position_ms: int) -> None:
        self.steered.append((receiver, "seek", position_ms))

    def playback_speed(self, receiver: int, speed: float) -> None:
        self.steered.append((receiver, "speed", speed))

    def playback_pause(self, receiver: int, paused: bool) -> None:
        self.steered.append((receiver, "pause", paused))

    def sign(self, app: str, name: str, expires: int, generation: int = 0) -> str:
        return f"expires={expires}&sign=s{generation or ''}"


class Calls:
    """Cameras that answer at once; `error` is what happens instead."""

    def __init__(self, store: Store, world: "World") -> None:
        self.error: GatewayError | None = None
        self.views: dict[tuple[str, str], CallView] = {}
        self.held: set[tuple[str, str]] = set()
        self._store, self._world = store, world

    async def strategy_applied(self, channel: Channel, settled: Settled, _today: Sequence[AccessSlice]) -> None:
        (self.held.add if settled.strategy.active else self.held.discard)((channel.device_id, channel.channel_id))

    def _check_held(self, channel: Channel) -> None:
        if (channel.device_id, channel.channel_id) in self.held:
            raise StrategyActiveError("the access strategy decides")

    async def invite(self, channel: Channel, *, quota: int) -> None:
        self._check_held(channel)
        if self.error is not None:
            raise self.error
        if channel.status not in {S.ONLINE, S.TEMPORARY_OFFLINE}:
            raise NotInvitableError(f"the channel is {channel.status}")
        await self._store.channels.set_wanted(channel.device_id, channel.channel_id, True, at=NOW, quota=quota)
        await self._world.set_channel(channel, S.INVITE_SUCCESS, StateCause.MEDIA)

    async def cancel(self, channel: Channel) -> None:
        self._check_held(channel)
        if self.error is not None:
            raise self.error
        if channel.status not in {S.INVITING, S.INVITE_SUCCESS, S.TEMPORARY_OFFLINE}:
            raise NotInvitedError(f"the channel is {channel.status}")
        await self._store.channels.set_wanted(channel.device_id, channel.channel_id, False, at=NOW)
        await self._world.set_channel(channel, S.ONLINE, StateCause.ENDED)

    def failure(self, device_id: DeviceId, channel_id: ChannelId) -> Failure | None:
        return Failure(Stage.INVITE, FailureCause.REFUSED, 486, "Busy Here") if channel_id.endswith("9") else None

    def look(self, device_id: DeviceId, channel_id: ChannelId) -> CallView | None:
        return self.views.get((device_id, channel_id))


class Catalogue:
    """Takes one query a device, and never gets an answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def refresh(self, device: Device) -> None:
        if device.catalogue is CatalogueStatus.QUERYING:
            raise RefreshingError("a query is running")
        await self._store.devices.set_catalogue(device.device_id, CatalogueStatus.QUERYING)


class Recorder:
    """Records what a test says."""

    def __init__(self) -> None:
        self.told: list[Retained] = []
        self.since: dict[tuple[str, str], datetime] = {}

    def changed(self, retained: Retained) -> None:
        self.told.append(retained)

    def running_since(self, app: str, name: str) -> datetime | None:
        return self.since.get((app, name))

    def flows(self, app: str, name: str) -> bool:
        return (app, name) in self.since


class Health:
    """Well, until a test says otherwise."""

    def __init__(self) -> None:
        self.found: dict[str, str | None] = {"database": None, "sip": None}

    async def check(self) -> Mapping[str, str | None]:
        return self.found


class World:
    """The gateway, and what cameras would do to it."""

    def __init__(
        self,
        store: Store,
        *,
        subscription_required: bool = False,
        quotas: Mapping[str, int] = {},
        object_storage: ObjectStorage | None = None,
        buckets: Mapping[str, Collection[str]] = {},
        recording_form: RecordingForm = RecordingForm.AUTO,
        local_root: Path = Path("/dev/null/kept"),
    ) -> None:
        self.application: Any = None
        """What serves it, once it is served."""
        self.store = store
        self.now = NOW
        self.relay = Relay()
        self.recorder = Recorder()
        self.calls = Calls(store, self)
        self.rosters = Rosters(store)
        self.packets = PacketCounter(store, self.relay.streams, lambda: self.now)
        self.health = Health()
        self.refusals = Refusals(lambda: self.now)
        limits = Quotas({**DEFAULT_QUOTAS, **quotas})
        cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self.accounts = Accounts(store, limits, subscription_required=subscription_required, passwords=cheap)
        self.traffic = StreamTraffic(
            store=store,
            relay=self.relay,
            accounts=self.accounts,
            tokens=TokenPolicy(rule=RULES["hmac-sha256"]),
            clock=lambda: self.now,
            allow_private=False,
        )
        defaults = StreamOptions(recording_form=recording_form)
        options = OptionBook(store, self.relay, defaults, stop=self.traffic.sources.stop_unwatched)
        depot = Depot(object_storage, local_root)
        library = Library(depot.at, lambda found: local_root / "spool" / found.file, local_root / "fetched")
        recordings = Recordings(store, self.relay, library, lambda: self.now)
        self.voided: list[str] = []
        self.plan_changes: list[datetime] = []
        self.forgotten: list[tuple[DeviceId, ChannelId]] = []
        """Channels that were deleted."""
        self.gateway = Gateway(
            accounts=self.accounts,
            keys=AccessKeys(store, started_at=NOW),
            users=Users(store, cheap, self.accounts.logins),
            projects=Projects(store, limits),
            groups=Groups(store),
            audit=Audit(store, lambda: self.now, days=365),
            credentials=Credentials(store, limits),
            push_keys=PushKeys(store, limits),
            devices=Devices(store, limits, domain=DOMAIN, channel_deleted=lambda *key: self.forgotten.append(key)),
            statistics=Statistics(store, self.rosters, self.packets),
            streams=Streams(store, self.relay, limits, self.traffic.sources, channel_voided=self._voided),
            senders=Senders(store, self.relay),
            siblings=Siblings(self.relay, store.streams, lambda work, name: work.close()),
            options=options,
            pushes=Pushes(store, self.relay, lambda: self.now, allow_private=False),
            webrtc=WebRtcStreams(
                store=store, relay=self.relay, traffic=self.traffic, webrtc=None, clock=lambda: self.now
            ),
            record_plans=RecordPlans(
                store, depot.place, self.recorder, changed=lambda: self.plan_changes.append(self.now)
            ),
            retentions=Retentions(
                store, depot.place, self.recorder, buckets=buckets, form=options.stored_recording_form
            ),
            recordings=recordings,
            snapshots=Snapshots(lambda _: None),
            playbacks=Playbacks(store, self.relay, recordings, lambda: self.now),
            strategies=AccessStrategies(store, limits, applied=self.calls.strategy_applied),
            invitations=self.calls,
            catalogue=Catalogue(store),
            events=store.events,
            traces=SipTraces(Endpoint([]), lambda _: None, lambda: self.now),
            diagnoses=Diagnoses(
                directory=Directory(Patience()),
                refusals=self.refusals,
                calls=self.calls,
                addresses=lambda _: Addresses(
                    sip="192.0.2.1:5080", server_id=f"{DOMAIN}2000000001", domain=DOMAIN, media_host=""
                ),
                now=lambda: 0.0,
                clock=lambda: self.now,
            ),
            taps=Taps(self.relay),
            health=self.health,
            metrics=CollectorRegistry(),
            sip=SipServer("192.0.2.1", 5080),
            rtmp=MediaServer(1935, tls_port=1936),
            rtsp=MediaServer(8554),
            clock=lambda: self.now,
        )

    @cached_property
    def document(self) -> dict[str, Any]:
        """What the application tells of its calls; it is made anew whenever it is asked for there."""
        document: dict[str, Any] = self.application.openapi_schema.to_schema()
        return document

    async def _voided(self, stream: StreamRecord) -> None:
        self.voided.append(stream.name)

    async def first_start(self) -> FirstStart:
        first = await self.accounts.first_start(NOW, name="admin", password="Secret-1234")
        assert first is not None
        return first

    async def register(self, device_id: str, project_id: str, channels: int = 1) -> None:
        """The device registers and tells its channels."""
        device = DeviceId(device_id)
        registration = Registration(
            device_id=device,
            contact=f"sip:{device}@198.51.100.7:5060",
            transport="UDP",
            remote_host="198.51.100.7",
            remote_port=5060,
            local_host="192.0.2.1",
            local_port=5080,
            call_id="1@198.51.100.7",
            cseq=2,
            registered_at=self.now,
            expires_at=self.now + timedelta(days=1),
            last_seen_at=self.now,
            keepalive_interval=None,
        )
        event = self._event(project_id, device, None, DeviceState.ONLINE.value, StateCause.REGISTER)
        await self.store.devices.save_registration(registration, event)
        entries = [
            CatalogueEntry(node_id=f"{DOMAIN}131{number:07d}", name=f"门{number}", video=True, reported_on=True)
            for number in range(1, channels + 1)
        ]
        await self.store.channels.upsert_catalogue(device, entries, complete=True, at=self.now)

    async def lose(self, device_id: str, project_id: str) -> None:
        """The device falls silent."""
        device = DeviceId(device_id)
        event = self._event(project_id, device, None, DeviceState.OFFLINE.value, StateCause.KEEPALIVE_LOST)
        channels = (await self.store.channels.of_devices([device])).get(device, ())
        events = [
            self._event(project_id, device, channel.channel_id, S.OFFLINE.value, StateCause.DEVICE_OFFLINE)
            for channel in channels
        ]
        await self.store.devices.set_state(event, channels=events)

    async def set_channel(self, channel: Channel, status: InvitationStatus, cause: StateCause) -> None:
        event = self._event(channel.project_id, channel.device_id, channel.channel_id, status.value, cause)
        await self.store.channels.set_status([event])

    def _event(
        self, project_id: str, device_id: DeviceId, channel_id: ChannelId | None, after: str, cause: StateCause
    ) -> StateEvent:
        return StateEvent(
            at=self.now,
            project_id=project_id,
            device_id=device_id,
            channel_id=channel_id,
            before="",
            after=after,
            cause=cause,
            detail="",
        )
