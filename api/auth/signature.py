"""Signed requests on their way in: the body is hashed before anybody acts on it."""

import hashlib
from typing import Final

from litestar.exceptions import ClientException, HTTPException
from litestar.types import Receive, ReceiveMessage, Scope

from gateway.accounts.signing import SignedRequest
from gateway.errors import UnavailableError

BODY_MAX: Final = 12 * 1024 * 1024
"""Of a signed request, as the VIS API has it (§3.2)."""
HELD_MAX: Final = 64 * 1024 * 1024
"""Bytes of bodies whose signatures are not checked yet, of all requests together; beyond it they are refused."""


def received(scope: Scope) -> SignedRequest:
    """The request as it came over the wire."""
    raw = scope.get("raw_path") or scope["path"].encode()
    return SignedRequest(
        str(scope.get("method")), raw.partition(b"?")[0], scope["query_string"], tuple(scope["headers"])
    )


class Bodies:
    """Reads bodies ahead of the handlers, within bounds."""

    def __init__(self, *, body_max: int = BODY_MAX, held_max: int = HELD_MAX) -> None:
        self.held = 0
        self._body_max = body_max
        self._held_max = held_max

    async def read(self, receive: Receive) -> bytes:
        """The whole body; HTTP 413 if it is too long, UnavailableError if too much is held already."""
        parts, size = [], 0
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientException("the client went away")
                part = message["body"]
                size += len(part)
                self.held += len(part)
                if size > self._body_max:
                    raise HTTPException("the body of a signed request has at most 12 MB", status_code=413)
                if self.held > self._held_max:
                    raise UnavailableError("too many signed bodies at once")
                parts.append(part)
                if not message["more_body"]:
                    return b"".join(parts)
        finally:
            self.held -= size


def digest(body: bytes) -> str:
    """What a signer writes for the body."""
    return hashlib.sha256(body).hexdigest()


def again(body: bytes, receive: Receive) -> Receive:
    """Gives a handler the body that was read ahead, and then what comes after it."""
    given = False

    async def replay() -> ReceiveMessage:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
