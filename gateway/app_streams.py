"""The part of the composition root that is about streams."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from gateway.accounts.quotas import Quotas
from gateway.accounts.service import Accounts
from gateway.clock import utc_now
from gateway.devices.model import ChannelId, DeviceId
from gateway.gb28181.invitation_service import Invitations
from gateway.media_settings import Media
from gateway.settings import Settings
from gateway.store import Store
from gateway.store.secrets import SecretBox
from gateway.streams.model import StreamRecord
from gateway.streams.option_book import OptionBook
from gateway.streams.options import StreamOptions
from gateway.streams.programs import Programs
from gateway.streams.push import TokenPolicy, token_rule
from gateway.streams.service import Streams
from gateway.streams.traffic import StreamTraffic
from gateway.streams.webrtc import WebRtcStreams
from media.relay import Relay
from media.webrtc.service import Options, WebRtc


def build_relay(settings: Settings, secrets: SecretBox) -> Relay:
    """The relay, not started."""
    rtp, media = settings.rtp, settings.media
    return Relay(
        rtp_host=rtp.host,
        rtp_port_min=rtp.port_min,
        rtp_port_max=rtp.port_max,
        rtp_shared_port=rtp.shared_port,
        threads=media.threads,
        play_key=secrets.derive("play addresses"),
        silence_ms=round(rtp.silence * 1000),
        no_viewer_ms=round(media.no_viewers * 1000),
        gop_bytes_max=media.gop_bytes_max,
        hls_segment_ms=round(media.hls_segment * 1000),
        merge_write_ms=round(media.merge_write * 1000),
        trusted_proxies=settings.http.trusted_proxies,
        hold_ms=round(rtp.hold * 1000),
        viewers_max=media.viewers_max,
    )


def build_traffic(settings: Settings, store: Store, relay: Relay, accounts: Accounts) -> StreamTraffic:
    """What the relay tells and asks about streams."""
    return StreamTraffic(
        store=store,
        relay=relay,
        accounts=accounts,
        tokens=token_policy(settings),
        clock=utc_now,
        allow_private=settings.pull.allow_private,
        programs=programs(settings),
        return_after=settings.pull.return_after or None,
    )


def programs(settings: Settings) -> Programs:
    """What is left to a program of its own."""
    ffmpeg = settings.ffmpeg
    return Programs(path=ffmpeg.path, protocols=frozenset(ffmpeg.protocols), arguments=tuple(ffmpeg.arguments))


def default_options(media: Media) -> StreamOptions:
    """What counts for streams of which nothing was chosen."""
    return StreamOptions(
        forms=media.forms,
        audio=media.audio,
        gop_bytes_max=media.gop_bytes_max,
        from_gop=media.from_gop,
        viewers_max=media.viewers_max,
        no_viewers=media.no_viewers,
        hls_segment=media.hls_segment,
        hls_segments=media.hls_segments,
        hls_always=media.hls_always,
        merge_write=media.merge_write,
        recording_form=media.recording_form,
    )


async def build_options(settings: Settings, store: Store, relay: Relay, traffic: StreamTraffic) -> OptionBook:
    """What was chosen for streams; to be built before any stream opens. UnavailableError."""
    options = OptionBook(store, relay, default_options(settings.media), stop=traffic.sources.stop_unwatched)
    await options.load()
    return options


def build_streams(
    settings: Settings,
    store: Store,
    relay: Relay,
    quotas: Quotas,
    secrets: SecretBox,
    *,
    traffic: StreamTraffic,
    invitations: Invitations,
) -> Streams:
    """The service; a channel whose addresses become void is called under the new generation from then on."""

    async def voided(stream: StreamRecord) -> None:
        channel = await store.channels.get(DeviceId(stream.device_id or ""), ChannelId(stream.channel_id or ""))
        if channel is not None:
            invitations.renew(channel)

    return Streams(
        store,
        relay,
        quotas,
        traffic.sources,
        tokens=token_policy(settings),
        channel_voided=voided,
        address_life=timedelta(seconds=settings.media.address_life),
        allow_private=settings.pull.allow_private,
        protocols=frozenset(settings.ffmpeg.protocols),
        identity_key=secrets.derive("identities of inputs"),
    )


@asynccontextmanager
async def open_webrtc(
    settings: Settings, store: Store, relay: Relay, traffic: StreamTraffic, book: OptionBook
) -> AsyncIterator[WebRtcStreams]:
    """Sessions of browsers; without, if it is switched off, any."""
    chosen = settings.webrtc
    options = Options(
        addresses=chosen.addresses,
        port_min=chosen.port_min,
        port_max=chosen.port_max,
        sessions_max=chosen.sessions_max,
        sessions_per_address_max=chosen.sessions_per_address_max,
        keep_opus=chosen.keep_opus,
        key_frame_seconds=chosen.key_frame_interval,
    )
    async with AsyncExitStack() as stack:
        webrtc = await stack.enter_async_context(WebRtc(relay, options)) if chosen.enabled else None
        yield WebRtcStreams(store=store, relay=relay, traffic=traffic, webrtc=webrtc, clock=utc_now, allows=book.allows)


def token_policy(settings: Settings) -> TokenPolicy:
    """How pushes are judged; InvalidError if the rule cannot be loaded."""
    rtmp = settings.rtmp
    return TokenPolicy(rule=token_rule(rtmp.token_rule), skew=rtmp.token_skew, life_max=rtmp.token_life_max)
