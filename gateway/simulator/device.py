"""One simulated device: registers, keeps alive, answers queries, takes calls."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random

from gateway.gb28181.manscdp import Document
from gateway.gb28181.manscdp import parse as parse_manscdp
from gateway.gb28181.markup import ManscdpError
from gateway.simulator.answers import Answers
from gateway.simulator.config import DeviceSpec, FleetConfig
from gateway.simulator.events import EventKind, FleetEvent, FleetFigures, OnEvent, StreamFigures
from gateway.simulator.media_session import MediaSession, SessionPlan, SourceFactory
from gateway.simulator.negotiation import RefusedError
from media.formats.ptz import PtzError, describe_ptz, parse_ptz
from sip import CSeq, Headers, NameAddr, Request, SipError, Uri
from sip.digest import DigestClient
from sip.endpoint import Endpoint
from sip.flow import Flow
from sip.incoming import Incoming
from sip.outgoing import IncomingCall

logger = logging.getLogger(__name__)

MANSCDP = "Application/MANSCDP+xml"
KEEPALIVES_LOST_MAX = 3
RETRY_S = 5.0
"""Seconds until a failed registration is tried again; the standard asks 60, a simulation has less time."""


@dataclass
class Shared:
    """What all devices of a fleet share. `now` tells the time of day."""

    config: FleetConfig
    figures: FleetFigures
    on_event: OnEvent
    source: SourceFactory
    now: Callable[[], datetime]
    random: Random


@dataclass(frozen=True)
class Attachment:
    """Where a device's requests leave: an endpoint, a flow to the server, and the address others should use."""

    endpoint: Endpoint
    flow: Flow
    host: str


@dataclass
class _Registration:
    call_id: str
    number: int = 1
    until: float = 0.0
    is_on: bool = False


class Device:
    """Runs as a task of the fleet; messages and calls for it come by `handle_message` and `handle_call`."""

    def __init__(self, spec: DeviceSpec, shared: Shared, number: int) -> None:
        self.spec = spec
        self._shared = shared
        self._config = shared.config
        self._wrong = shared.config.misbehaviour
        self._number = number
        self._answers = Answers(spec, self._wrong)
        word = f"{shared.random.getrandbits(64):x}"
        self._registration = _Registration(f"{word}@{spec.id}")
        password = spec.password + "-wrong" if self._wrong.wrong_password else spec.password
        self._digest = DigestClient(spec.username or spec.id, password, shared.random.randbytes)
        self._sn = shared.random.randrange(1, 10_000)
        self._calls: dict[str, IncomingCall] = {}
        self._sessions: set[MediaSession] = set()
        self._renew = asyncio.Event()
        self._registered = asyncio.Event()
        self.is_dead = False
        self.attachment: Attachment

    # -- life

    async def run(self) -> None:
        """Registers and keeps alive until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stay_registered())
            tasks.create_task(self._keep_alive())
            if self._wrong.die is not None:
                tasks.create_task(self._die(self._wrong.die))

    async def leave(self) -> None:
        """Ends all calls and unregisters, as far as the server answers; a dead device just goes."""
        if self.is_dead:
            return
        calls = list(self._calls.values())
        await asyncio.gather(*(call.bye("the device leaves", timeout=2.0) for call in calls))
        if self._registration.is_on and not self._wrong.no_unregister:
            try:
                await self._register(0, timeout=2.0)
            except SipError:
                return
            self._tell(EventKind.UNREGISTERED)

    async def _stay_registered(self) -> None:
        """Refreshes half-way to the expiry; after a failure, or when keepalives are not answered, sooner."""
        while not self.is_dead:
            self._renew.clear()
            wait = self._config.expires_s / 2 if await self._try_register() else RETRY_S
            if self._wrong.storm:
                wait = 1 / self._wrong.storm
            try:
                async with asyncio.timeout(wait):
                    await self._renew.wait()
            except TimeoutError:
                continue

    async def _try_register(self) -> bool:
        figures = self._shared.figures
        try:
            status = await self._register(self._config.expires_s)
        except (SipError, OSError) as error:
            status, reason = 0, str(error)
        else:
            reason = str(status)
        if status == 200:
            figures.registrations += 1
            self._tell(EventKind.REGISTERED)
            return True
        figures.register_failures += 1
        self._set_registered(False)
        self._tell(EventKind.REGISTER_FAILED, reason)
        return False

    async def _register(self, expires_s: int, timeout: float = 8.0) -> int:  # noqa: ASYNC109  (a protocol's time-out)
        """One REGISTER with its challenge; the final status (GB/T 28181-2016 §9.1)."""
        registration, server = self._registration, self._config.server
        aor = NameAddr(Uri(self.spec.id, server.realm))
        headers = Headers(
            [
                ("From", aor),
                ("To", aor),
                ("Call-ID", registration.call_id),
                ("CSeq", CSeq(registration.number, "REGISTER")),
                ("Expires", expires_s),
                ("X-GB-ver", self._config.gb_version),
            ]
        )
        registration.number += 2  # one for the challenged request, one for that with credentials
        request = Request("REGISTER", Uri(server.id, server.realm), headers)
        attachment = self.attachment
        response = await attachment.endpoint.request(
            request, flow=attachment.flow, timeout=timeout, digest=self._digest
        )
        if response.status == 200:
            self._set_registered(expires_s > 0)
        return response.status

    def _set_registered(self, is_on: bool) -> None:
        self._shared.figures.registered += is_on - self._registration.is_on
        self._registration.is_on = is_on
        if is_on:
            self._registered.set()

    async def _keep_alive(self) -> None:
        """Every interval; three in a row without 200 mean that the server is gone (GB/T 28181-2016 §9.6)."""
        lost = 0
        interval = self._config.keepalive_s
        await asyncio.sleep(interval * self._shared.random.uniform(0.5, 1.0))
        while not self.is_dead:
            if self._registration.is_on and not self._wrong.no_keepalive:
                lost = 0 if await self._send_keepalive() else lost + 1
                if lost >= KEEPALIVES_LOST_MAX:
                    lost = 0
                    self._set_registered(False)
                    self._renew.set()
            await asyncio.sleep(interval)

    async def _send_keepalive(self) -> bool:
        figures = self._shared.figures
        figures.keepalives += 1
        status = await self._send_message(self._answers.keepalive(self._next_sn()))
        if status == 200:
            return True
        figures.keepalives_lost += 1
        self._tell(EventKind.KEEPALIVE_LOST, str(status) if status else "no answer")
        if status in {403, 404, 481}:  # the server does not know us any more
            self._renew.set()
        return False

    async def _die(self, after_s: float) -> None:
        """The whole device hangs: sockets stay open, nothing is sent nor answered."""
        await self._registered.wait()
        await asyncio.sleep(after_s)
        self.is_dead = True
        for session in self._sessions:
            session.freeze()
        self._tell(EventKind.DIED)

    # -- messages

    async def _send_message(self, body: bytes) -> int:
        """A MESSAGE to the server; the status, 0 if there was no answer."""
        server, attachment = self._config.server, self.attachment
        headers = Headers(
            [
                ("From", NameAddr(Uri(self.spec.id, server.realm))),
                ("To", NameAddr(Uri(server.id, server.realm))),
                ("Content-Type", MANSCDP),
            ]
        )
        request = Request("MESSAGE", Uri(server.id, server.realm), headers, body)
        try:
            return (await attachment.endpoint.request(request, flow=attachment.flow)).status
        except (SipError, OSError):
            return 0

    async def handle_message(self, incoming: Incoming) -> None:
        """Answers 200 at once and the query after it (GB/T 28181-2016 §9.5)."""
        if self.is_dead:
            return
        await asyncio.sleep(self._wrong.slow)
        try:
            document = parse_manscdp(incoming.request.body)
        except ManscdpError as error:
            logger.info("%s: %s", self.spec.id, error)
            incoming.respond(400)
            return
        incoming.respond(200)
        self._control(document)
        self._shared.figures.queries += 1
        for body in self._answers.answer(document, self._shared.now()):
            await self._send_message(body)

    def _control(self, document: Document) -> None:
        """Tells of commands, PTZ in words."""
        if document.command != "DeviceControl":
            return
        self._shared.figures.commands += 1
        digits = document.element.value("PTZCmd")
        if digits is None:
            names = [child.name for child in document.element.children[3:4]]
            self._tell(EventKind.CONTROLLED, " ".join(names), document.device_id)
            return
        try:
            words = describe_ptz(parse_ptz(digits))
        except PtzError as error:
            words = str(error)
        self._tell(EventKind.CONTROLLED, f"PTZ {words}", document.device_id)

    def _next_sn(self) -> int:
        self._sn += 1
        return self._sn

    # -- calls

    async def handle_call(self, call: IncomingCall, channel_id: str) -> None:
        """Takes a call for one of the channels until it is over."""
        if self.is_dead:
            await call.wait_ended()
            return
        figures = self._shared.figures
        figures.invitations += 1
        self._tell(EventKind.INVITED, "", channel_id)
        self._calls[call.call_id] = call
        try:
            await self._serve_call(call, channel_id)
        except (RefusedError, SipError, OSError, TimeoutError) as error:
            figures.refused += isinstance(error, RefusedError)
            kind = EventKind.REFUSED if isinstance(error, RefusedError) else EventKind.STREAM_ENDED
            self._tell(kind, str(error) or type(error).__name__, channel_id)
        finally:
            self._calls.pop(call.call_id, None)

    async def _serve_call(self, call: IncomingCall, channel_id: str) -> None:
        if self._wrong.ring_only:
            call.ringing()
            await call.wait_ended()
            return
        await asyncio.sleep(self._wrong.slow)
        random = self._shared.random
        number = self._number * 1000 + len(self._shared.figures.streams)
        plan = SessionPlan(
            self.spec.id,
            channel_id,
            self.attachment.host,
            self._config.media,
            self._wrong,
            number,
            random.getrandbits(16),
        )
        session = MediaSession(call, plan, self._shared.source)

        def started(stream: StreamFigures) -> None:
            self._shared.figures.streams.append(stream)
            self._shared.figures.streaming += 1
            self._tell(EventKind.STREAMING, f"{stream.transport}, SSRC {stream.ssrc:010}", channel_id)

        self._sessions.add(session)
        try:
            await session.run(started)
        finally:
            self._sessions.discard(session)
            if session.figures is not None:
                self._shared.figures.streaming -= 1
                self._tell(EventKind.STREAM_ENDED, f"{session.figures.link.sent} packets", channel_id)

    def _tell(self, kind: EventKind, detail: str = "", identity: str = "") -> None:
        self._shared.on_event(FleetEvent(kind, identity or self.spec.id, detail))
