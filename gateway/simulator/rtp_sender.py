"""Sends one device's stream as RTP: UDP, TCP where the device connects, TCP where it listens (RFC 4571).

`RtpStream` is pure: access units in, packets out. `RtpSender` owns the socket, the pace and the task's life.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from gateway.simulator.link import Impairment, Link, LinkCounts
from gateway.simulator.model import CLOCK_HZ, AccessUnit, Source
from gateway.simulator.ps_writer import PsFault, PsWriter

PAYLOAD_MAX: Final = 1_400
BURST: Final = 32
"""Packets sent without a pause: key frames are spread, as the standard asks of senders."""
BURST_PAUSE: Final = 0.002
LATENESS_MAX: Final = 1.0
"""Seconds behind schedule after which the schedule is moved instead of catching up."""


class MediaTransport(Enum):
    """How the stream travels, from the device's view."""

    UDP = "udp"
    TCP_ACTIVE = "tcp_active"  # the device connects
    TCP_PASSIVE = "tcp_passive"  # the device listens


class MarkerUse(Enum):
    """Where the RTP marker bit stands: devices disagree."""

    LAST = "last"
    NEVER = "never"
    ALWAYS = "always"


@dataclass(frozen=True)
class StreamFaults:
    """What is wrong with a stream; by default nothing.

    `ssrc` replaces the one agreed on (0 as Dahua does). `jump_after_s`: from then on all time stamps are `jump_s`
    later (negative: earlier). `silent_after_s`: nothing is sent any more, the connection stays. `dollar`: the framing
    of RTSP on TCP.
    """

    ps: frozenset[PsFault] = frozenset()
    marker: MarkerUse = MarkerUse.LAST
    ssrc: int | None = None
    payload_type: int = 96
    jump_after_s: float | None = None
    jump_s: float = 3600.0
    silent_after_s: float | None = None
    dollar: bool = False
    impairment: Impairment = field(default_factory=Impairment)


class RtpStream:
    """Turns access units into RTP packets (RFC 3550 §5.1; one time stamp for all packets of a unit). Pure."""

    def __init__(self, writer: PsWriter, ssrc: int, faults: StreamFaults, *, first_sequence_number: int = 0) -> None:
        self.packets = 0
        self._writer = writer
        self._ssrc = ssrc if faults.ssrc is None else faults.ssrc
        self._faults = faults
        self._sequence_number = first_sequence_number
        self._jump_at = None if faults.jump_after_s is None else faults.jump_after_s * CLOCK_HZ

    def packetise(self, unit: AccessUnit) -> list[bytes]:
        """All packets of `unit`."""
        if self._jump_at is not None and unit.dts >= self._jump_at:
            unit = unit.at(int(self._faults.jump_s * CLOCK_HZ))
        pack = self._writer.write(unit)
        starts = range(0, len(pack), PAYLOAD_MAX)
        marker = {MarkerUse.LAST: starts[-1], MarkerUse.NEVER: -1, MarkerUse.ALWAYS: None}[self._faults.marker]
        packets = []
        for start in starts:
            marked = marker is None or start == marker
            kind = self._faults.payload_type | (0x80 if marked else 0)
            head = struct.pack(">BBHII", 0x80, kind, self._sequence_number, unit.pts & 0xFFFFFFFF, self._ssrc)
            packets.append(head + pack[start : start + PAYLOAD_MAX])
            self._sequence_number = (self._sequence_number + 1) & 0xFFFF
        self.packets += len(packets)
        return packets


def frame(packet: bytes, *, dollar: bool = False) -> bytes:
    """The packet as it stands on a TCP connection (RFC 4571 §2, or RFC 2326 §10.12)."""
    size = len(packet).to_bytes(2, "big")
    return (b"$\x00" if dollar else b"") + size + packet


class Wire(Protocol):
    """Where packets go."""

    async def send(self, packets: list[bytes]) -> None: ...


class UdpWire:
    """A UDP socket of its own, bound to `port` (0: any) and sending to one address."""

    def __init__(self, local: tuple[str, int], remote: tuple[str, int]) -> None:
        family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._socket.bind(local)
        self._remote = remote
        self.unsent = 0
        """Packets that the system refused (buffer full, nobody there): they never reached the wire."""

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    async def send(self, packets: list[bytes]) -> None:
        for number, packet in enumerate(packets):
            if number and number % BURST == 0:
                await asyncio.sleep(BURST_PAUSE)
            try:
                self._socket.sendto(packet, self._remote)
            except BlockingIOError:
                await asyncio.sleep(BURST_PAUSE)
                self._retry(packet)
            except OSError:
                self.unsent += 1

    def _retry(self, packet: bytes) -> None:
        try:
            self._socket.sendto(packet, self._remote)
        except OSError:
            self.unsent += 1

    def close(self) -> None:
        self._socket.close()


class TcpWire:
    """A connection with a length before each packet."""

    def __init__(self, writer: asyncio.StreamWriter, *, dollar: bool) -> None:
        self._writer = writer
        self._dollar = dollar

    async def send(self, packets: list[bytes]) -> None:
        """Raises ConnectionError when the other side is gone."""
        self._writer.writelines(frame(packet, dollar=self._dollar) for packet in packets)
        await self._writer.drain()


class Listener:
    """A TCP port that takes one connection: the platform calls the device (RFC 4145, `a=setup:passive`)."""

    def __init__(self, server: asyncio.Server, accepted: "asyncio.Future[asyncio.StreamWriter]") -> None:
        self._server = server
        self._accepted = accepted

    @classmethod
    async def open(cls, host: str, port: int = 0) -> "Listener":
        accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

        def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if accepted.done():
                writer.close()
            else:
                accepted.set_result(writer)

        return cls(await asyncio.start_server(take, host, port), accepted)

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def accept(self, timeout: float) -> asyncio.StreamWriter:  # noqa: ASYNC109  (the wait is the meaning)
        """The connection; TimeoutError if nobody comes."""
        async with asyncio.timeout(timeout):
            return await asyncio.shield(self._accepted)

    def close(self) -> None:
        self._server.close()
        if self._accepted.done() and not self._accepted.cancelled():
            self._accepted.result().close()
        else:
            self._accepted.cancel()


@asynccontextmanager
async def tcp_connection(host: str, port: int) -> AsyncIterator[asyncio.StreamWriter]:
    """A connection that the device opens; closed on leaving. Raises OSError or TimeoutError after 10 s."""
    async with asyncio.timeout(10):
        _, writer = await asyncio.open_connection(host, port)
    try:
        yield writer
    finally:
        writer.close()


class RtpSender:
    """Sends a source over a wire at its own pace until cancelled."""

    def __init__(self, source: Source, stream: RtpStream, faults: StreamFaults) -> None:
        self._source = source
        self._stream = stream
        self._faults = faults
        self._link = Link(faults.impairment)
        self.moved = 0
        """How often the schedule was given up because the machine was too slow."""

    @property
    def counts(self) -> LinkCounts:
        """What was offered to the link, lost there and sent."""
        return self._link.counts

    async def run(self, wire: Wire, *, seconds: float | None = None) -> None:
        """Sends `seconds` of media (None: for ever), then what the link still holds.

        Raises ConnectionError when a TCP connection breaks.
        """
        loop = asyncio.get_running_loop()
        start = loop.time()
        while True:
            unit = await self._source.next_unit()
            at = unit.dts / CLOCK_HZ
            if seconds is not None and at >= seconds:
                break
            wait = start + at - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            elif wait < -LATENESS_MAX:
                start -= wait
                self.moved += 1
            if self._faults.silent_after_s is not None and at >= self._faults.silent_after_s:
                await asyncio.Event().wait()  # until cancelled: the device hangs, its socket does not
            await wire.send(self._link.pass_on(self._stream.packetise(unit)))
        await self.flush(wire)

    async def flush(self, wire: Wire) -> None:
        """Sends what the link holds back: after `run` was cancelled, so that the counts are true."""
        await wire.send(self._link.flush())
