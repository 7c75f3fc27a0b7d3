"""Serves REGISTER: asks the registrar, makes what it accepts durable, and only then answers 200.

All rules are in `registrar`; what becomes of the device afterwards is in `liveness`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from sys import intern
from typing import Any, Final

import structlog

from gateway.devices.model import DeviceState, Provision, Registration, StateCause, StateEvent
from gateway.devices.presence import DevicePresence
from gateway.errors import NotFoundError, UnavailableError
from gateway.gb28181.dates import format_date_header
from gateway.gb28181.directory import Directory, RegisteredDevice
from gateway.gb28181.liveness import Liveness
from gateway.gb28181.notices import DeviceOffline, DeviceOnline, Notices
from gateway.gb28181.refusals import Refusals
from gateway.gb28181.registrar import Accept, Attempt, Challenge, Current, Refuse, Registrar
from gateway.gb28181.state_writer import StateWriter
from gateway.store import DeviceInfo, SecretError, Store
from sip.endpoint import Endpoint
from sip.flow import Flow
from sip.incoming import Incoming
from sip.message import Request

RETRY_AFTER: Final = 5
"""Seconds that a device is asked to wait while the database is away."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RegistrationCounters:
    """What came of REGISTERs; numbers only grow."""

    challenged: int = 0
    refused: int = 0
    registered: int = 0
    refreshed: int = 0
    unregistered: int = 0
    unavailable: int = 0


class RegistrationService:
    """`attach` it to the endpoint before that listens.

    `on_alive(device)` is told of each device that comes online, to be asked for its information and catalogue.
    """

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        registrar: Registrar,
        liveness: Liveness,
        notices: Notices,
        states: StateWriter,
        clock: Callable[[], datetime],
        gb_version: str = "3.0",
        on_alive: Callable[[RegisteredDevice], None] = lambda _device: None,
        refusals: Refusals,
    ) -> None:
        self.counters = RegistrationCounters()
        self._store = store
        self._directory = directory
        self._registrar = registrar
        self._liveness = liveness
        self._notices = notices
        self._states = states
        self._clock = clock
        self._gb_version = gb_version
        self._on_alive = on_alive
        self._refusals = refusals
        self._loop = asyncio.get_running_loop()

    def attach(self, endpoint: Endpoint) -> None:
        """Takes the endpoint's REGISTERs and its closed connections."""
        endpoint.on("REGISTER", self.handle_register)
        endpoint.on_flow_closed(self._liveness.handle_flow_closed)

    def handle_register(self, incoming: Incoming) -> Coroutine[Any, Any, None] | None:
        """Answers what can be answered at once; the rest waits for the store."""
        request = incoming.request
        current = self._current(request.from_.uri.user or "")
        verdict = self._registrar.screen(self._loop.time(), request, incoming.flow, current)
        if isinstance(verdict, Attempt):
            return self._judge(incoming, verdict)
        self._turn_away(incoming, verdict)
        return None

    async def _judge(self, incoming: Incoming, attempt: Attempt) -> None:
        try:
            provision = await self._store.devices.provision(attempt.device_id)
            async with self._states.in_order(attempt.device_id):
                verdict = self._registrar.judge(
                    self._loop.time(),
                    incoming.request,
                    incoming.flow,
                    attempt,
                    provision=provision,
                    current=self._current(attempt.device_id),
                )
                if isinstance(verdict, Accept) and provision is not None:
                    await self._accept(incoming, verdict, provision)
                elif not isinstance(verdict, Accept):
                    self._turn_away(incoming, verdict)
        except NotFoundError:
            self._turn_away(incoming, Refuse(403, "the device was deleted"))
        except SecretError as error:
            log.warning("a device's password cannot be read", device=attempt.device_id, error=str(error))
            self.counters.unavailable += 1
            self._turn_away(incoming, Refuse(503, "the password cannot be read", RETRY_AFTER))
        except UnavailableError as error:
            self.counters.unavailable += 1
            self._turn_away(incoming, Refuse(503, str(error), RETRY_AFTER))

    async def _accept(self, incoming: Incoming, accept: Accept, provision: Provision) -> None:
        device = self._directory.get(accept.device_id) or _new_device(provision, self._directory)
        if accept.expires:
            await self._register(incoming, accept, device)
        else:
            await self._unregister(device)
        self._refusals.forget(accept.device_id)
        device.deviations.add(accept.deviations)
        device.deviations.add(f"sip-{deviation.name.lower()}" for deviation in incoming.request.deviations)
        self._answer_ok(incoming, accept)

    async def _register(self, incoming: Incoming, accept: Accept, device: RegisteredDevice) -> None:
        before, flow = device.presence.state, incoming.flow
        registration = _registration(accept, flow, self._clock(), device.presence.interval)
        event = self._event(device, accept, flow)
        await self._store.devices.save_registration(registration, event)
        device.take(registration)
        if (info := _news(device, incoming.request)) is not None:
            device.user_agent, device.gb_version = info.user_agent, info.gb_version
            self._liveness.note_info(device, info)
        found, _ = self._liveness.handle_registered(device, flow, float(accept.expires))
        if found is not before:  # it fell silent while we wrote: the history gets its return after that
            again = self._liveness.event(device, found, DeviceState.ONLINE, StateCause.REGISTER)
            self._states.put(device.device_id, again)
        self._announce(device, accept, was_online=found is DeviceState.ONLINE)

    def _event(self, device: RegisteredDevice, accept: Accept, flow: Flow) -> StateEvent | None:
        """What goes into the history with the registration: a change of state, or of address."""
        before = device.presence.state
        if before is not DeviceState.ONLINE:
            detail = f"over {flow} for {accept.expires} s"
        elif accept.moved:
            detail = f"moved from {device.host} to {flow}"
        else:
            return None
        return self._liveness.event(device, before, DeviceState.ONLINE, StateCause.REGISTER, detail)

    def _announce(self, device: RegisteredDevice, accept: Accept, *, was_online: bool) -> None:
        self.counters.refreshed += was_online
        self.counters.registered += not was_online
        notice = DeviceOnline(
            device.device_id, StateCause.REGISTER, was_online, moved=accept.moved, restarted=accept.restarted
        )
        self._states.put(device.device_id, None, self._notices.publish(notice))
        if not was_online or accept.restarted:
            log.info("device registered", device_id=device.device_id, flow=str(device.flow), expires=accept.expires)
            self._on_alive(device)

    async def _unregister(self, device: RegisteredDevice) -> None:
        self.counters.unregistered += 1
        if not device.presence.registered:
            return
        before = device.presence.state
        event = self._liveness.event(device, before, DeviceState.OFFLINE, StateCause.UNREGISTER)
        gone = DeviceOffline(device.device_id, StateCause.UNREGISTER)
        channels = self._notices.publish(gone) if before is DeviceState.ONLINE else []
        try:
            await self._store.devices.set_state(event, channels=channels, ends_registration=True)
        except UnavailableError:
            if device.online:  # it gets 503 and is still registered: whoever heard that it is gone must hear this too
                back = DeviceOnline(device.device_id, StateCause.REGISTER, was_online=False)
                self._states.put(device.device_id, None, [*channels, *self._notices.publish(back)])
            raise
        self._liveness.handle_unregistered(device)
        log.info("device unregistered", device_id=device.device_id)

    def _current(self, user: str) -> Current | None:
        device = self._directory.get(user)
        return Current(device.host, device.cseq) if device is not None and device.presence.registered else None

    def _turn_away(self, incoming: Incoming, verdict: Challenge | Refuse) -> None:
        headers: list[tuple[str, object]] = [("X-GB-ver", self._gb_version)]
        if isinstance(verdict, Challenge):
            self.counters.challenged += 1
            incoming.respond(401, headers=[*headers, ("WWW-Authenticate", verdict.auth)])
        else:
            self.counters.refused += 1
            if verdict.retry_after is not None:
                headers.append(("Retry-After", verdict.retry_after))
            incoming.respond(verdict.status, headers=headers)
        self._refusals.note(incoming.request.from_.uri.user or "", incoming.flow, verdict.reason)

    def _answer_ok(self, incoming: Incoming, accept: Accept) -> None:
        """Contact, Expires and Date as devices want them back (GB/T 28181-2016 §9.1.2.1, §9.10.1)."""
        headers: list[tuple[str, object]] = [
            ("Date", format_date_header(self._clock())),
            ("Expires", accept.expires),
            ("X-GB-ver", self._gb_version),
        ]
        contact = incoming.request.headers.contact
        if contact is not None and accept.expires:
            headers.append(("Contact", contact.with_params(expires=str(accept.expires))))
        incoming.respond(200, headers=headers)


def _new_device(provision: Provision, directory: Directory) -> RegisteredDevice:
    """A device not heard of since the start; it is ONLINE in the store only if we ended without saying so."""
    state = DeviceState.UNREGISTERED if provision.state is DeviceState.UNREGISTERED else DeviceState.OFFLINE
    presence = DevicePresence(directory.patience, state)
    device = RegisteredDevice(provision.device_id, provision.project_id, provision.type, presence)
    device.user_agent, device.gb_version = provision.user_agent, provision.gb_version
    return device


def _news(device: RegisteredDevice, request: Request) -> DeviceInfo | None:
    """User-Agent and X-GB-ver, if they are not what is known."""
    agent, version = request.headers.user_agent, request.headers.get("X-GB-ver")
    agent = intern(agent[:255]) if agent else device.user_agent
    version = intern(version.strip()[:16]) if version else device.gb_version
    if (agent, version) == (device.user_agent, device.gb_version):
        return None
    return DeviceInfo(user_agent=agent, gb_version=version)


def _registration(accept: Accept, flow: Flow, wall: datetime, interval: float | None) -> Registration:
    return Registration(
        device_id=accept.device_id,
        contact=accept.contact[:255],
        transport=flow.transport,
        remote_host=flow.remote.host,
        remote_port=flow.remote.port,
        local_host=flow.local.host,
        local_port=flow.local.port,
        call_id=accept.call_id,
        cseq=accept.cseq,
        registered_at=wall,
        expires_at=wall + timedelta(seconds=accept.expires),
        last_seen_at=wall,
        keepalive_interval=interval,
    )
