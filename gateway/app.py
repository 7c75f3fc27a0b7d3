"""The composition root: builds every part, wires them, and takes them down in reverse.

Nothing but this, `app_streams` and `app_recordings` constructs services. `App.open` yields a gateway that listens for
devices; the HTTP side is put on top of it by `gateway.commands.serve`, the one place above the API.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from gateway.access.day_plans import DayPlans
from gateway.access.runner import AccessRunner
from gateway.access.service import AccessStrategies
from gateway.accounts.groups import Groups
from gateway.accounts.keys import AccessKeys
from gateway.accounts.passwords import Passwords
from gateway.accounts.projects import Projects
from gateway.accounts.quotas import Quotas
from gateway.accounts.service import Accounts, FirstStart
from gateway.accounts.users import Users
from gateway.app_recordings import build_plan_keeper, build_playbacks, build_retention_works
from gateway.app_streams import build_options, build_relay, build_streams, build_traffic, open_webrtc
from gateway.audit.service import Audit
from gateway.background import Background
from gateway.certificates import Certificates
from gateway.clock import utc_now
from gateway.credentials.push_keys import PushKeys
from gateway.credentials.service import Credentials
from gateway.devices.model import DeviceId
from gateway.devices.presence import Patience
from gateway.devices.rosters import Rosters
from gateway.devices.service import Devices
from gateway.diagnosis.facts import Addresses
from gateway.diagnosis.service import Diagnoses
from gateway.diagnosis.taps import Taps
from gateway.errors import UnavailableError
from gateway.gb28181.active_call import Surroundings
from gateway.gb28181.addresses import Advertised, advertise, is_near, read_rules
from gateway.gb28181.call import Limits
from gateway.gb28181.catalogue import Waits
from gateway.gb28181.invitation_service import Invitations
from gateway.gb28181.offer import TransportPolicy
from gateway.gb28181.registrar import RegistrarPolicy
from gateway.gb28181.server import DevicePolicy, DeviceServer
from gateway.gb28181.ssrc import SsrcAllocator
from gateway.gb28181.trace import SipTraces
from gateway.media_ports import open_media_ports
from gateway.metrics import Gathered, Named
from gateway.playback.service import Playbacks
from gateway.pushes.service import Pushes
from gateway.record_plans.keeper import PlanKeeper
from gateway.record_plans.service import RecordPlans
from gateway.retention.service import Retentions
from gateway.retention.works import RetentionWorks
from gateway.senders.service import Senders
from gateway.settings import Settings
from gateway.statistics.packet_counter import PacketCounter
from gateway.statistics.pruning import HistoryPruner
from gateway.statistics.service import Statistics
from gateway.store import Store
from gateway.store.secrets import SecretBox
from gateway.streams.codings import Codings
from gateway.streams.option_book import OptionBook
from gateway.streams.service import Streams
from gateway.streams.siblings import Siblings
from gateway.streams.traffic import StreamTraffic
from gateway.streams.webrtc import WebRtcStreams
from media.relay import Event, Relay
from media.snapshots import Snapshots
from sip.endpoint import Endpoint
from sip.flow import Address, Flow
from sip.transport import Listen

log = structlog.get_logger(__name__)

WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 RUF100 - compared with, not bound to


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A running gateway: what the API, the commands and tests get to work with."""

    settings: Settings
    first_start: FirstStart | None
    store: Store
    relay: Relay
    endpoint: Endpoint
    server: DeviceServer
    invitations: Invitations
    traces: SipTraces
    diagnoses: Diagnoses
    taps: Taps
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
    traffic: StreamTraffic
    webrtc: WebRtcStreams
    siblings: Siblings
    retentions: Retentions
    record_plans: RecordPlans
    playbacks: Playbacks
    snapshots: Snapshots
    strategies: AccessStrategies
    retention_works: RetentionWorks
    runner: AccessRunner
    metrics: CollectorRegistry
    certificates: Certificates
    background: Background

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, *, calendar: Callable[[], datetime] = utc_now) -> AsyncIterator["App"]:
        """Starts everything but HTTP. `calendar` is what access strategies go by.

        GatewayError or OSError if something cannot be had (database, port).
        """
        settings.data_dir.mkdir(0o700, parents=True, exist_ok=True)
        secrets = SecretBox.load(settings.key_file)
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(Store.open(settings.database_url, secrets=secrets))
            relay = await stack.enter_async_context(build_relay(settings, secrets))
            endpoint = _endpoint(settings)
            server = DeviceServer(store=store, endpoint=endpoint, policy=_device_policy(settings), clock=utc_now)
            packets = PacketCounter(store, relay.streams, utc_now, interval=settings.statistics.interval)
            invitations = _invitations(settings, store, relay, server, packets)
            await invitations.load()
            server.notices.listen(invitations.handle_notice)
            codings = Codings(store, utc_now)
            quotas, passwords = Quotas(settings.accounts.quotas), Passwords()
            accounts = _accounts(settings, store, quotas, passwords)
            traffic = await stack.enter_async_context(build_traffic(settings, store, relay, accounts))
            options = await build_options(settings, store, relay, traffic)
            webrtc = await stack.enter_async_context(open_webrtc(settings, store, relay, traffic, options))
            works = build_retention_works(settings, store, relay, options.recording_form)
            snapshots = await stack.enter_async_context(Snapshots(relay.key_frame))
            playbacks = build_playbacks(settings, store, relay, works)
            certificates = Certificates(settings.tls, utc_now)
            senders = Senders(store, relay, allow_private=settings.send.allow_private)
            pushes = Pushes(store, relay, utc_now, allow_private=settings.send.allow_private)
            background = await stack.enter_async_context(Background())
            siblings = await stack.enter_async_context(Siblings(relay, (store.streams, playbacks), background.spawn))
            hearers = (invitations, codings, works.recorder, traffic, options, certificates, senders, pushes, playbacks)
            _listen(settings, relay, *(hearer.handle_media for hearer in (*hearers, siblings)))
            stack.push_async_callback(packets.close)
            await stack.enter_async_context(server.open(settings.sip.port))
            stack.push_async_callback(invitations.close)
            works.start(background.spawn)
            stack.push_async_callback(works.recorder.close)
            runner = AccessRunner(
                store=store,
                calls=invitations,
                quotas=quotas,
                clock=calendar,
                rate=settings.access.starts_per_second,
            )
            keeper = build_plan_keeper(store, works, runner, calendar)
            access = _access(
                settings,
                store,
                runner=runner,
                keeper=keeper,
                invitations=invitations,
                calendar=calendar,
                background=background,
            )
            await stack.enter_async_context(access)
            server.notices.listen(runner.handle_notice)
            audit = Audit(store, utc_now, days=settings.accounts.audit_days)
            for work, name in (
                (invitations.recover(), "recover calls"),
                (codings.run(), "codings of streams"),
                (server.watch(), "watch the device server"),
                (traffic.run(), "streams that are pushed or pulled"),
                (audit.run(), "prune the audit log"),
                (pushes.run(), "streams that are sent on"),
                (options.run(), "options of streams"),
                (certificates.run(), "TLS certificate"),
                (playbacks.run(), "playbacks that nobody uses"),
            ):
                background.spawn(work, name)
            keys = AccessKeys(store, started_at=utc_now())
            await keys.load(utc_now())
            traces = SipTraces(endpoint, lambda device_id: _address_of(server, device_id), utc_now)

            def deleted(device_id: DeviceId) -> None:
                server.liveness.forget(device_id)
                traces.stop(device_id)

            app = cls(
                settings=settings,
                first_start=await _first_start(settings, accounts),
                store=store,
                relay=relay,
                endpoint=endpoint,
                server=server,
                invitations=invitations,
                traces=traces,
                diagnoses=_diagnoses(settings, server, endpoint, invitations),
                taps=Taps(relay),
                accounts=accounts,
                keys=keys,
                users=Users(store, passwords, accounts.logins),
                projects=Projects(store, quotas),
                groups=Groups(store),
                audit=audit,
                credentials=Credentials(store, quotas),
                push_keys=PushKeys(store, quotas),
                devices=Devices(
                    store,
                    quotas,
                    domain=settings.sip.id[:10],
                    deleted=deleted,
                    channel_deleted=server.liveness.forget_channel,
                ),
                statistics=_statistics(settings, store, packets, background),
                streams=build_streams(
                    settings, store, relay, quotas, secrets, traffic=traffic, invitations=invitations
                ),
                senders=senders,
                pushes=pushes,
                options=options,
                traffic=traffic,
                webrtc=webrtc,
                siblings=siblings,
                retentions=Retentions(
                    store,
                    works.depot.place,
                    works.recorder,
                    buckets=settings.retention.obs.buckets,
                    form=options.stored_recording_form,
                ),
                record_plans=RecordPlans(store, works.depot.place, works.recorder, changed=keeper.changed),
                playbacks=playbacks,
                snapshots=snapshots,
                retention_works=works,
                runner=runner,
                strategies=AccessStrategies(store, quotas, applied=runner.apply, look=runner.look),
                metrics=CollectorRegistry(),
                certificates=certificates,
                background=background,
            )
            app._register_metrics()
            yield app

    async def check(self) -> Mapping[str, str | None]:
        """Each part by name, with what is wrong with it; None if nothing is."""
        try:
            async with asyncio.timeout(2.0):
                await self.store.ping()
            database = None
        except (UnavailableError, TimeoutError) as error:
            database = str(error) or "no answer"
        return {"database": database}

    def _held_up(self) -> Mapping[str, float]:
        return {"backoff": self.accounts.logins.limits.refused, "busy": self.accounts.logins.busy}

    @property
    def sip_address(self) -> Address:
        """Where devices should register, as far as this machine knows."""
        port = next(address.port for _, address in self.endpoint.addresses)
        return Address(own_host(self.settings), port)

    def _register_metrics(self) -> None:
        server, invitations = self.server, self.invitations
        for collector in (
            ProcessCollector(registry=None),
            Named(self.relay.metrics),
            Named(self.certificates.figures),
            Gathered("gateway_devices", "Devices by state", "state", server.directory.counts),
            Gathered("gateway_channels", "Channels by invitation status", "status", lambda: invitations.counts),
            Gathered(
                "gateway_calls_failed", "Failed calls by cause", "cause", lambda: invitations.failures, counter=True
            ),
            Gathered("gateway_access_slices", "Slices of access strategies", "state", lambda: self.runner.counts),
            Gathered("gateway_access", "What the access runner did", "name", lambda: self.runner.figures, counter=True),
            Gathered("gateway_record_plans", "Channels by record plans", "name", lambda: self.runner.standing),
            *self.traffic.collectors(),
            Gathered("gateway_stream_pushes", "Pushes to other servers", "name", lambda: self.pushes.counts),
            Gathered("gateway_senders", "What became of senders of RTP", "name", self.senders.figures, counter=True),
            *self.webrtc.collectors(),
            *self.siblings.collectors(),
            Gathered("gateway_sip", "What the SIP endpoint counts", "name", lambda: self.endpoint.counters),
            Gathered(
                "gateway_registrar", "What came of REGISTERs", "name", lambda: _figures(server.registrations.counters)
            ),
            Gathered("gateway_messages", "What came of MESSAGEs", "name", lambda: _figures(server.messages.counters)),
            Named(self.retention_works.figures),
            Gathered(
                "gateway_retention",
                "What was recorded, stored and deleted",
                "name",
                self.retention_works.counts,
                counter=True,
            ),
            Gathered("gateway_logins_held_up", "Log-ins that had to wait", "name", self._held_up, counter=True),
            Gathered("gateway_store", "What the store's writer counts", "name", lambda: _figures(self.store.writer)),
        ):
            self.metrics.register(collector)


def _figures(counters: object) -> dict[str, float]:
    """The numbers of a dataclass of counters."""
    names = getattr(counters, "__dataclass_fields__", {})
    return {name: float(getattr(counters, name)) for name in names}


async def _first_start(settings: Settings, accounts: Accounts) -> FirstStart | None:
    password = settings.admin.password.get_secret_value() if settings.admin.password else None
    return await accounts.first_start(utc_now(), name=settings.admin.name, password=password)


def _listen(settings: Settings, relay: Relay, *hearers: Callable[[Event], None]) -> None:
    """Opens the relay's ports; its events go to all that hear them. GatewayError if one cannot be opened."""

    def handle_media(event: Event) -> None:
        for hear in hearers:
            hear(event)

    relay.listen(handle_media)
    open_media_ports(settings, relay)


def _accounts(settings: Settings, store: Store, quotas: Quotas, passwords: Passwords) -> Accounts:
    return Accounts(
        store,
        quotas,
        token_life=timedelta(seconds=settings.accounts.token_life),
        subscription_required=settings.accounts.subscription_required,
        passwords=passwords,
    )


def _endpoint(settings: Settings) -> Endpoint:
    sip = settings.sip
    rules = read_rules(sip.advertise.items())
    listen = [Listen(transport, sip.host, sip.port) for transport in ("UDP", "TCP")]

    def address(flow: Flow) -> Address:
        host, port = advertise(rules, flow.remote.host, (flow.local.host, sip.port))
        return Address(host, port)

    return Endpoint(listen, user_agent=sip.user_agent, advertise=address)


def _device_policy(settings: Settings) -> DevicePolicy:
    sip, timers = settings.sip, settings.sip.timers
    return DevicePolicy(
        registrar=RegistrarPolicy(
            realm=sip.domain, server_id=sip.id, expires_min=timers.expires_min, expires_max=timers.expires_max
        ),
        patience=Patience(timers.keepalive_interval, timers.keepalive_count, timers.keepalive_grace),
        catalogue=Waits(first=timers.catalogue, gap=timers.catalogue_gap, tries=timers.query_tries),
        request_wait=timers.request,
        query_wait=timers.query,
        query_tries=timers.query_tries,
        subscribe_catalogue=sip.subscribe_catalogue,
    )


def _invitations(
    settings: Settings, store: Store, relay: Relay, server: DeviceServer, packets: PacketCounter
) -> Invitations:
    sip, rtp = settings.sip, settings.rtp
    rules = read_rules(rtp.advertise.items())

    def world(service: Invitations) -> Surroundings:
        return Surroundings(
            endpoint=server.endpoint,
            relay=relay,
            ssrcs=SsrcAllocator(sip.id),
            server_id=sip.id,
            domain=sip.domain,
            limits=Limits(answer=sip.timers.invite, media=sip.timers.media, bye=sip.timers.bye),
            shared_port=rtp.shared_port != 0,
            media_address=lambda flow: _media_address(rules, flow),
            trusted=is_near,
            spawn=service.spawn,
        )

    return Invitations(
        store=store,
        directory=server.directory,
        states=server.states,
        world=world,
        policy=TransportPolicy(rtp.prefer, rtp.tcp_order),
        clock=utc_now,
        count=packets,
        snapshot=relay.stream,
    )


@asynccontextmanager
async def _access(
    settings: Settings,
    store: Store,
    *,
    runner: AccessRunner,
    keeper: PlanKeeper,
    invitations: Invitations,
    calendar: Callable[[], datetime],
    background: Background,
) -> AsyncIterator[None]:
    """Channels are called and let go of by strategies and record plans."""
    plans = DayPlans(
        store, calendar, planned=runner.reload, released=runner.release, kept_days=settings.access.kept_days
    )
    invitations.watch(runner.handle_event)
    await keeper.look()
    await runner.start()
    background.spawn(runner.run(), "access strategies")
    background.spawn(keeper.run(), "record plans")
    background.spawn(plans.run(), "plans of days")
    try:
        yield
    finally:
        await runner.close()


def _statistics(settings: Settings, store: Store, packets: PacketCounter, background: Background) -> Statistics:
    rosters = Rosters(store)
    pruner = HistoryPruner(
        store,
        utc_now,
        days=settings.statistics.history_days,
        stream_days=settings.statistics.stream_history_days,
    )
    background.spawn(rosters.run(), "rosters of devices")
    background.spawn(packets.run(), "packet sums")
    background.spawn(pruner.run(), "prune the history")
    return Statistics(store, rosters, packets)


def _diagnoses(settings: Settings, server: DeviceServer, endpoint: Endpoint, invitations: Invitations) -> Diagnoses:
    sip = settings.sip
    sip_rules, media_rules = read_rules(sip.advertise.items()), read_rules(settings.rtp.advertise.items())

    def addresses(flow: Flow | None) -> Addresses:
        if flow is None:
            host, port = own_host(settings), next(address.port for _, address in endpoint.addresses)
            return Addresses(sip=str(Address(host, port)), server_id=sip.id, domain=sip.domain, media_host="")
        there = Address(*advertise(sip_rules, flow.remote.host, flow.local))
        media = _media_address(media_rules, flow)
        return Addresses(sip=str(there), server_id=sip.id, domain=sip.domain, media_host=media)

    return Diagnoses(
        directory=server.directory,
        refusals=server.refusals,
        calls=invitations,
        addresses=addresses,
        now=asyncio.get_running_loop().time,
        clock=utc_now,
    )


def _media_address(rules: tuple[Advertised, ...], flow: Flow) -> str:
    """Where the peer of a flow reaches our media ports: as its network is told, else where its signalling came to."""
    return advertise(rules, flow.remote.host, (flow.local.host, 0))[0]


def _address_of(server: DeviceServer, device_id: DeviceId) -> Address | None:
    """None if several devices are there: a proxy's messages are not all this one's."""
    device = server.directory.get(device_id)
    if device is None or device.flow is None or len(server.directory.at(device.flow)) > 1:
        return None
    return device.flow.remote


def own_host(settings: Settings) -> str:
    """What to tell people: the configured host, or the address that the default route would use."""
    if settings.sip.host not in WILDCARDS:
        return settings.sip.host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: only asks for the route
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
