"""One call of one channel: answers the INVITE, sends the stream, ends it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.simulator.events import StreamFigures
from gateway.simulator.misbehaviour import Misbehaviour
from gateway.simulator.model import Source
from gateway.simulator.negotiation import Agreement, RefusedError, agree
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import (
    Listener,
    MediaTransport,
    RtpSender,
    RtpStream,
    TcpWire,
    UdpWire,
    Wire,
    tcp_connection,
)
from sip import SipParseError
from sip.outgoing import IncomingCall
from sip.sdp import parse as parse_sdp

ACCEPT_TIMEOUT = 10.0
"""Seconds that a listening device waits for the platform to connect."""

SourceFactory = Callable[[str], Awaitable[Source]]


@dataclass(frozen=True)
class SessionPlan:
    """What a session needs to know of its device. `host` is the media address in the answer; `number` sets seeds and
    SSRCs of streams apart."""

    device_id: str
    channel_id: str
    host: str
    allowed: frozenset[MediaTransport]
    misbehaviour: Misbehaviour
    number: int
    sequence_number: int


class MediaSession:
    """Runs one call from INVITE to its end."""

    def __init__(self, call: IncomingCall, plan: SessionPlan, source: SourceFactory) -> None:
        self._call = call
        self._plan = plan
        self._source = source
        self.figures: StreamFigures | None = None
        self._sending: asyncio.Task[None] | None = None
        self._is_frozen = False

    async def run(self, started: Callable[[StreamFigures], None]) -> None:
        """Answers and streams until either side ends the call; `started` is told when media begins.

        Raises RefusedError after refusing the call, CallEndedError if the caller gave up before media flowed, OSError
        or TimeoutError if there is no way for the media (the call is ended then).
        """
        agreement = self._agree()
        try:
            async with self._wire(agreement) as wire:
                if not self._plan.misbehaviour.media_only:
                    await self._call.acknowledged()
                if self._plan.misbehaviour.no_media:
                    await self._call.wait_ended()
                else:
                    await self._stream(agreement, await wire(), started)
        except (OSError, TimeoutError):
            self._call.hang_up("no way for the media")
            raise
        finally:
            if self.figures is not None:
                self.figures.running = False

    def _agree(self) -> Agreement:
        try:
            offer = parse_sdp(self._call.request.body)
            return agree(offer, self._plan.allowed, self._plan.misbehaviour, self._plan.number)
        except SipParseError as error:
            self._call.reject(488)
            raise RefusedError(488, str(error)) from error
        except RefusedError as error:
            self._call.reject(error.status)
            raise

    @asynccontextmanager
    async def _wire(self, agreement: Agreement) -> AsyncIterator[Callable[[], Awaitable[Wire]]]:
        """Opens what must be open before the answer, answers, and gives what makes the wire after the ACK."""
        host, dollar = self._plan.host, self._plan.misbehaviour.dollar
        match agreement.transport:
            case MediaTransport.UDP:
                udp = UdpWire((host, 0), (agreement.host, agreement.port))
                try:
                    self._answer(agreement, udp.port)
                    yield _ready(udp)
                finally:
                    self._count_unsent(udp)
                    udp.close()
            case MediaTransport.TCP_ACTIVE:
                self._answer(agreement, 9)  # the port of a side that connects (RFC 4145 §4.1)
                async with tcp_connection(agreement.host, agreement.port) as writer:
                    yield _ready(TcpWire(writer, dollar=dollar))
            case MediaTransport.TCP_PASSIVE:
                listener = await Listener.open(host)

                async def accepted() -> Wire:
                    return TcpWire(await listener.accept(ACCEPT_TIMEOUT), dollar=dollar)

                try:
                    self._answer(agreement, listener.port)
                    yield accepted
                finally:
                    listener.close()

    def _answer(self, agreement: Agreement, port: int) -> None:
        plan = self._plan
        if plan.misbehaviour.media_only:
            self._call.ringing()
            return
        self._call.accept(bytes(agreement.answer(plan.channel_id, plan.host, port, plan.misbehaviour)))

    def _count_unsent(self, wire: UdpWire) -> None:
        if self.figures is not None:
            self.figures.unsent = wire.unsent

    async def _stream(self, agreement: Agreement, wire: Wire, started: Callable[[StreamFigures], None]) -> None:
        plan = self._plan
        source = await self._source(plan.channel_id)
        faults = plan.misbehaviour.stream_faults(plan.number)
        writer = PsWriter(source.video, source.audio, faults=faults.ps)
        stream = RtpStream(writer, agreement.ssrc, faults, first_sequence_number=plan.sequence_number)
        sender = RtpSender(source, stream, faults)
        ssrc = agreement.ssrc if faults.ssrc is None else faults.ssrc
        transport = agreement.transport.value
        call_id = self._call.call_id
        self.figures = StreamFigures(plan.device_id, plan.channel_id, call_id, transport, ssrc, sender.counts)
        started(self.figures)
        self._sending = asyncio.create_task(sender.run(wire))
        try:
            await self._until_the_end(self._sending)
        finally:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
            await _flush(wire, sender)

    def freeze(self) -> None:
        """Stops sending and leaves everything else as it is: the device hangs."""
        self._is_frozen = True
        if self._sending is not None:
            self._sending.cancel()

    async def _until_the_end(self, sending: asyncio.Task[None]) -> None:
        """Until the call is over, the time for our BYE has come, or sending fails (then the call is ended)."""
        ended = asyncio.create_task(self._call.wait_ended())
        wait_s = self._plan.misbehaviour.bye_after
        waiting: set[asyncio.Task[Any]] = {ended, sending}
        try:
            await asyncio.wait(waiting, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if self._is_frozen:
                await ended
        finally:
            ended.cancel()
        if self._call.ended is None:
            self._call.hang_up("the stream ended")


def _ready(wire: Wire) -> Callable[[], Awaitable[Wire]]:
    async def ready() -> Wire:
        return wire

    return ready


async def _flush(wire: Wire, sender: RtpSender) -> None:
    """Sends what the bad link still holds, so that the figures add up; a broken connection is no matter any more."""
    try:
        await sender.flush(wire)
    except OSError:
        return
