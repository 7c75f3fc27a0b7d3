"""Streams sent as RTP: to whom, how far, and why no more."""

from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

import msgspec
from litestar import Controller, delete, get, post
from litestar.params import FromPath, JSONBody

from api.context import SCOPED, Authorised, Services
from gateway.errors import InvalidError
from gateway.senders.model import Payload, SenderEnd, SenderOrder, SenderTransport
from media._core import SenderStats

Ssrc: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
PortNumber: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class SenderOrderBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be sent where."""

    transport: Literal["udp", "tcp_active", "tcp_passive"] | None = None
    """tcp_active: we connect to the target; tcp_passive: it connects to us. Needed without `over`, not told with it."""
    over: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    """Name of the stream whose source is the target, on the connection that it sends on (two-way talk)."""
    host: str | None = None
    """Literal IP address of the target; for tcp_passive, who may connect."""
    port: PortNumber = 0
    """Of the target; without meaning for tcp_passive."""
    ssrc: Ssrc
    payload: Literal["ps", "es"] = "ps"
    payload_type: Annotated[int, msgspec.Meta(ge=0, le=127)] = 96
    """Of PS, and of video sent as it is; G.711 has 8 and 0, AAC 97."""
    local_port: PortNumber = 0
    """0: one of the range for RTP."""
    video: bool = True
    audio: bool = True
    report_timeout: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    """Seconds after which a target of datagrams that reports nothing (RTCP) is given up; 0: never."""
    wait: Annotated[float, msgspec.Meta(gt=0, le=600)] = 30.0
    """Seconds that tcp_passive waits for its target, and `over` for a connection."""
    rtcp: bool = False
    """Sender reports on a TCP connection too; with datagrams they always go."""


class SenderView(msgspec.Struct, kw_only=True):
    id: int
    transport: str
    payload: str
    video: bool
    audio: bool
    ssrc: int
    local_port: int
    """0 for tcp_active; of the receiver if it is sent over one."""
    over: bool
    """Whether it goes over the connection of another stream."""
    peer: str | None
    """Address and port of the target, once it is known."""
    state: str
    """connecting, listening (for the target, or the other stream's connection), waiting (for a key frame), sending."""
    since: datetime
    packets: int
    bytes: int
    skips: int
    """Times that it was too slow and went on at a key frame."""
    dropped: int
    """Packets that it was not sent because of that."""
    heard_at: datetime | None
    """When the target last said something (RTCP, or anything on a connection)."""


class SenderEndView(msgspec.Struct, kw_only=True):
    id: int
    at: datetime
    peer: str | None
    ssrc: int
    reached: bool
    """False: it never reached its target."""
    reason: str
    reason_code: str
    """The word for it that does not change (docs/media.md)."""


class SenderList(msgspec.Struct, kw_only=True):
    senders: list[SenderView]
    ended: list[SenderEndView]
    """Of late, newest first; forgotten when the gateway stops."""


class SenderController(Controller):
    path = "/streams/{stream_name:str}/senders"
    tags = ("operator",)

    @post(summary="Send a stream as RTP")
    async def create(
        self, request: Authorised, gateway: Services, stream_name: FromPath[str], data: JSONBody[SenderOrderBody]
    ) -> SenderView:
        """201. It ends with the stream, with its target, or when it is deleted; how it goes on is told by the list."""
        if (data.transport is None) == (data.over is None):
            raise InvalidError("transport", "either a transport, or the stream over whose connection it goes")
        order = SenderOrder(
            transport=SenderTransport(data.transport or "udp"),
            host=data.host,
            port=data.port,
            ssrc=data.ssrc,
            payload=Payload(data.payload),
            payload_type=data.payload_type,
            local_port=data.local_port,
            video=data.video,
            audio=data.audio,
            report_timeout=data.report_timeout,
            wait=data.wait,
            rtcp=data.rtcp,
        )
        return _view(await gateway.senders.create(request.auth.scope, stream_name, order, over=data.over))

    @get(summary="To whom a stream is sent as RTP", opt=SCOPED)
    async def list(self, request: Authorised, gateway: Services, stream_name: FromPath[str]) -> SenderList:
        running, ended = await gateway.senders.list(request.auth.scope, stream_name)
        return SenderList(senders=[_view(one) for one in running], ended=[_end(one) for one in ended])

    @delete("/{sender:int}", summary="Send a stream no more")
    async def delete(
        self,
        request: Authorised,
        gateway: Services,
        stream_name: FromPath[str],
        sender: FromPath[int],
    ) -> None:
        """204."""
        await gateway.senders.delete(request.auth.scope, stream_name, sender)


def _view(one: SenderStats) -> SenderView:
    return SenderView(
        id=one.id,
        transport=one.transport,
        payload=one.payload,
        video=one.video,
        audio=one.audio,
        ssrc=one.ssrc,
        local_port=one.port,
        over=one.over is not None,
        peer=one.peer,
        state=one.state,
        since=_moment(one.since_ms),
        packets=one.packets,
        bytes=one.bytes,
        skips=one.skips,
        dropped=one.dropped,
        heard_at=None if one.heard_ms is None else _moment(one.heard_ms),
    )


def _end(end: SenderEnd) -> SenderEndView:
    return SenderEndView(
        id=end.sender,
        at=end.at.astimezone(UTC),
        peer=end.peer,
        ssrc=end.ssrc,
        reached=end.reached,
        reason=end.reason,
        reason_code=end.reason_code,
    )


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
