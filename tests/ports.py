"""Ports for servers that must be told theirs before they start."""

import secrets
import socket
from typing import Final

FIRST: Final = 10_000
COUNT: Final = 10_000
"""Below those that the system gives to connections: none of these takes one before the server does."""


def free_ports(count: int) -> list[int]:
    """Even ports that are free for UDP and TCP on loopback right now, with the ports behind them: RTP takes two."""
    held: list[socket.socket] = []
    ports: list[int] = []
    try:
        while len(ports) < count:
            port = FIRST + 2 * secrets.randbelow(COUNT // 2)
            try:
                for number in (port, port + 1):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        held.append(socket.socket(socket.AF_INET, kind))
                        if kind is socket.SOCK_STREAM:  # as servers do: what closed lately is in nobody's way
                            held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        held[-1].bind(("127.0.0.1", number))
            except OSError:
                continue
            ports.append(port)
    finally:
        for one in held:
            one.close()
    return ports


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
