"""A NAT for one device and its signalling over UDP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class _Side(asyncio.DatagramProtocol):
    """One socket of it; hands on what it hears."""

    def __init__(self) -> None:
        self.transport: asyncio.DatagramTransport
        self.peer: Any = None
        self.other: _Side | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # narrower
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.peer = addr
        if self.other is not None and self.other.peer is not None:
            self.other.transport.sendto(data, self.other.peer)


class Nat:
    """Devices take `port` for the server's; the server sees a port of ours, until we forget it."""

    def __init__(self, inner: _Side, server: tuple[str, int]) -> None:
        self._inner = inner
        self._server = server
        self._outer: _Side | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, host: str, port: int) -> AsyncIterator["Nat"]:
        loop = asyncio.get_running_loop()
        _, inner = await loop.create_datagram_endpoint(_Side, (host, 0))
        nat = cls(inner, (host, port))
        await nat.forget()
        try:
            yield nat
        finally:
            inner.transport.close()
            if nat._outer is not None:
                nat._outer.transport.close()

    @property
    def port(self) -> int:
        port: int = self._inner.transport.get_extra_info("sockname")[1]
        return port

    async def forget(self) -> None:
        """From now on the device is seen at another port; what goes to the old one is lost."""
        before = self._outer
        _, outer = await asyncio.get_running_loop().create_datagram_endpoint(_Side, (self._server[0], 0))
        outer.peer, outer.other = self._server, self._inner
        self._inner.other, self._outer = outer, outer
        if before is not None:
            before.transport.close()
