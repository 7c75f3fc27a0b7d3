"""A small SIP platform for tests of the fleet: registers with digest, invites, receives media."""

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from sip import Headers, NameAddr, Request, Uri
from sip.digest import Authenticator, Verdict
from sip.endpoint import Endpoint
from sip.flow import Flow
from sip.incoming import Incoming
from sip.outgoing import OutgoingCall
from sip.sdp import Direction, Media, Origin, RtpMap, SessionDescription, Setup
from sip.transport import Listen

SERVER_ID = "31011500002000000001"
PASSWORD = "Kx-4821-pw"
MANSCDP = "Application/MANSCDP+xml"


@dataclass
class Platform:
    """Takes every device whose digest is right; `messages` are the bodies received, `flows` where devices are."""

    password: str = PASSWORD
    transport: str = "UDP"
    status: int = 200
    messages: list[bytes] = field(default_factory=list)
    registers: list[Request] = field(default_factory=list)
    flows: dict[str, Flow] = field(default_factory=dict)
    unregistered: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self.endpoint = Endpoint([Listen(self.transport, "127.0.0.1", 0)])
        self._digest = Authenticator(b"k" * 32, os.urandom)
        self.changed = asyncio.Event()
        self.endpoint.on("REGISTER", self._register)
        self.endpoint.on("MESSAGE", self._message)
        await self.endpoint.__aenter__()
        self.address = f"sip:{SERVER_ID}@127.0.0.1:{self.endpoint.addresses[0][1].port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.endpoint.__aexit__(*exc)

    def _register(self, incoming: Incoming) -> None:
        request, now = incoming.request, incoming.received_at
        device = request.from_.uri.user or ""
        authorization = request.headers.authorization
        if authorization is None:
            challenge = self._digest.challenge(now, "3101150000", incoming.flow.remote.host, device)
            incoming.respond(401, headers=[("WWW-Authenticate", challenge)])
            return
        self.registers.append(request)
        verdict = self._digest.verify(
            now,
            authorization,
            method="REGISTER",
            password=self.password,
            peer=incoming.flow.remote.host,
            device=device,
        )
        if verdict is not Verdict.OK:
            incoming.respond(403)
            self.changed.set()
            return
        if request.headers.expires:
            self.flows[device] = incoming.flow
        else:
            self.unregistered.append(device)
        incoming.respond(200, headers=[("Expires", request.headers.expires)])
        self.changed.set()

    def _message(self, incoming: Incoming) -> None:
        self.messages.append(incoming.request.body)
        self.flows[incoming.request.from_.uri.user or ""] = incoming.flow
        incoming.respond(self.status)
        self.changed.set()

    async def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        """Waits until `condition()` is true."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self.changed.wait()
                except TimeoutError:
                    continue

    async def ask(self, device_id: str, body: str) -> int:
        """Sends a MESSAGE to a device; the status."""
        headers = Headers([("From", NameAddr(Uri(SERVER_ID, "3101150000"))), ("Content-Type", MANSCDP)])
        request = Request("MESSAGE", Uri(device_id, "3101150000"), headers, body.encode())
        return (await self.endpoint.request(request, flow=self.flows[device_id])).status

    async def invite(self, device_id: str, channel_id: str, media: Media, y: str | None = "0115000001") -> OutgoingCall:
        """Invites a channel with one `m=` section."""
        offer = SessionDescription(Origin(SERVER_ID, "127.0.0.1"), "Play", "127.0.0.1", media=(media,), ssrc=y)
        fields = [
            ("From", NameAddr(Uri(SERVER_ID, "3101150000"))),
            ("Subject", f"{channel_id}:{y},{SERVER_ID}:0"),
            ("Content-Type", "application/sdp"),
        ]
        request = Request("INVITE", Uri(channel_id, "3101150000"), Headers(fields), bytes(offer))
        return await self.endpoint.invite(request, flow=self.flows[device_id])


def video(port: int, setup: Setup | None = None) -> Media:
    """The `m=` section of a live offer; `setup` makes it TCP."""
    proto = "RTP/AVP" if setup is None else "TCP/RTP/AVP"
    return Media("video", port, proto, (96,), {96: RtpMap("PS", 90_000)}, direction=Direction.RECVONLY, setup=setup)


class UdpReceiver:
    """Counts and keeps datagrams."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.packets: list[bytes] = []

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def read(self) -> list[bytes]:
        """All that has come so far."""
        while True:
            try:
                self.packets.append(self._socket.recv(65_536))
            except BlockingIOError:
                return self.packets

    def close(self) -> None:
        self._socket.close()
