"""Servers that a stream is sent on to."""

from datetime import UTC, datetime

import msgspec
from litestar import Controller, delete, get, post
from litestar.params import FromPath, JSONBody

from api.context import SCOPED, Authorised, Services
from gateway.pushes.model import PushView
from gateway.pushes.rules import shown


class NewPush(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    url: str
    """rtmp://, rtmps://, rtsp:// or rtsps://; `codec=12` and `audio=0` in the query of the former two are for us."""


class PushBody(msgspec.Struct, kw_only=True):
    push_id: str
    url: str
    """Without user, password, query and the end of a longer name."""
    state: str
    """STOPPED (the stream is not open), WAITING (it does not flow), CONNECTING, PUSHING, RETRYING."""
    bytes_out: int
    failures: int
    reason: str
    """Of the last failure since the gateway started."""
    cause: str
    reason_code: str
    """The same as `cause`, by the name that it has everywhere: the word for the reason that does not change."""
    failed_at: datetime | None
    created_at: datetime


class PushList(msgspec.Struct, kw_only=True):
    pushes: list[PushBody]


class PushController(Controller):
    path = "/streams/{stream_name:str}/pushes"
    tags = ("operator",)

    @get(summary="Where a stream is sent on to, and how that stands", opt=SCOPED)
    async def list(self, request: Authorised, gateway: Services, stream_name: FromPath[str]) -> PushList:
        views = await gateway.pushes.list(request.auth.scope, stream_name)
        return PushList(pushes=[_body(view) for view in views])

    @post(summary="Send a stream on to a server")
    async def create(
        self, request: Authorised, gateway: Services, stream_name: FromPath[str], data: JSONBody[NewPush]
    ) -> PushBody:
        """It is kept, and sent whenever the stream flows, until it is deleted; a stream has 8 at most."""
        return _body(await gateway.pushes.create(request.auth.scope, stream_name, data.url))

    @delete("/{push_id:str}", summary="Send a stream on no more")
    async def delete(
        self, request: Authorised, gateway: Services, stream_name: FromPath[str], push_id: FromPath[str]
    ) -> None:
        """204."""
        await gateway.pushes.delete(request.auth.scope, stream_name, push_id)


def _body(view: PushView) -> PushBody:
    return PushBody(
        push_id=view.record.push_id,
        url=shown(view.record.url),
        state=view.state,
        bytes_out=view.bytes_out,
        failures=view.failures,
        reason=view.reason,
        cause=view.cause,
        reason_code=view.cause,
        failed_at=view.failed_at,
        created_at=view.record.created_at.astimezone(UTC),
    )
