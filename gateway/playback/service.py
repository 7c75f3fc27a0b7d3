"""Playbacks: what was recorded of a stream as a stream of its own, which lives while somebody watches or steers it."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from gateway.errors import InvalidError, NotFoundError, QuotaError, UnavailableError
from gateway.media_event import MediaEvent
from gateway.playback.leader import Leader
from gateway.playback.recordings import Recordings
from gateway.scope import Scope
from gateway.store import Store
from gateway.streams.live import Bases, PlayAddresses, play_addresses
from gateway.streams.siblings import SUFFIX
from media._core import CoreError

PLAYBACKS_MAX: Final = 64
OF_STREAM_MAX: Final = 16
IDLE: Final = timedelta(seconds=60)
"""A playback that nobody watches or steers for so long ends."""
LOOK_SECONDS: Final = 5.0
SPEEDS: Final = (0.25, 16.0)

log = structlog.get_logger(__name__)


class Opened(Protocol):
    @property
    def id(self) -> int: ...


class Watched(Protocol):
    @property
    def viewers(self) -> Mapping[str, int]: ...


class PlaybackRelay(Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def open_playback(
        self,
        app: str,
        name: str,
        files: Sequence[tuple[str, int]],
        *,
        position_ms: int,
        end_ms: int | None,
        speed: float,
        paused: bool,
    ) -> Opened: ...
    def playback_seek(self, receiver: int, position_ms: int) -> None: ...
    def playback_speed(self, receiver: int, speed: float) -> None: ...
    def playback_pause(self, receiver: int, paused: bool) -> None: ...
    def close_receiver(self, receiver: int) -> None: ...
    def stream(self, app: str, name: str) -> Watched | None: ...
    def sign(self, app: str, name: str, expires: int, generation: int = 0) -> str: ...


@dataclass(slots=True, kw_only=True)
class Playback:
    """One that runs."""

    playback_id: str
    stream_id: str
    app: str
    name: str
    """Of the stream that plays it."""
    receiver: int
    begin: datetime
    end: datetime
    position: datetime
    speed: float
    paused: bool
    used_at: datetime
    leader: Leader
    still: bool
    """It stands still: somebody wants it so, or the next file is not there yet."""
    problems: int = 0
    """Files that could not be played."""
    private: bool = True
    """It plays only with a signed address, of the one generation that there is."""
    generation: int = 0

    @property
    def waiting(self) -> str:
        """Why the file it needs next cannot be fetched now; empty otherwise."""
        return self.leader.waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """What is to be changed; None stays."""

    position: datetime | None = None
    speed: float | None = None
    paused: bool | None = None


class Playbacks:
    """Every call is for one caller's scope. `handle_media` takes the relay's events, `run` ends what is idle."""

    def __init__(
        self,
        store: Store,
        relay: PlaybackRelay,
        recordings: Recordings,
        clock: Callable[[], datetime],
        *,
        address_life: timedelta = timedelta(hours=24),
        idle: timedelta = IDLE,
    ) -> None:
        self._store = store
        self._relay = relay
        self.recordings = recordings
        self._clock = clock
        self._address_life = address_life
        self._idle = idle
        self._running: dict[str, Playback] = {}
        self._leading: dict[str, asyncio.Task[None]] = {}
        self._opening = 0

    async def create(
        self, scope: Scope, name: str, begin: datetime, end: datetime, *, speed: float = 1.0, paused: bool = False
    ) -> Playback:
        """Plays what was recorded between two moments. NotFoundError if nothing was; InvalidError, QuotaError,
        UnavailableError."""
        _check_speed(speed)
        stream_id, app = await self._stream(scope, name)
        of_stream = sum(one.stream_id == stream_id for one in self._running.values())
        if len(self._running) + self._opening >= PLAYBACKS_MAX:
            raise QuotaError("playbacks", PLAYBACKS_MAX)
        if of_stream >= OF_STREAM_MAX:
            raise QuotaError("playbacks of a stream", OF_STREAM_MAX)
        self._opening += 1
        try:
            return await self._open(scope, name, (stream_id, app), begin, end, speed=speed, paused=paused)
        finally:
            self._opening -= 1

    async def _open(
        self,
        scope: Scope,
        name: str,
        of: tuple[str, str],
        begin: datetime,
        end: datetime,
        *,
        speed: float,
        paused: bool,
    ) -> Playback:
        stream_id, app = of
        found = (await self.recordings.list(scope, name, begin, end)).slices
        if not found:
            raise NotFoundError("recording of stream", name)
        playback_id = secrets.token_hex(8)
        play_name = f"playback-{playback_id}"
        leader = Leader(self.recordings.library, found, now=asyncio.get_running_loop().time)
        try:
            await leader.fetch(_ms(begin))
            leader.told(_ms(begin), speed, not paused)
            files = [(str(path), start_ms) for path, start_ms in await leader.files()]
            opened = self._relay.open_playback(
                app,
                play_name,
                files,
                position_ms=_ms(begin),
                end_ms=_ms(end),
                speed=speed,
                paused=paused or leader.held_up,
            )
        except BaseException as error:
            await leader.close()
            if isinstance(error, CoreError):
                raise UnavailableError(str(error)) from error
            raise
        playback = Playback(
            playback_id=playback_id,
            stream_id=stream_id,
            app=app,
            name=play_name,
            receiver=opened.id,
            begin=begin,
            end=end,
            position=max(begin, found[0].start_at),
            speed=speed,
            paused=paused,
            used_at=self._clock(),
            leader=leader,
            still=paused or leader.held_up,
        )
        self._running[playback_id] = playback
        self._leading[playback_id] = asyncio.create_task(leader.run(lambda: self._weigh(playback)))
        log.info("playback", app=app, stream=name, playback=playback_id, slices=len(found))
        return playback

    async def list(self, scope: Scope, name: str) -> Sequence[Playback]:
        """Those of a stream that run."""
        stream_id, _ = await self._stream(scope, name)
        return [one for one in self._running.values() if one.stream_id == stream_id]

    async def get(self, scope: Scope, name: str, playback_id: str) -> Playback:
        """One of a stream; NotFoundError also once it has ended."""
        stream_id, _ = await self._stream(scope, name)
        found = self._running.get(playback_id)
        if found is None or found.stream_id != stream_id:
            raise NotFoundError("playback", playback_id)
        return found

    async def find(self, app: str, name: str) -> Playback | None:
        """The one that runs under this name of a stream."""
        running = self._running.values()
        return next((one for one in running if (one.app, one.name) == (app, name) and one.receiver), None)

    async def steer(self, scope: Scope, name: str, playback_id: str, wish: Steering) -> Playback:
        """Seeks, speeds up, stops. NotFoundError, InvalidError; UnavailableError if too many wishes wait; what
        `Leader.fetch` raises if what lies there cannot be fetched: then it goes on as it was."""
        found = await self.get(scope, name, playback_id)
        if wish.speed is not None:
            _check_speed(wish.speed)
        if wish.position is not None and not found.begin <= wish.position <= found.end:
            raise InvalidError("position", "between begin and end of the playback")
        found.used_at = self._clock()
        if wish.position is not None:
            await found.leader.fetch(_ms(wish.position))
            if playback_id not in self._running:
                raise NotFoundError("playback", playback_id)
        try:
            if wish.speed is not None:
                self._relay.playback_speed(found.receiver, wish.speed)
                found.speed = wish.speed
            if wish.position is not None:
                self._relay.playback_seek(found.receiver, _ms(wish.position))
                found.position = wish.position
            found.paused = found.paused if wish.paused is None else wish.paused
            found.leader.told(_ms(found.position), found.speed, not found.paused)
            found.still = found.paused or found.leader.held_up
            self._relay.playback_pause(found.receiver, found.still)
        except CoreError as error:
            raise UnavailableError(str(error)) from error
        return found

    async def delete(self, scope: Scope, name: str, playback_id: str) -> None:
        """Ends one."""
        await self._end((await self.get(scope, name, playback_id)).playback_id)

    def addresses(self, playback: Playback, bases: Bases) -> PlayAddresses:
        """Where it plays."""
        expires = int((self._clock() + self._address_life).timestamp())
        query = self._relay.sign(playback.app, playback.name, expires)
        return play_addresses(playback.app, playback.name, bases, query=query)

    def handle_media(self, event: MediaEvent) -> None:
        """Notes where a playback stands, and when it has ended."""
        if event.kind not in {"playback_position", "ended", "failed"}:
            return
        found = next((one for one in self._running.values() if one.receiver == event.receiver), None)
        if found is None:
            return
        if event.kind != "playback_position":
            found.receiver = 0  # the files are let go with the next look
        elif "problem" in event.detail:
            found.problems += 1
            log.warning("a recording cannot be played", playback=found.playback_id, problem=event.detail["problem"])
        else:
            position_ms = int(event.detail["position_ms"])
            found.position = datetime.fromtimestamp(position_ms / 1000, UTC)
            speed = float(event.detail["speed"]) * float(event.detail.get("delivery", 1))
            found.leader.told(position_ms, speed, event.detail["paused"] == "0")

    async def run(self) -> None:
        """Ends playbacks that are over or that nobody uses, until it is cancelled; then all."""
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                await self.look()
        finally:
            for playback_id in list(self._running):
                await self._end(playback_id)

    async def look(self) -> None:
        """One look at all."""
        now = self._clock()
        for found in list(self._running.values()):
            if found.receiver and await self._is_watched(found):
                found.used_at = now
            if not found.receiver or now - found.used_at >= self._idle:
                await self._end(found.playback_id)

    async def _is_watched(self, found: Playback) -> bool:
        """By anybody, with its sound as it is or as AAC."""
        for name in (found.name, found.name + SUFFIX):
            live = await asyncio.to_thread(self._relay.stream, found.app, name)
            if live is not None and any(live.viewers.values()):
                return True
        return False

    def _weigh(self, found: Playback) -> None:
        """Lets a playback stand still, or go on, as files come."""
        still = found.paused or found.leader.held_up
        if still is not found.still and found.receiver:
            with suppress(CoreError):  # it has ended, or too many wishes wait: the next look tries again
                self._relay.playback_pause(found.receiver, still)
                found.still = still

    async def _end(self, playback_id: str) -> None:
        found = self._running.pop(playback_id, None)
        if found is None:
            return
        if found.receiver:
            self._relay.close_receiver(found.receiver)
        leading = self._leading.pop(playback_id)
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
        await found.leader.close()

    async def _stream(self, scope: Scope, name: str) -> tuple[str, str]:
        stream = await self._store.streams.get(scope, name)
        if stream is None:
            raise NotFoundError("stream", name)
        return stream.stream_id, stream.app


def _check_speed(speed: float) -> None:
    if not SPEEDS[0] <= speed <= SPEEDS[1]:
        raise InvalidError("speed", f"{SPEEDS[0]} to {SPEEDS[1]:g}")


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
