"""A stream beside another one: the same pictures, the sound as AAC, for players that cannot decode G.711.

It is a stream of its own under a name of its own, made for as long as somebody wants it; every output serves it. Its
pictures pass through undecoded, its sound through FFmpeg's codecs in a thread. Both keep the times of the stream that
they come from, so they stay together.
"""

import asyncio
from concurrent.futures import Executor
from typing import Protocol

import structlog

from media._core import CoreError, Feed, Unit, UnitTracks
from media.transcode import Run, Sound, TranscodeError, Transcoder
from media.units import Units

log = structlog.get_logger(__name__)


class Subscriber(Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def subscribe(self, receiver: int) -> Units:
        """A stream's units; CoreError."""


class Sibling:
    """Feeds `feed` with what the stream `receiver` brings, until either ends; `run` is its task."""

    def __init__(self, relay: Subscriber, receiver: int, feed: Feed, executor: Executor) -> None:
        """CoreError if the stream is gone."""
        self._units = relay.subscribe(receiver)
        self._feed = feed
        self._executor = executor
        self._transcoder: Transcoder | None = None
        self._sound: Sound | None = None

    async def run(self) -> None:
        """Until the stream ends, or the sibling is closed; cancelled, it closes the sibling."""
        reason = "the stream that it is made of has ended"
        try:
            async for item in self._units:
                if isinstance(item, UnitTracks):
                    self._announce(item)
                else:
                    await self._pass_on(item)
        except CoreError:
            reason = "closed"
        except TranscodeError as error:
            reason = str(error)
            log.warning("sound cannot become AAC", error=reason)
        finally:
            self._units.close()
            self._feed.close(reason)

    def _announce(self, tracks: UnitTracks) -> None:
        """Another sound has an encoder of its own; the same one goes on."""
        if tracks.audio is None:
            return
        sound = Sound(tracks.audio, tracks.sample_rate, tracks.channels, tracks.config)
        if sound == self._sound:
            return
        self._sound = sound
        self._transcoder = None if sound.codec == "AAC" else Transcoder(sound, "AAC")
        into = sound if self._transcoder is None else self._transcoder.into
        self._feed.announce_audio(into.codec, channels=into.channels, config=into.config)

    async def _pass_on(self, unit: Unit) -> None:
        if unit.kind == "video" or self._transcoder is None:
            self._feed.push(unit.codec, unit.pts_90k, unit.dts_90k, unit.data)
            return
        for run in await self._transcode(self._transcoder, unit):
            self._feed.push("AAC", run.pts_90k, run.pts_90k, run.data)

    async def _transcode(self, transcoder: Transcoder, unit: Unit) -> list[Run]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, transcoder.handle, unit.pts_90k, unit.data)
        except TranscodeError as error:
            log.debug("sound left out", error=str(error))
            return []
