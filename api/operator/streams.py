"""Streams as operators see them: where the source stands and what became of it, push addresses, revocation."""

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from litestar import Controller, delete, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from api.context import SCOPED, Authorised, Services, address_bases
from api.operator.controllers import EventList, EventView, Play, StreamFigures, figures, play
from api.operator.paging import Before, Limit, Offset
from api.services import Gateway
from gateway.devices.model import ChannelId, DeviceId
from gateway.paging import Page
from gateway.store.streams import StreamFilter
from gateway.streams.live import Bases, LiveViewer
from gateway.streams.model import StreamState
from gateway.streams.service import StreamNow
from gateway.streams.source import SourceView

LIFE_MAX: Final = 10_000_000_000


class SourceBody(msgspec.Struct, kw_only=True):
    """Where a stream comes from that is pushed or pulled."""

    state: str
    """CONNECTING, CONNECTED (no video yet), FLOWING, SILENT, BROKEN (cannot be had, and is tried again)."""
    since: datetime
    peer: str | None
    reason: str
    """Of the last failure."""
    reason_code: str
    """The word for it that does not change (docs/media.md)."""
    failures: int
    """Tries to connect that failed since it last was there."""
    retry_at: datetime | None


class StreamView(msgspec.Struct, kw_only=True):
    name: str
    access_type: str
    share_type: str
    state: str
    source: SourceBody | None
    """None while nobody pushes, nothing is pulled, or the stream is a channel's."""
    stream: StreamFigures | None
    """None while nothing flows."""
    play: Play | None
    """None while the stream is stopped."""


class StreamList(msgspec.Struct, kw_only=True):
    """By name."""

    total: int
    streams: list[StreamView]


class ViewerView(msgspec.Struct, kw_only=True):
    id: int
    protocol: str
    """http-flv, ws-flv, http-ts, ws-ts, http-fmp4, ws-fmp4, rtmp, rtsp, hls, whep."""
    peer: str | None
    """Address and port; None where they are not known."""
    since: datetime
    bytes_out: int
    skips: int
    """How often it was too slow and was put forward to a key frame."""
    user_agent: str


class ViewerList(msgspec.Struct, kw_only=True):
    viewers: list[ViewerView]
    """Oldest first."""


class PushAddressBody(msgspec.Struct, kw_only=True):
    """Whole, and in the two parts that encoders ask for."""

    address: str
    server: str
    stream_key: str
    rtsp: str | None
    """To publish to by RTSP, with the same right; None where RTSP is off."""
    whip: str | None
    """To POST an offer to (WebRTC), with the same right; None where WebRTC is off."""
    expires_at: datetime | None
    """None: for ever, as the stream has no access key."""


class StreamListController(Controller):
    path = "/streams"
    tags = ("operator",)

    @get(summary="Streams of the project, with what flows and where they play", opt=SCOPED)
    async def list(
        self,
        request: Authorised,
        gateway: Services,
        offset: Offset = 0,
        limit: Limit = 100,
        name: FromQuery[str | None] = None,
        own: FromQuery[bool] = False,
    ) -> StreamList:
        """`name` is a part of it; with `own` only those that were made by hand, not the channels'."""
        bases, wanted = address_bases(request, gateway), StreamFilter(name=name or None, own=own)
        page = Page(offset=offset, limit=limit, order_by="name")
        listing = await gateway.streams.list(request.auth.scope, wanted, page)
        return StreamList(total=listing.total, streams=[_stream(gateway, bases, one) for one in listing.entries])


class StreamController(Controller):
    path = "/streams/{stream_name:str}"
    tags = ("operator",)

    @get(summary="A stream, where its source stands, and where it plays", opt=SCOPED)
    async def show(self, request: Authorised, gateway: Services, stream_name: FromPath[str]) -> StreamView:
        stream = await gateway.streams.get(request.auth.scope, stream_name)
        return _stream(gateway, address_bases(request, gateway), stream)

    @post("/push-address", status_code=200, summary="An address to push a stream to")
    async def push_address(
        self,
        request: Authorised,
        gateway: Services,
        stream_name: FromPath[str],
        expires_in: Annotated[int, QueryParameter(ge=1, le=LIFE_MAX)] = 86_400,
    ) -> PushAddressBody:
        """Of a stream with an access key the address carries a token that is good for `expires_in` seconds."""
        bases = address_bases(request, gateway)
        address, expires = await gateway.streams.push_address(
            request.auth.scope, stream_name, bases, expires_in, gateway.clock()
        )
        return PushAddressBody(
            address=address.whole,
            server=address.server,
            stream_key=address.stream_key,
            rtsp=None if bases.rtsp is None else address.rtsp(bases.rtsp),
            whip=None if bases.webrtc is None else address.whip(bases.webrtc),
            expires_at=expires.astimezone(UTC) if expires else None,
        )

    @delete("/addresses", summary="Make the play addresses given out so far void", opt=SCOPED)
    async def void(self, request: Authorised, gateway: Services, stream_name: FromPath[str]) -> None:
        """204. Live viewers who watch already go on; players of HLS end with their next request."""
        await gateway.streams.void_addresses(request.auth.scope, stream_name, gateway.clock())

    @get("/viewers", summary="Who watches a stream now", opt=SCOPED)
    async def viewers(self, request: Authorised, gateway: Services, stream_name: FromPath[str]) -> ViewerList:
        """Players of HLS are told apart by address, program, signature and token."""
        watching = await gateway.streams.viewers(request.auth.scope, stream_name)
        return ViewerList(viewers=[_viewer(one) for one in watching])

    @delete("/viewers/{viewer_id:int}", summary="Send a viewer away", opt=SCOPED)
    async def kick(
        self, request: Authorised, gateway: Services, stream_name: FromPath[str], viewer_id: FromPath[int]
    ) -> None:
        """204; 404 if it is gone already. Whoever has an address may come again: make the addresses void as well. A
        player of HLS is refused for a minute."""
        await gateway.streams.kick(request.auth.scope, stream_name, viewer_id)

    @get("/events", summary="History of a stream's source", opt=SCOPED)
    async def events(
        self,
        request: Authorised,
        gateway: Services,
        stream_name: FromPath[str],
        before: Before = None,
        limit: Limit = 100,
    ) -> EventList:
        """Of a channel's stream, the history of the channel."""
        stream = (await gateway.streams.get(request.auth.scope, stream_name)).record
        if stream.device_id is not None and stream.channel_id is not None:
            device, channel = DeviceId(stream.device_id), ChannelId(stream.channel_id)
            told = await gateway.events.history(device, channel_id=channel, before=before, limit=limit)
            views = [_event(number, one.at, one.before, one.after, one.cause.value, one.detail) for number, one in told]
        else:
            found = await gateway.streams.history(stream, before=before, limit=limit)
            views = [
                _event(number, one.at, one.before, one.after, one.cause, one.detail, one.reason_code)
                for number, one in found
            ]
        for view in views:
            view.channel_id = stream.channel_id
        return EventList(events=views, next=views[-1].number if len(views) == limit else None)


def _stream(gateway: Gateway, bases: Bases, stream: StreamNow) -> StreamView:
    record, active = stream.record, stream.record.state is StreamState.ACTIVE
    addresses = gateway.streams.addresses(record, bases, gateway.clock())
    return StreamView(
        name=record.name,
        access_type=record.access_type.value,
        share_type=record.share_type.value,
        state=record.state.value,
        source=_source(stream.source) if stream.source else None,
        stream=figures(stream.live) if stream.live is not None and stream.flows else None,
        play=play(addresses) if active else None,
    )


def _event(
    number: int, at: datetime, before: str, after: str, cause: str, detail: str, reason_code: str = ""
) -> EventView:
    return EventView(
        number=number,
        at=at.astimezone(UTC),
        channel_id=None,
        before=before,
        after=after,
        cause=cause,
        detail=detail,
        reason_code=reason_code,
    )


def _viewer(one: LiveViewer) -> ViewerView:
    return ViewerView(
        id=one.id,
        protocol=one.protocol,
        peer=one.peer,
        since=datetime.fromtimestamp(one.since_ms / 1000, UTC),
        bytes_out=one.bytes_out,
        skips=one.skips,
        user_agent=one.user_agent,
    )


def _source(view: SourceView) -> SourceBody:
    return SourceBody(
        state=view.state.value,
        since=view.since.astimezone(UTC),
        peer=view.peer,
        reason=view.reason,
        reason_code=view.reason_code,
        failures=view.failures,
        retry_at=view.retry_at.astimezone(UTC) if view.retry_at else None,
    )
