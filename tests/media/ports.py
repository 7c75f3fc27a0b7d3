"""Ports of foreign servers, which do not tell when they listen."""

import asyncio
from pathlib import Path
from typing import Final

LISTEN: Final = "0A"
UNCONNECTED: Final = "07"
"""States of such sockets of TCP and UDP, as the kernel writes them."""


def listens(port: int, protocol: str = "tcp", state: str = LISTEN) -> bool:
    """Whether anybody here listens on it, over IPv4."""
    lines = Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]
    sockets = (line.split() for line in lines)
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == state for fields in sockets)


async def listening(port: int, *, within: float = 20.0) -> None:
    """Waits, `within` seconds, without connecting: some take one connection and no other."""
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(listens, port):  # noqa: ASYNC110  (the other side is another process)
            await asyncio.sleep(0.02)


async def receiving(port: int, *, within: float = 20.0) -> None:
    """Waits, `within` seconds, until datagrams to the port are taken."""
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(listens, port, "udp", UNCONNECTED):  # noqa: ASYNC110  (another process)
            await asyncio.sleep(0.02)
