"""A browser plays a stream (WHEP): pictures as they are, sound as they are or as Opus."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import av
import structlog
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from media._core import Unit, UnitTracks
from media.transcode import Run, Sound, TranscodeError, Transcoder
from media.units import Units
from media.webrtc.clock import SentClock
from media.webrtc.engine import report_by, send_h265
from media.webrtc.negotiation import Chosen, choose
from media.webrtc.session import Session

if TYPE_CHECKING:
    from media._core import AudioCodec

TRACKS_SECONDS: Final = 10.0
"""A stream that shows no unit for so long cannot be described."""
WAITING_MAX: Final = 64
"""Units that wait in a track; then the subscription fills, and goes on at a key frame."""
CATCH_UP: Final = 8
"""The cached GOP goes out so many times faster than it came: at once it would be lost on the way."""
TICKS: Final = 90_000
G711_RATE: Final = 8_000
G711_RUN: Final = 320
"""Samples in a packet at most: 40 ms."""
SENT_AS: Final[dict["AudioCodec", tuple["AudioCodec", ...]]] = {
    "PCMA": ("PCMA", "OPUS"),
    "PCMU": ("PCMU", "OPUS"),
    "OPUS": ("OPUS",),
    "AAC": ("OPUS",),
}
"""How sound may go out, the best first; what is not the stream's own is encoded."""

log = structlog.get_logger(__name__)


class NothingToPlayError(Exception):
    """The stream shows no unit, or is of a coding that WebRTC does not carry; the text says which."""


class SentTrack(MediaStreamTrack):
    """Ready-coded packets; aiortc puts them into RTP as they are."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._packets: asyncio.Queue[av.Packet[Any]] = asyncio.Queue(WAITING_MAX)

    async def put(self, data: bytes, pts: int, rate: int) -> None:
        """Waits while too many wait; `pts` counts `rate` a second."""
        packet: av.Packet[Any] = av.Packet(data)
        packet.pts, packet.time_base = pts, Fraction(1, rate)
        await self._packets.put(packet)

    async def recv(self) -> "av.Packet[Any]":
        if self.readyState != "live":
            raise MediaStreamError
        return await self._packets.get()


class G711Clock:
    """Counts samples, for times in 90 kHz, rounded, must not show as jitter."""

    def __init__(self) -> None:
        self._end: int | None = None

    def start(self, pts_90k: int, samples: int) -> int:
        """When a run begins: where the last one ended, if that is about what it says."""
        stated = round(pts_90k * G711_RATE / TICKS)
        if self._end is None or abs(stated - self._end) > G711_RATE // 50:
            self._end = stated
        start, self._end = self._end, self._end + samples
        return start


async def first_tracks(units: Units) -> UnitTracks:
    """What the stream is; NothingToPlayError if nothing comes."""
    try:
        async with asyncio.timeout(TRACKS_SECONDS):
            async for item in units:
                if isinstance(item, UnitTracks):
                    return item
    except TimeoutError:
        raise NothingToPlayError(f"the stream brought no key frame for {TRACKS_SECONDS:.0f} s") from None
    raise NothingToPlayError("the stream has ended")


def choose_for(tracks: UnitTracks, offer: str) -> Chosen:
    """What of the offer fits the stream; the errors of `choose`."""
    sound = SENT_AS[tracks.audio] if tracks.audio is not None else ()
    return choose(offer, video=tracks.video, sps=tracks.sps, sound=sound)


class PlaySession(Session):
    """Sends one subscription's units; ends with the stream, or when its codings change."""

    kind = "whep"

    def __init__(
        self,
        ended: Callable[[Session], None],
        units: Units,
        tracks: UnitTracks,
        chosen: Chosen,
        executor: Executor,
    ) -> None:
        super().__init__(ended)
        self._units = units
        self._tracks = tracks
        self._chosen = chosen
        self._executor = executor
        self._video = SentTrack("video") if chosen.video is not None else None
        self._audio = SentTrack("audio") if chosen.audio is not None else None
        self._g711 = G711Clock()
        self._transcoder: Transcoder | None = None
        self._began: tuple[float, int] | None = None

    def prepare(self) -> None:
        """Adds the tracks, between offer and answer. TranscodeError if the sound cannot be encoded."""
        tracks, audio, clock = self._tracks, self._chosen.audio, SentClock()
        if audio == "OPUS" and tracks.audio not in {None, "OPUS"}:
            self._transcoder = Transcoder(sound_of(tracks), "OPUS")
        for track in (self._video, self._audio):
            if track is not None:
                sender = self.connection.addTrack(track)
                report_by(sender, clock)
                if track is self._video and self._chosen.video == "H265":
                    send_h265(sender)

    async def work(self) -> None:
        await self._stood.wait()
        async for item in self._units:
            if isinstance(item, UnitTracks):
                if (item.video, item.audio) != (self._tracks.video, self._tracks.audio):
                    self.end("the stream's codings changed")
                    return
            else:
                await self._pace(item.dts_90k)
                await self._send(item)

    def released(self) -> None:
        self._units.close()

    async def _pace(self, dts: int) -> None:
        """What is cached goes out quickly, not at once; what is live is never early."""
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began = (now, dts)
        began, first = self._began
        early = (dts - first) / (TICKS * CATCH_UP) - (now - began)
        if early > 0:
            await asyncio.sleep(early)

    async def _send(self, unit: Unit) -> None:
        if unit.kind == "video":
            if self._video is not None:
                await self._video.put(unit.data, unit.pts_90k, TICKS)
        elif self._audio is not None:
            await self._send_sound(self._audio, unit)

    async def _send_sound(self, track: SentTrack, unit: Unit) -> None:
        if self._transcoder is not None:
            for run in await self._transcode(self._transcoder, unit):
                await track.put(run.data, run.pts_90k, TICKS)
        elif self._chosen.audio == "OPUS":
            await track.put(unit.data, unit.pts_90k, TICKS)
        else:
            channels = max(self._tracks.channels, 1)
            data = unit.data[::channels]
            for at in range(0, len(data), G711_RUN):
                piece = data[at : at + G711_RUN]
                pts = self._g711.start(unit.pts_90k + at * TICKS // G711_RATE, len(piece))
                await track.put(piece, pts, G711_RATE)

    async def _transcode(self, transcoder: Transcoder, unit: Unit) -> list[Run]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, transcoder.handle, unit.pts_90k, unit.data)
        except TranscodeError as error:
            log.debug("sound left out", error=str(error))
            return []


def sound_of(tracks: UnitTracks) -> Sound:
    """The sound of a stream that has some."""
    assert tracks.audio is not None
    return Sound(tracks.audio, tracks.sample_rate, tracks.channels, tracks.config)
