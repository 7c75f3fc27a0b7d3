"""Two endpoints on loopback with quick timers, and what they send each other."""

import asyncio
from collections.abc import Callable

from sip.endpoint import Endpoint
from sip.flow import Flow
from sip.headers import Headers
from sip.message import Request
from sip.timers import Timers
from sip.transport import Listen
from sip.uri import Uri

QUICK = Timers(t1=0.05, t2=0.2, t4=0.1)
SDP = b"v=0\r\n"
Pair = tuple[Endpoint, Endpoint]
"""A platform and a device."""


def request(method: str, body: bytes = b"", **headers: str) -> Request:
    fields: list[tuple[str, object]] = [("From", "<sip:34020000002000000001@3402000000>")]
    fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request(method, Uri("34020000001320000001", "3402000000"), Headers(fields), body)


def listening(transport: str, **options: object) -> Endpoint:
    return Endpoint([Listen(transport, "127.0.0.1", 0)], timers=QUICK, **options)  # type: ignore[arg-type]


async def flow_between(ours: Endpoint, peer: Endpoint) -> Flow:
    transport, (host, port) = peer.addresses[0]
    return await ours.flow_to(transport, host, port)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
