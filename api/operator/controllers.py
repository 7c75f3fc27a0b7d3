"""Channels with what flows and where it plays, devices with what they told, and the history of both."""

from datetime import UTC, datetime

import msgspec
from litestar import Controller, get
from litestar.params import FromPath, FromQuery

from api.context import SCOPED, Authorised, Services, address_bases
from api.operator.paging import Before, Limit, Offset
from api.services import Gateway
from gateway.devices.model import Channel, ChannelId, Device, DeviceState
from gateway.streams.live import Bases, LiveStream, PlayAddresses, without_sound


class StreamFigures(msgspec.Struct, kw_only=True):
    video_codec: str | None
    width: int
    height: int
    fps: float
    audio_codec: str | None
    without_sound: list[str]
    """The formats of `play` that leave the sound out, unless `audio=aac` asks for it as AAC: those with TS if it is
    G.711."""
    rate_in_bps: int
    received: int
    expected: int
    viewers: dict[str, int]


class Play(msgspec.Struct, kw_only=True):
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


class ChannelView(msgspec.Struct, kw_only=True):
    device_id: str
    channel_id: str
    name: str
    device_state: str
    invitation_status: str
    stream_name: str
    wanted: bool
    stream: StreamFigures | None
    """None while nothing flows."""
    play: Play | None
    """None while the channel is not wanted."""
    failure: str | None
    """Stage and cause of the last invitation that failed, and what was seen."""
    failure_cause: str | None
    """That cause alone: no_answer, refused, no_media, …"""


class ChannelList(msgspec.Struct, kw_only=True):
    total: int
    channels: list[ChannelView]


class DeviceView(msgspec.Struct, kw_only=True):
    """A device, also as it describes itself; None is what it did not tell."""

    device_id: str
    type: str
    state: str
    channels_query: str
    created_at: datetime
    registered_at: datetime | None
    last_seen_at: datetime | None
    manufacturer: str | None
    model: str | None
    firmware: str | None
    user_agent: str | None
    gb_version: str | None


class EventView(msgspec.Struct, kw_only=True):
    number: int
    at: datetime
    channel_id: str | None
    before: str
    after: str
    cause: str
    detail: str
    reason_code: str = ""
    """Where `detail` is a reason: the word for it that does not change (docs/media.md)."""


class EventList(msgspec.Struct, kw_only=True):
    """Newest first; `next` continues as `before`."""

    events: list[EventView]
    next: int | None


class OperatorController(Controller):
    path = "/"
    tags = ("operator",)

    @get("/channels", summary="Channels of the project with what flows and where it plays", opt=SCOPED)
    async def channels(
        self,
        request: Authorised,
        gateway: Services,
        offset: Offset = 0,
        limit: Limit = 100,
        device_id: FromQuery[str | None] = None,
    ) -> ChannelList:
        """`offset` counts the channels left out before the first; `device_id` narrows to one device."""
        project, bases = request.auth.project, address_bases(request, gateway)
        listing = await gateway.devices.channels(
            request.auth.scope, offset=offset, limit=limit, device_id=device_id or None
        )
        live = await gateway.streams.live(project.name, [channel.stream_name for channel, _ in listing.entries])
        views = [
            _channel(gateway, bases, channel, state, live.get(channel.stream_name))
            for channel, state in listing.entries
        ]
        return ChannelList(total=listing.total, channels=views)

    @get("/devices/{device_id:str}", summary="A device, also as it describes itself", opt=SCOPED)
    async def device(self, request: Authorised, gateway: Services, device_id: FromPath[str]) -> DeviceView:
        return _device(await gateway.devices.device(request.auth.scope, device_id))

    @get("/devices/{device_id:str}/events", summary="History of a device and its channels", opt=SCOPED)
    async def events(
        self,
        request: Authorised,
        gateway: Services,
        device_id: FromPath[str],
        channel_id: FromQuery[str | None] = None,
        before: Before = None,
        limit: Limit = 100,
    ) -> EventList:
        device = await gateway.devices.device(request.auth.scope, device_id)
        channel = ChannelId(channel_id) if channel_id else None
        found = await gateway.events.history(device.device_id, channel_id=channel, before=before, limit=limit)
        events = [
            EventView(
                number=number,
                at=event.at.astimezone(UTC),
                channel_id=event.channel_id,
                before=event.before,
                after=event.after,
                cause=event.cause.value,
                detail=event.detail,
            )
            for number, event in found
        ]
        return EventList(events=events, next=events[-1].number if len(events) == limit else None)


def _channel(
    gateway: Gateway, bases: Bases, channel: Channel, state: DeviceState, live: LiveStream | None
) -> ChannelView:
    failure = gateway.invitations.failure(channel.device_id, channel.channel_id)
    return ChannelView(
        device_id=channel.device_id,
        channel_id=channel.channel_id,
        name=channel.name,
        device_state=state.value,
        invitation_status=channel.status.value,
        stream_name=channel.stream_name,
        wanted=channel.wanted,
        stream=figures(live) if live is not None and live.first_packet_ms is not None else None,
        play=play(gateway.streams.channel_addresses(channel, bases, gateway.clock())) if channel.wanted else None,
        failure=None if failure is None else str(failure),
        failure_cause=None if failure is None else failure.cause.value,
    )


def play(addresses: PlayAddresses) -> Play:
    return Play(
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
    )


def figures(live: LiveStream) -> StreamFigures:
    return StreamFigures(
        video_codec=live.video_codec,
        width=live.width,
        height=live.height,
        fps=live.fps,
        audio_codec=live.audio_codec,
        without_sound=without_sound(live),
        rate_in_bps=live.rate_in_bps,
        received=live.received,
        expected=live.expected,
        viewers=dict(live.viewers),
    )


def _device(device: Device) -> DeviceView:
    return DeviceView(
        device_id=device.device_id,
        type=device.type.value,
        state=device.state.value,
        channels_query=device.catalogue.value,
        created_at=device.created_at,
        registered_at=device.registered_at,
        last_seen_at=device.last_seen_at,
        manufacturer=device.manufacturer,
        model=device.model,
        firmware=device.firmware,
        user_agent=device.user_agent,
        gb_version=device.gb_version,
    )
