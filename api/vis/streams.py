"""Streams (§4.2.1 to §4.2.3, §4.2.5 to §4.2.7)."""

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, SkipValidation
from msgspec import UNSET, UnsetType

from api.context import SCOPED, Authorised, Services, address_bases
from api.vis.common import Done, choice, each, optional, time
from api.vis.retention import RetentionBody, retention_body
from gateway.accounts.model import Role
from gateway.paging import Page
from gateway.retention.model import Retention
from gateway.store import StreamFilter
from gateway.streams.changes import NewStream, StreamChange
from gateway.streams.live import Bases, without_sound
from gateway.streams.model import AccessType, ShareType, StreamRecord, StreamState
from gateway.streams.model import Tag as StreamTag
from gateway.streams.push import push_address
from gateway.streams.rules import shown_url
from gateway.streams.service import StreamNow


class VideoMeta(msgspec.Struct, kw_only=True):
    codec: str
    width: str
    height: str


class Meta(msgspec.Struct, kw_only=True):
    video: VideoMeta


class FlowInfo(msgspec.Struct, kw_only=True):
    """What flows; rates only while it does."""

    is_publishing: bool
    bytes_in: str
    bytes_out: str
    bw_in: str | UnsetType = UNSET
    bw_out: str | UnsetType = UNSET
    bw_video: str | UnsetType = UNSET
    bw_audio: str | UnsetType = UNSET
    num_play_clients: int | UnsetType = UNSET
    meta: Meta | UnsetType = UNSET


class Tag(msgspec.Struct, kw_only=True):
    key: str
    value: str = ""


class NewStreamBody(msgspec.Struct, kw_only=True):
    name: str
    """1 to 32 letters, digits, - and _; no stream of any project has it."""
    access_type: str
    """RTMP or HTTP-FLV."""
    encode_type: str
    """H264."""
    share_type: str | None = None
    """PRIVATE or PUBLIC."""
    url: str | None = None
    """Needed for HTTP-FLV, ignored for RTMP."""
    access_key: str | None = None
    """For RTMP: pushed only with a token of this key. Ignored for HTTP-FLV."""
    description: str | None = None
    tag: list[Tag] | None = None


class StreamChangeBody(msgspec.Struct, kw_only=True):
    access_type: str | None = None
    encode_type: str | None = None
    share_type: str | None = None
    url: str | None = None
    access_key: str | None = None
    """Empty: pushed without a token."""
    description: str | None = None
    tag: list[Tag] | None = None
    state: str | None = None
    """ACTIVE or STOPPED."""


class CreatedStream(msgspec.Struct, kw_only=True):
    access_type: str
    created_at: str
    updated_at: str
    description: str
    share_type: str
    stream_id: str
    name: str
    state: str
    tag: list[Tag]
    encode_type: str
    access_key: str | UnsetType = UNSET
    """Of RTMP streams; empty where none is needed."""
    url: str | UnsetType = UNSET
    """Of HTTP-FLV streams."""


class StreamBody(CreatedStream, kw_only=True):
    retention_state: str
    retention: RetentionBody | UnsetType = UNSET
    transfer_protocol: str | UnsetType = UNSET
    stream_flow_info: FlowInfo | UnsetType = UNSET


class StreamPage(msgspec.Struct, kw_only=True):
    total: int
    entries: list[StreamBody]


class Addresses(msgspec.Struct, kw_only=True):
    """An extension: the stream in every format."""

    http_flv: str
    ws_flv: str
    http_ts: str
    ws_ts: str
    http_fmp4: str
    ws_fmp4: str
    hls: str
    hls_fmp4: str
    hls_ll: str
    rtmp: str | None
    """None where RTMP is off."""
    rtsp: str | None
    """None where RTSP is off."""
    whep: str | None
    """To POST an offer to (WebRTC); None where WebRTC is off."""


class Endpoint(msgspec.Struct, kw_only=True):
    push_flow_protocol: str
    push_flow_address: str
    addresses: Addresses
    without_sound: list[str]
    """An extension: those of `addresses` that leave the sound out, unless `audio=aac` asks for it as AAC: those with TS
    if it is G.711."""
    pull_flow_address: str | UnsetType = UNSET
    hls_pull_flow_address: str | UnsetType = UNSET


class StreamController(Controller):
    path = "/{project_id:str}/streams"
    tags = ("streams",)

    @post(status_code=200, summary="Create a stream that is pushed by RTMP or pulled by HTTP-FLV")
    async def create(
        self, project_id: FromPath[str], data: JSONBody[NewStreamBody], request: Authorised, gateway: Services
    ) -> CreatedStream:
        """It begins STOPPED."""
        new = NewStream(
            name=data.name,
            access_type=choice(AccessType, data.access_type, "access_type"),
            encode_type=data.encode_type,
            share_type=optional(ShareType, data.share_type, "share_type") or ShareType.PRIVATE,
            url=data.url,
            access_key=data.access_key,
            description=data.description or "",
            tags=_tags(data.tag or []),
        )
        return _created(await gateway.streams.create(request.auth.project, new, gateway.clock()))

    @put("/{stream_name:str}", summary="Change, start or stop a stream")
    async def update(
        self,
        project_id: FromPath[str],
        stream_name: FromPath[str],
        data: JSONBody[StreamChangeBody],
        request: Authorised,
        gateway: Services,
    ) -> Done:
        """What is left out stays. Streams of channels change with their channel."""
        change = StreamChange(
            access_type=optional(AccessType, data.access_type, "access_type"),
            encode_type=data.encode_type,
            share_type=optional(ShareType, data.share_type, "share_type"),
            url=data.url,
            access_key=data.access_key,
            description=data.description,
            tags=None if data.tag is None else _tags(data.tag),
            state=optional(StreamState, data.state, "state"),
        )
        await gateway.streams.update(request.auth.project, stream_name, change, gateway.clock())
        return Done()

    @delete("/{stream_name:str}", status_code=200, summary="Delete a stream")
    async def remove(self, project_id: FromPath[str], stream_name: FromPath[str], gateway: Services) -> Done:
        """Also an active one: who pushes or watches it is cut off. Streams of channels go with their device."""
        await gateway.streams.delete(project_id, stream_name)
        return Done()

    @get(summary="List streams", opt=SCOPED)
    async def index(
        self,
        project_id: FromPath[str],
        request: Authorised,
        gateway: Services,
        page: NamedDependency[SkipValidation[Page | None]],
        name: FromQuery[str | None] = None,
        stream_state: FromQuery[str | None] = None,
        retention_state: FromQuery[str | None] = None,
    ) -> StreamPage | list[StreamBody]:
        wanted = StreamFilter(
            name=name or None,
            state=optional(StreamState, stream_state, "stream_state"),
            retention_state=optional(StreamState, retention_state, "retention_state"),
        )
        listing = await gateway.streams.list(request.auth.scope, wanted, page)
        kept = await gateway.retentions.of_streams([stream.record.stream_id for stream in listing.entries])
        whole = request.auth.role.includes(Role.OPERATOR)
        entries = await each(
            listing.entries, lambda stream: _body(stream, kept.get(stream.record.stream_id), whole=whole)
        )
        return entries if page is None else StreamPage(total=listing.total, entries=entries)

    @get("/{stream_name:str}", summary="A stream and what flows of it", opt=SCOPED)
    async def show(
        self, project_id: FromPath[str], stream_name: FromPath[str], request: Authorised, gateway: Services
    ) -> StreamBody:
        stream = await gateway.streams.get(request.auth.scope, stream_name)
        kept = await gateway.retentions.of_streams([stream.record.stream_id])
        whole = request.auth.role.includes(Role.OPERATOR)
        body = _body(stream, kept.get(stream.record.stream_id), whole=whole)
        body.stream_flow_info = _flow(stream)
        return body

    @get("/{stream_name:str}/endpoint", summary="Where a stream plays", opt=SCOPED)
    async def endpoint(
        self, project_id: FromPath[str], stream_name: FromPath[str], request: Authorised, gateway: Services
    ) -> Endpoint:
        """H.264 has `pull_flow_address`, H.265 `hls_pull_flow_address`; before the coding is known there are both."""
        bases = address_bases(request, gateway)
        stream, addresses = await gateway.streams.endpoint(request.auth.scope, stream_name, bases, gateway.clock())
        endpoint = Endpoint(
            push_flow_protocol=stream.record.access_type.value,
            push_flow_address=_push_address(stream.record, bases, gateway.sip.host),
            addresses=Addresses(
                http_flv=addresses.http_flv,
                ws_flv=addresses.ws_flv,
                http_ts=addresses.http_ts,
                ws_ts=addresses.ws_ts,
                http_fmp4=addresses.http_fmp4,
                ws_fmp4=addresses.ws_fmp4,
                hls=addresses.hls,
                hls_fmp4=addresses.hls_fmp4,
                hls_ll=addresses.hls_ll,
                rtmp=addresses.rtmp,
                rtsp=addresses.rtsp,
                whep=addresses.whep,
            ),
            without_sound=without_sound(stream.live),
        )
        if stream.encode_type != "H265":
            endpoint.pull_flow_address = addresses.http_flv
        if stream.encode_type != "H264":
            endpoint.hls_pull_flow_address = addresses.hls
        return endpoint


def _push_address(stream: StreamRecord, bases: Bases, sip_host: str) -> str:
    """Where it is pushed to, without a token: only for RTMP streams it means something (§4.2.7)."""
    match stream.access_type:
        case AccessType.RTMP:
            return push_address(bases.rtmp, stream).whole if bases.rtmp else ""
        case AccessType.HTTP_FLV:
            return ""
        case AccessType.GB28181:
            return sip_host


def _tags(tags: list[Tag]) -> list[StreamTag]:
    return [StreamTag(tag.key, tag.value) for tag in tags]


def _created(record: StreamRecord) -> CreatedStream:
    body = CreatedStream(
        access_type=record.access_type.value,
        created_at=time(record.created_at),
        updated_at=time(record.updated_at),
        description=record.description,
        share_type=record.share_type.value,
        stream_id=record.stream_id,
        name=record.name,
        state=record.state.value,
        tag=[Tag(key=tag.key, value=tag.value) for tag in record.tags],
        encode_type=record.encode_type,
    )
    if record.access_type is AccessType.RTMP:
        body.access_key = record.access_key or ""
    if record.access_type is AccessType.HTTP_FLV:
        body.url = record.url or ""
    return body


def _body(stream: StreamNow, retention: Retention | None, *, whole: bool) -> StreamBody:
    """`whole`: with the user and password of the URL that it is pulled from."""
    record = stream.record
    state = retention.state if retention else StreamState.STOPPED
    body = StreamBody(**msgspec.structs.asdict(_created(record)), retention_state=state.value)
    if record.access_type is AccessType.HTTP_FLV and not whole:
        body.url = shown_url(record.url or "")
    if retention is not None:
        body.retention = retention_body(retention)
    body.encode_type = stream.encode_type
    if record.access_type is AccessType.GB28181:
        over_tcp = stream.live.transport != "udp" if stream.live else record.tcp_priority
        body.transfer_protocol = "TCP" if over_tcp else "UDP"
    return body


def _flow(stream: StreamNow) -> FlowInfo:
    live = stream.live
    if live is None or not stream.flows:
        received, sent = (live.bytes_in, live.bytes_out) if live else (0, 0)
        return FlowInfo(is_publishing=False, bytes_in=size(received), bytes_out=size(sent))
    flow = FlowInfo(
        is_publishing=True,
        bytes_in=size(live.bytes_in),
        bytes_out=size(live.bytes_out),
        bw_in=rate(live.rate_in_bps),
        bw_out=rate(live.rate_out_bps),
        bw_video=rate(live.rate_video_bps),
        bw_audio=rate(live.rate_audio_bps),
        num_play_clients=sum(live.viewers.values()),
    )
    if live.video_codec:
        flow.meta = Meta(video=VideoMeta(codec=live.video_codec, width=str(live.width), height=str(live.height)))
    return flow


def size(count: int) -> str:
    """Bytes as `131.469 MB` or `15.775 GB`, in powers of 1024."""
    giga = count >= 1 << 30
    return f"{_number(count / (1 << 30 if giga else 1 << 20))} {'GB' if giga else 'MB'}"


def rate(bits: int) -> str:
    """Bits a second as `102.883 Kb/s`."""
    return f"{_number(bits / 1000)} Kb/s"


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
