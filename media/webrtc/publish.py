"""A browser publishes a stream (WHIP): its frames, undecoded, are fed to the relay; Opus becomes AAC unless it may
stay."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from media._core import CoreError, Feed
from media.transcode import Run, Sound, TranscodeError, Transcoder
from media.webrtc.clock import TICKS, TrackClock, align
from media.webrtc.engine import ask_for_key_frame, take_frames, take_reports
from media.webrtc.negotiation import Chosen
from media.webrtc.session import Session

if TYPE_CHECKING:
    from media._core import AudioCodec

SILENCE_SECONDS: Final = 15.0
"""A publisher that sends nothing for so long has gone."""
CODINGS: Final[dict[str, "AudioCodec"]] = {"opus": "OPUS", "PCMA": "PCMA", "PCMU": "PCMU"}
RATES: Final[dict["AudioCodec", int]] = {"OPUS": 48_000, "PCMA": 8_000, "PCMU": 8_000}
SOUND_WAITING_MAX: Final = 100
"""Frames of sound that wait for the encoder; more are dropped."""

log = structlog.get_logger(__name__)


class PublishSession(Session):
    """Feeds one stream; ends with the publisher, and when the stream is closed."""

    kind = "whip"

    def __init__(
        self,
        ended: Callable[[Session], None],
        feed: Feed,
        chosen: Chosen,
        executor: Executor,
        *,
        keep_opus: bool,
        key_frame_seconds: float,
    ) -> None:
        super().__init__(ended)
        self._feed = feed
        self._chosen = chosen
        self._executor = executor
        self._key_frame_seconds = key_frame_seconds
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._heard = self._began
        self._video = TrackClock(TICKS)
        self._audio = TrackClock(RATES.get(chosen.audio or "OPUS", 48_000))
        self._sound: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(SOUND_WAITING_MAX)
        opus = Sound("OPUS", 48_000, 2)
        self._transcoder = Transcoder(opus, "AAC") if chosen.audio == "OPUS" and not keep_opus else None

    def prepare(self) -> None:
        """Takes the frames before they are decoded, and says what sound is to come."""
        for transceiver in self.connection.getTransceivers():
            take_frames(transceiver.receiver, self._handle_frame)
            clock = self._video if transceiver.kind == "video" else self._audio
            take_reports(transceiver.receiver, partial(self._handle_report, clock))
        into = self._transcoder.into if self._transcoder else None
        if into is not None:
            self._feed.announce_audio(into.codec, channels=into.channels, config=into.config)
        elif self._chosen.audio is not None:
            self._feed.announce_audio(self._chosen.audio, channels=2 if self._chosen.audio == "OPUS" else 1)

    def _handle_report(self, clock: TrackClock, timestamp: int, ntp: int) -> None:
        clock.report(timestamp, ntp)
        align(self._audio, self._video)

    def _handle_frame(self, coding: str, timestamp: int, data: bytes) -> None:
        if not data:
            return
        self._heard = self._loop.time()
        since = self._heard - self._began
        if coding == "H264":
            pts = self._video.ticks(timestamp, since)
            self._push("H264", pts, data)
        elif CODINGS.get(coding) == self._chosen.audio:
            pts = self._audio.ticks(timestamp, since)
            if self._transcoder is None:
                self._push(CODINGS[coding], pts, data)
            elif not self._sound.full():
                self._sound.put_nowait((pts, data))

    def _push(self, coding: str, pts: int, data: bytes) -> None:
        try:
            self._feed.push(coding, pts, pts, data)
        except CoreError:
            self.end("the stream was closed")

    async def work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ask_for_key_frames())
            if self._transcoder is not None:
                tasks.create_task(self._transcode(self._transcoder))

    def released(self) -> None:
        self._feed.close(self.reason)

    async def _ask_for_key_frames(self) -> None:
        """A browser makes key frames only when it is asked: who joins later needs them."""
        await self._stood.wait()
        self._heard = self._loop.time()
        while True:
            for transceiver in self.connection.getTransceivers():
                if transceiver.kind == "video":
                    ask_for_key_frame(transceiver.receiver)
            await asyncio.sleep(self._key_frame_seconds)
            if self._loop.time() - self._heard > SILENCE_SECONDS:
                self.end(f"nothing came for {SILENCE_SECONDS:.0f} s")

    async def _transcode(self, transcoder: Transcoder) -> None:
        while True:
            pts, data = await self._sound.get()
            try:
                runs: list[Run] = await self._loop.run_in_executor(self._executor, transcoder.handle, pts, data)
            except TranscodeError as error:
                log.debug("sound left out", error=str(error))
                continue
            for run in runs:
                self._push(transcoder.into.codec, run.pts_90k, run.data)
