"""A small device with a script, over real sockets: just enough to talk to the services under test."""

import asyncio
import random
from collections.abc import Callable
from typing import Self

from gateway.gb28181.manscdp import Document, Root, build, parse
from gateway.gb28181.messages.device import Keepalive, write_keepalive
from sip.digest import DigestClient
from sip.endpoint import Endpoint
from sip.flow import Address, Flow
from sip.headers import Headers
from sip.incoming import Incoming
from sip.message import Request, Response
from sip.transport import Listen
from sip.uri import Uri
from sip.values import NameAddr

SERVER = "34020000002000000001"
DOMAIN = "3402000000"
PASSWORD = "Secret-1234"

Script = Callable[[Document], list[bytes]]
"""What the device sends, in MESSAGEs of its own, when a document came."""


class ScriptedDevice:
    """An async context manager; `script` answers what the platform asks, `asked` keeps it."""

    def __init__(
        self,
        device_id: str,
        server: Address,
        script: Script = lambda _document: [],
        *,
        username: str | None = None,
        password: str = PASSWORD,
        transport: str = "UDP",
    ) -> None:
        self.device_id = device_id
        self.asked: list[Document] = []
        self.endpoint = Endpoint([Listen("UDP", "127.0.0.1", 0)], user_agent="Scripted/1")
        self.endpoint.on("MESSAGE", self._on_message)
        self.endpoint.on("SUBSCRIBE", self._on_message)
        self.script = script
        self._server = server
        self._transport = transport
        self._digest = DigestClient(username or device_id, password, random.Random(1).randbytes)
        self._cseq = 0
        self.flow: Flow

    async def __aenter__(self) -> Self:
        await self.endpoint.__aenter__()
        self.flow = await self.endpoint.flow_to(self._transport, *self._server)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.endpoint.__aexit__()

    async def register(self, expires: int = 3600, *, extra: list[tuple[str, object]] | None = None) -> Response:
        """The final response to a REGISTER, its challenge answered."""
        self._cseq += 10
        headers = [
            ("From", NameAddr(Uri(self.device_id, DOMAIN))),
            ("To", NameAddr(Uri(self.device_id, DOMAIN))),
            ("CSeq", f"{self._cseq} REGISTER"),
            ("Expires", expires),
            *(extra or []),
        ]
        request = Request("REGISTER", Uri(SERVER, DOMAIN), Headers(headers))
        return await self.endpoint.request(request, flow=self.flow, digest=self._digest, timeout=5)

    async def send(
        self, body: bytes, *, method: str = "MESSAGE", sender: str | None = None, seconds: float = 5.0
    ) -> Response:
        """Sends a document; the answer to its MESSAGE."""
        headers = [
            ("From", NameAddr(Uri(sender or self.device_id, DOMAIN))),
            ("To", NameAddr(Uri(SERVER, DOMAIN))),
            ("Content-Type", "Application/MANSCDP+xml"),
        ]
        request = Request(method, Uri(SERVER, DOMAIN), Headers(headers), body)
        return await self.endpoint.request(request, flow=self.flow, timeout=seconds)

    async def keepalive(self, sn: int = 1, *, seconds: float = 5.0) -> int:
        """The status that a keepalive got."""
        body = write_keepalive(Keepalive(sn=sn, device_id=self.device_id))
        return (await self.send(body, seconds=seconds)).status

    async def move(self) -> None:
        """Goes on from another port, as behind a NAT that lost its mapping."""
        other = Endpoint([Listen("UDP", "127.0.0.1", 0)])
        other.on("MESSAGE", self._on_message)
        await other.__aenter__()
        await self.endpoint.__aexit__()
        self.endpoint = other
        self.flow = await other.flow_to(self._transport, *self._server)

    def count(self, command: str) -> int:
        """How often the platform sent a document of this CmdType."""
        return sum(document.command == command for document in self.asked)

    async def _on_message(self, incoming: Incoming) -> None:
        document = parse(incoming.request.body)
        self.asked.append(document)
        incoming.respond(200)
        for body in self.script(document):
            await self.send(body)


def answer(document: Document, inner: str) -> bytes:
    """A Response to a query with these fields."""
    empty = build(Root.RESPONSE, document.command, document.sn or 0, document.device_id).decode()
    return empty.replace("</DeviceID>", f"</DeviceID>{inner}", 1).encode()


def item(code: str, name: str = "Gate", status: str = "ON", more: str = "") -> str:
    """One item of a catalogue."""
    return f"<Item><DeviceID>{code}</DeviceID><Name>{name}</Name><Status>{status}</Status>{more}</Item>"


def catalogue(*items: str, sum_num: int | None = None) -> str:
    """The fields of a catalogue answer."""
    count = len(items) if sum_num is None else sum_num
    return f'<SumNum>{count}</SumNum><DeviceList Num="{len(items)}">{"".join(items)}</DeviceList>'


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (nobody there would set an event for a test)
            await asyncio.sleep(0.01)
