"""All sockets of one endpoint behind one `send(flow, data)`."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from sip.flow import Address, Flow
from sip.tcp import OnClosed, OnMessage, TcpConnections, TcpLimits
from sip.udp import OnDatagram, UdpSocket

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT: Final = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Listen:
    """A transport ("UDP" or "TCP"), a numeric host (0.0.0.0 or :: for all addresses) and a port (0 for any free
    one)."""

    transport: str
    host: str
    port: int


class Transports:
    """Owns the sockets. Where a datagram could not be sent, or a connection is gone, `on_closed(flow, reason)` is
    called."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_datagram: OnDatagram,
        on_message: OnMessage,
        on_drained: Callable[[], None],
        on_closed: OnClosed,
        limits: TcpLimits,
    ) -> None:
        self._loop = loop
        self._on_datagram = on_datagram
        self._on_drained = on_drained
        self._on_closed = on_closed
        self._udp: dict[Address, UdpSocket] = {}
        self.tcp = TcpConnections(loop, on_message, on_drained, on_closed, limits)
        self.addresses: list[tuple[str, Address]] = []

    async def listen(self, listen: Listen) -> Address:
        """Opens a socket; returns its address with the real port. Raises OSError, and ValueError for a host name."""
        ipaddress.ip_address(listen.host)
        if listen.transport == "UDP":
            udp = UdpSocket.bind(listen.host, listen.port, self._loop, self._on_datagram, self._on_drained)
            self._udp[udp.local] = udp
            address = udp.local
        elif listen.transport == "TCP":
            address = await self.tcp.listen(listen.host, listen.port)
        else:
            raise ValueError(f"transport {listen.transport!r}")
        self.addresses.append((listen.transport, address))
        return address

    async def flow_to(self, transport: str, remote: Address) -> Flow:
        """A way to a numeric address: a UDP socket of the same family, or a new TCP connection.

        Raises OSError if there is none, ValueError for a host name: names are not resolved here.
        """
        ipaddress.ip_address(remote.host.partition("%")[0])
        if transport == "TCP":
            return await self.tcp.connect(remote, CONNECT_TIMEOUT)
        v6 = ":" in remote.host
        for udp in self._udp.values():
            if (":" in udp.local.host) == v6:
                local = Address(_source_towards(remote), udp.local.port) if udp.wildcard else udp.local
                return Flow("UDP", local, remote)
        raise OSError(f"no UDP socket of the family of {remote}")

    def send(self, flow: Flow, data: bytes) -> None:
        """Sends; a failure is told through `on_closed`, on the next turn of the loop."""
        if flow.transport == "TCP":
            if not self.tcp.send(flow, data):
                self._loop.call_soon(self._on_closed, flow, "no such connection")
            return
        try:
            self._udp_socket(flow.local).send(flow, data)
        except OSError as error:
            # counted as `unsent`; not worth a line each, for strangers choose where our answers go
            logger.debug("datagram not sent", extra={"flow": str(flow), "error": str(error)})
            self._loop.call_soon(self._on_closed, flow, str(error))

    def close_flow(self, flow: Flow) -> None:
        """Closes a TCP connection; nothing for UDP."""
        self.tcp.close_flow(flow)

    async def close(self) -> None:
        """Closes everything."""
        for udp in set(self._udp.values()):
            udp.close()
        self._udp.clear()
        await self.tcp.close()

    def counters(self) -> dict[str, int]:
        """Counters of all sockets, by `udp.` and `tcp.` names."""
        total: dict[str, int] = {f"tcp.{name}": value for name, value in asdict(self.tcp.counters).items()}
        total["tcp.connections"] = len(self.tcp)
        for udp in set(self._udp.values()):
            for name, value in asdict(udp.counters).items():
                total[f"udp.{name}"] = total.get(f"udp.{name}", 0) + value
            total["udp.dropped"] = total.get("udp.dropped", 0) + udp.dropped()
        return total

    def _udp_socket(self, local: Address) -> UdpSocket:
        """The socket of a flow; of a wildcard socket each local address is remembered at its first use."""
        udp = self._udp.get(local)
        if udp is not None:
            return udp
        v6 = ":" in local.host
        for each in list(self._udp.values()):
            if each.wildcard and each.local.port == local.port and (":" in each.local.host) == v6:
                self._udp[local] = each
                return each
        raise OSError(f"no UDP socket at {local}")


def _source_towards(remote: Address) -> str:
    """The local address that the kernel would send from; nothing is sent."""
    family = socket.AF_INET6 if ":" in remote.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((remote.host, remote.port or 5060))
        host: str = probe.getsockname()[0]
        return host
