"""TCP connections, accepted and opened: bounded in number, in memory and in patience.

A peer may hold a connection open and idle for `TcpLimits.idle`, must complete a message that it has begun within the
framer's patience, and must send its first message within the same time. One that does not read what we send is cut off.
"""

import asyncio
import contextlib
import itertools
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, cast

from sip.errors import SipFramingError, SipParseError
from sip.flow import Address, Flow
from sip.framing import PATIENCE, Framer
from sip.message import Message

logger = logging.getLogger(__name__)

BACKLOG: Final = 1024
CLOSE_TIMEOUT: Final = 1.0  # seconds
MAX_CLOSE_TURNS: Final = 10  # turns of the loop: a dropped connection is gone after one or two
SWEEP_INTERVAL: Final = 5.0  # seconds between looks at who is too slow

OnMessage = Callable[[Flow, Message | SipParseError], None]
OnClosed = Callable[[Flow, str], None]


@dataclass(frozen=True, slots=True)
class TcpLimits:
    """Bounds. Reached, `connections` and `per_host` refuse new connections; a campus of cameras may stand behind one
    address. `write_buffer` bytes unread by the peer cut it off; `idle` and `first_message` are seconds."""

    connections: int = 65_536
    per_host: int = 8_192
    write_buffer: int = 1 << 20
    idle: float = 900.0
    first_message: float = PATIENCE


@dataclass(slots=True)
class TcpCounters:
    """What happened; numbers only grow."""

    accepted: int = 0
    connected: int = 0
    refused: int = 0
    received: int = 0
    sent: int = 0
    too_slow: int = 0
    idle: int = 0
    overrun: int = 0
    unframed: int = 0


class TcpConnections:
    """All TCP connections of one endpoint. Calls `on_message` for each message or for why one could not be read,
    `on_drained` after each read, and `on_closed` once for each connection that was open."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_message: OnMessage,
        on_drained: Callable[[], None],
        on_closed: OnClosed,
        limits: TcpLimits,
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.counters = TcpCounters()
        self.on_message = on_message
        self.on_drained = on_drained
        self.on_closed = on_closed
        self.numbers: Iterator[int] = itertools.count(1)
        self._connections: dict[Flow, _Connection] = {}
        self._per_host: Counter[str] = Counter()
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._connections)

    async def listen(self, host: str, port: int) -> Address:
        """Accepts connections at a numeric address; returns where. Raises OSError, for instance if the port is
        taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = await self.loop.create_server(
            lambda: _Connection(self, incoming=True), host, port, family=family, backlog=BACKLOG, reuse_address=True
        )
        self._servers.append(server)
        return Address(*server.sockets[0].getsockname()[:2])

    async def connect(self, remote: Address, timeout: float) -> Flow:  # noqa: ASYNC109 - kept beside the other limits
        """Opens a connection to a numeric address; raises OSError (TimeoutError is one)."""
        async with asyncio.timeout(timeout):
            _, protocol = await self.loop.create_connection(
                lambda: _Connection(self, incoming=False), remote.host, remote.port
            )
        return protocol.flow

    def send(self, flow: Flow, data: bytes) -> bool:
        """Writes to a connection; False if it is gone, or is cut off now because the peer does not read."""
        connection = self._connections.get(flow)
        return connection is not None and connection.send(data)

    def close_flow(self, flow: Flow) -> None:
        """Closes one connection after what was written has been sent."""
        if (connection := self._connections.get(flow)) is not None:
            connection.close("closed by us")

    async def close(self) -> None:
        """Stops accepting, drops all connections, and waits until they are gone."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._connections.values()):
            connection.abort("closed by us")
        for server in self._servers:
            server.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await server.wait_closed()
        self._servers.clear()
        for _ in range(MAX_CLOSE_TURNS):
            if not self._connections:
                return
            await asyncio.sleep(0)

    def admits(self, host: str) -> bool:
        """Whether one more connection from there is within the limits."""
        limits = self.limits
        return len(self._connections) < limits.connections and self._per_host[host] < limits.per_host

    def add(self, connection: "_Connection") -> None:
        """Takes an open connection into the books."""
        self._connections[connection.flow] = connection
        self._per_host[connection.flow.remote.host] += 1
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(SWEEP_INTERVAL, self._sweep)

    def remove(self, connection: "_Connection", reason: str) -> None:
        """Takes a closed connection out of them and tells the endpoint."""
        if self._connections.pop(connection.flow, None) is None:
            return
        host = connection.flow.remote.host
        self._per_host[host] -= 1
        if not self._per_host[host]:
            del self._per_host[host]
        self.on_closed(connection.flow, reason)

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in list(self._connections.values()):
            connection.check(now)
        self._sweeper = self.loop.call_later(SWEEP_INTERVAL, self._sweep) if self._connections else None


class _Connection(asyncio.Protocol):
    """One connection; its framer holds at most one incomplete message."""

    flow: Flow

    def __init__(self, owner: TcpConnections, *, incoming: bool) -> None:
        self._owner = owner
        self._incoming = incoming
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None
        self._heard_at = 0.0
        self._heard = False
        self._reason = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if local is None or remote is None:  # gone before it was accepted
            self._transport.abort()
            return
        self.flow = Flow("TCP", Address(*local[:2]), Address(*remote[:2]), next(self._owner.numbers))
        self._heard_at = self._owner.loop.time()
        if self._incoming and not self._owner.admits(self.flow.remote.host):
            self._owner.counters.refused += 1
            self._transport.abort()
            return
        if self._incoming:
            self._owner.counters.accepted += 1
        else:
            self._owner.counters.connected += 1
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._owner.add(self)

    def data_received(self, data: bytes) -> None:
        owner, framer = self._owner, self._framer
        self._heard_at = owner.loop.time()
        framer.handle_data(self._heard_at, data)
        try:
            while not self._reason and (message := framer.poll_message()) is not None:
                self._heard = True
                owner.counters.received += 1
                owner.on_message(self.flow, message)
        except SipFramingError as error:
            owner.counters.unframed += 1
            self.close(str(error))
        if not self._reason and (pong := framer.poll_output()) is not None:
            self.send(pong)
        owner.on_drained()

    def send(self, data: bytes) -> bool:
        """Writes, unless too much is waiting already: then the peer is cut off."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() + len(data) > self._owner.limits.write_buffer:
            self._owner.counters.overrun += 1
            self.abort("the peer does not read")
            return False
        transport.write(data)
        self._owner.counters.sent += 1
        return True

    def pause_writing(self) -> None:
        """The peer does not take our answers: take no more of its requests meanwhile."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def check(self, now: float) -> None:
        """Closes it if its time is up."""
        limits, counters = self._owner.limits, self._owner.counters
        due = self._framer.next_timeout()
        silent = now - self._heard_at
        if (due is not None and now >= due) or (not self._heard and silent >= limits.first_message):
            counters.too_slow += 1
            self.abort("too slow")
        elif silent >= limits.idle:
            counters.idle += 1
            self.abort("idle")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if hasattr(self, "flow"):
            self._owner.remove(self, self._reason or (str(exc) if exc else "closed by the peer"))
            self._owner.on_drained()

    def close(self, reason: str) -> None:
        """Closes once what was written is sent."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Closes at once."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()
