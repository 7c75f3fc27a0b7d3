"""Ports of foreign servers, which do not tell when they listen."""

import asyncio
from pathlib import Path
from typing import Final

LISTEN: Final = "0A"
"""The state of such a socket, as the kernel writes it."""


def listens(port: int) -> bool:
    """Whether anybody here listens on it, by TCP over IPv4."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    sockets = (line.split() for line in lines)
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == LISTEN for fields in sockets)


async def listening(port: int, *, within: float = 20.0) -> None:
    """Waits, `within` seconds, without connecting: some take one connection and no other."""
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(listens, port):  # noqa: ASYNC110  (the other side is another process)
            await asyncio.sleep(0.02)
