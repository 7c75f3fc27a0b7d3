"""What flows: the relay as the domain sees it, and the addresses that play a stream. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote

G711: Final = ("PCMA", "PCMU")


class LiveStream(Protocol):
    """A stream in the relay at one moment (`media._core.Stream`)."""

    @property
    def app(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def receiver(self) -> int: ...
    @property
    def transport(self) -> str: ...
    @property
    def first_packet_ms(self) -> int | None: ...
    @property
    def video_codec(self) -> str | None: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def fps(self) -> float: ...
    @property
    def audio_codec(self) -> str | None: ...
    @property
    def expected(self) -> int: ...
    @property
    def received(self) -> int: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def rate_in_bps(self) -> int: ...
    @property
    def rate_out_bps(self) -> int: ...
    @property
    def rate_video_bps(self) -> int: ...
    @property
    def rate_audio_bps(self) -> int: ...
    @property
    def viewers(self) -> Mapping[str, int]: ...


class ReceivedStream(LiveStream, Protocol):
    """The same with all that diagnosis asks for."""

    @property
    def port(self) -> int: ...
    @property
    def peer(self) -> str | None: ...
    @property
    def ssrc(self) -> int | None: ...
    @property
    def payload(self) -> str | None: ...
    @property
    def opened_ms(self) -> int: ...
    @property
    def first_key_frame_ms(self) -> int | None: ...
    @property
    def gop(self) -> int: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def reordered(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def rejected(self) -> int: ...
    @property
    def jitter_ms(self) -> float: ...
    @property
    def faults(self) -> Mapping[str, int]: ...


class LiveViewer(Protocol):
    """Somebody who watches (`media._core.Viewer`)."""

    @property
    def id(self) -> int: ...
    @property
    def protocol(self) -> str: ...
    @property
    def peer(self) -> str | None: ...
    @property
    def since_ms(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def skips(self) -> int: ...
    @property
    def user_agent(self) -> str: ...


class RelayView(Protocol):
    """As much of the relay as is needed to tell about streams. Snapshots wait for the thread that the stream lives on,
    which has its turns a millisecond apart: ask for them off the loop."""

    def stream(self, app: str, name: str) -> LiveStream | None:
        """A snapshot; None if nothing of that name is open."""

    def streams(self) -> Sequence[LiveStream]:
        """A snapshot of all streams."""

    def viewers(self, app: str, name: str) -> Sequence[LiveViewer]:
        """Who watches a stream now, oldest first."""

    def kick(self, viewer: int) -> bool:
        """Sends a viewer away; False if it is gone."""

    def sign(self, app: str, name: str, expires: int, generation: int = 0) -> str:
        """The query that lets its bearer play the stream until `expires` (UNIX seconds), in this generation."""


@dataclass(frozen=True, slots=True)
class Bases:
    """How addresses begin: as the client reaches us."""

    http: str
    """http://host or https://host, with the port if need be."""
    rtmp: str | None
    """rtmp://host:port; None if nothing listens there."""
    rtsp: str | None
    """rtsp://host:port; None if nothing listens there."""
    webrtc: str | None
    """As `http`; None if WebRTC is switched off."""


@dataclass(frozen=True, slots=True)
class PlayAddresses:
    """One stream in every format that is served; `rtmp`, `rtsp` and `whep` are None where those are switched off."""

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
    rtsp: str | None
    whep: str | None


def without_sound(live: LiveStream | None) -> list[str]:
    """The formats, as `PlayAddresses` calls them, that leave a stream's sound out: those with TS have no G.711 beside
    pictures, for their players wait long for what they do not know. `audio=aac` behind the address brings it as AAC."""
    silent = live is not None and live.video_codec is not None and live.audio_codec in G711
    return ["http_ts", "ws_ts", "hls"] if silent else []


def play_addresses(app: str, name: str, bases: Bases, *, query: str) -> PlayAddresses:
    """`query` is the signature of a private stream (`RelayView.sign`), empty for a public one."""
    path = f"/{quote(app, safe='')}/{quote(name, safe='')}"
    base, query = bases.http, f"?{query}" if query else ""
    socket = f"ws{base.removeprefix('http')}"
    return PlayAddresses(
        http_flv=f"{base}{path}.live.flv{query}",
        ws_flv=f"{socket}{path}.live.flv{query}",
        http_ts=f"{base}{path}.live.ts{query}",
        ws_ts=f"{socket}{path}.live.ts{query}",
        http_fmp4=f"{base}{path}.live.mp4{query}",
        ws_fmp4=f"{socket}{path}.live.mp4{query}",
        hls=f"{base}{path}/hls.m3u8{query}",
        hls_fmp4=f"{base}{path}/hls.fmp4.m3u8{query}",
        hls_ll=f"{base}{path}/hls.ll.m3u8{query}",
        rtmp=None if bases.rtmp is None else f"{bases.rtmp}{path}{query}",
        rtsp=None if bases.rtsp is None else f"{bases.rtsp}{path}{query}",
        whep=None if bases.webrtc is None else f"{bases.webrtc}/whep{path}{query}",
    )
