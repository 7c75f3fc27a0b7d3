"""Writes every change into the audit log, whatever the handler: the answer waits until the entry is durable.

What a handler did and the entry about it are two commits, in this order. A crash between them loses the entry, but then
nobody was told that the change was made. If the entry cannot be kept, the answer is 503, and the entry is in the log.
"""

from datetime import datetime
from typing import Any, Final

import msgspec
from litestar.types import HTTPResponseStartEvent, Message, Receive, ReceiveMessage, Scope, Send

from api.context import address
from api.errors import body_of
from api.reasons import HEADER
from api.services import Gateway
from gateway.accounts.model import Access
from gateway.audit.entry import Entry, made, masked
from gateway.errors import GatewayError

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
KEPT_MAX: Final = 65_536
"""Bytes of a request's or an answer's body that are looked at."""
CREATED: Final = "POST"


class Recorder:
    """Stands between the server and one request that changes something."""

    def __init__(self, gateway: Gateway, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self._gateway = gateway
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self._given = bytearray()
        self._told = bytearray()
        self._start: HTTPResponseStartEvent | None = None
        self._broken = False

    async def receive(self) -> ReceiveMessage:
        """Passes on what comes and keeps the beginning of the body."""
        message = await self._receive()
        if message["type"] == "http.request" and len(self._given) <= KEPT_MAX:
            self._given += message["body"]
        return message

    async def send(self, message: Message) -> None:
        """Holds the answer back until what it tells is written down; that of somebody unknown is only passed on."""
        if self._broken:
            return
        if message["type"] == "http.response.start" and isinstance(self._scope.get("auth"), Access):
            self._start = message
            return
        if self._start is not None and message["type"] == "http.response.body":
            self._told += message["body"][: KEPT_MAX + 1]
            start, self._start = self._start, None
            try:
                await self._gateway.audit.record(self._entry(start["status"], self._gateway.clock()))
            except GatewayError:
                await self._fail(start)
                return
            await self._send(start)
        await self._send(message)

    async def _fail(self, start: HTTPResponseStartEvent) -> None:
        self._broken = True
        told = "the call was carried out, but could not be written into the audit log"
        media_type, body = body_of(self._scope["path"], 503, "VIS.0008", told)
        kept = [(name, value) for name, value in start["headers"] if _stays(name.lower())]
        headers = [(b"content-type", media_type), (b"content-length", str(len(body)).encode()), *kept]
        await self._send({"type": "http.response.start", "status": 503, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    def _entry(self, status: int, at: datetime) -> Entry:
        access: Access = self._scope["auth"]
        target = {str(name): masked(str(value)) for name, value in self._scope["path_params"].items()}
        if self._scope.get("method") == CREATED and status < 400:
            target = {**target, **made(_read(self._told))}
        target.pop("project_id", None)
        given = masked(_read(self._given))
        return Entry(
            at=at,
            project_id=access.project.project_id,
            user_id=access.user.user_id,
            user_name=access.user.name,
            proof=access.proof,
            address=address(self._scope),
            call=f"{self._scope.get('method')} {_template(self._scope)}",
            target=target,
            changes=given if isinstance(given, dict) else {},
            status=status,
            error=str(self._scope.get("refusal") or status) if status >= 400 else "",
            request_id=self._request_id,
        )


def _stays(header: bytes) -> bool:
    """Whether it holds for whatever answer: a reason is that of the answer which is not given."""
    return header.startswith(b"x-") and header != HEADER.lower().encode()


def _template(scope: Scope) -> str:
    """The path as it is documented: the router's template does not hold the kinds of its parameters."""
    return str(scope.get("path_template") or scope["path"])


def _read(body: bytearray) -> Any:
    """JSON, if the whole of it is there."""
    if not body or len(body) > KEPT_MAX:
        return None
    try:
        return msgspec.json.decode(bytes(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
