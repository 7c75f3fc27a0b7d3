"""UDP sockets that drain themselves in batches and answer from the address that they were reached at.

asyncio's datagram protocol makes one `recvfrom` per turn of the loop and forgets which local address a datagram came
to. A camera ignores answers from another address of the same host, so sockets bound to a wildcard ask the kernel for it
(IP_PKTINFO, RFC 3542 §6.1) and send with it.
"""

import asyncio
import contextlib
import logging
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sip.flow import Address, Flow

logger = logging.getLogger(__name__)

BUFFER_SIZE: Final = 65_535  # the largest datagram there is: catalogues come fragmented and far above the MTU
BATCH: Final = 128  # datagrams read in one turn of the loop, so that timers and other sockets get theirs
KERNEL_BUFFER: Final = 8 << 20  # asked for in both directions; the kernel grants what net.core.?mem_max allows

_IP_PKTINFO: Final = 8  # Linux; the socket module of Python 3.11 does not name it
_SO_MEMINFO: Final = 55  # Linux: nine counters of 32 bits, the last of which are drops
_MEMINFO: Final = struct.Struct("@9I")
_MEMINFO_DROPS: Final = 8
_SO_RCVBUFFORCE: Final = 33  # Linux: beyond net.core.rmem_max, for those who may
_V4_INFO: Final = struct.Struct("@i4s4s")  # interface, local address, destination in the header
_V6_INFO: Final = struct.Struct("@16si")  # destination, interface
_WILDCARDS: Final = {"0.0.0.0", "::"}

OnDatagram = Callable[[Flow, bytes], None]


@dataclass(slots=True)
class UdpCounters:
    """What one socket has seen. `unsent` are datagrams that the kernel refused; retransmission makes up for them."""

    received: int = 0
    sent: int = 0
    unsent: int = 0
    receive_errors: int = 0


class UdpSocket:
    """One bound socket. Calls `on_datagram(flow, data)` for each datagram, from the loop's reader callback, and
    `on_drained()` after each batch."""

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_datagram: OnDatagram,
        on_drained: Callable[[], None],
    ) -> None:
        self.local = Address(*sock.getsockname()[:2])
        self.counters = UdpCounters()
        self._sock = sock
        self._loop = loop
        self._on_datagram = on_datagram
        self._on_drained = on_drained
        self._buffer = bytearray(BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._v6 = sock.family is socket.AF_INET6
        self._locals: dict[bytes, Address] = {}
        self.wildcard = self.local.host in _WILDCARDS
        self._asks = self.wildcard and self._ask_for_destination()
        loop.add_reader(sock.fileno(), self._readable)

    @classmethod
    def bind(
        cls,
        host: str,
        port: int,
        loop: asyncio.AbstractEventLoop,
        on_datagram: OnDatagram,
        on_drained: Callable[[], None] = lambda: None,
    ) -> "UdpSocket":
        """Binds a numeric address; raises OSError, for instance if the port is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family is socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _enlarge(sock)
            sock.setblocking(False)
            sock.bind((host, port))
            return cls(sock, loop, on_datagram, on_drained)
        except BaseException:
            sock.close()
            raise

    def send(self, flow: Flow, data: bytes) -> bool:
        """Sends one datagram; False if the kernel has no room (it is lost, as on any network).

        Raises OSError if the peer cannot be reached or the datagram is too large.
        """
        try:
            if self._asks and flow.local.host not in _WILDCARDS:
                self._sock.sendmsg([data], [self._source(flow.local.host)], 0, flow.remote)
            else:
                self._sock.sendto(data, flow.remote)
        except (BlockingIOError, InterruptedError):
            self.counters.unsent += 1
            return False
        except OSError:
            self.counters.unsent += 1
            raise
        self.counters.sent += 1
        return True

    def dropped(self) -> int:
        """Datagrams that the kernel threw away since we opened, its buffer being full; 0 where it does not say."""
        if not sys.platform.startswith("linux") or self._sock.fileno() < 0:
            return 0
        sizes = self._sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(sizes)[_MEMINFO_DROPS]) if len(sizes) == _MEMINFO.size else 0

    def close(self) -> None:
        """Stops reading and frees the port; closing twice does no harm."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _ask_for_destination(self) -> bool:
        if not sys.platform.startswith("linux"):
            return False
        with contextlib.suppress(OSError):
            if self._v6:
                self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                self._sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            return True
        return False

    def _readable(self) -> None:
        self._read_batch()
        self._on_drained()

    def _read_batch(self) -> None:
        for _ in range(BATCH):
            try:
                flow, size = self._receive()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # an ICMP error of an earlier send
                self.counters.receive_errors += 1
                logger.debug("UDP receive failed", extra={"local": str(self.local), "error": str(error)})
                continue
            self.counters.received += 1
            self._on_datagram(flow, bytes(self._view[:size]))
            if self._sock.fileno() < 0:  # closed by what it led to
                return

    def _receive(self) -> tuple[Flow, int]:
        if not self._asks:
            size, source = self._sock.recvfrom_into(self._buffer)
            return Flow("UDP", self.local, Address(source[0], source[1])), size
        size, ancillary, _, source = self._sock.recvmsg_into([self._buffer], 64)
        local = self._destination(ancillary[0][2]) if ancillary else self.local
        return Flow("UDP", local, Address(source[0], source[1])), size

    def _destination(self, info: bytes) -> Address:
        key = info[:16] if self._v6 else info[4:8]
        local = self._locals.get(key)
        if local is None:
            host = socket.inet_ntop(socket.AF_INET6, key) if self._v6 else socket.inet_ntoa(key)
            local = self._locals[key] = Address(host, self.local.port)  # as many as this host has addresses
        return local

    def _source(self, host: str) -> tuple[int, int, bytes]:
        if self._v6:
            info = _V6_INFO.pack(socket.inet_pton(socket.AF_INET6, host.partition("%")[0]), 0)
            return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info
        return socket.IPPROTO_IP, _IP_PKTINFO, _V4_INFO.pack(0, socket.inet_aton(host), bytes(4))


def _enlarge(sock: socket.socket) -> None:
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, KERNEL_BUFFER)
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, KERNEL_BUFFER)
