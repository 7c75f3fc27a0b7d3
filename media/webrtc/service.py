"""WebRTC sessions, in a thread of their own with its own event loop: what they do per packet holds nobody else's loop.

The service knows neither HTTP nor rights: it is given a stream's receiver, or a feed, and an offer, and gives an
answer.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import structlog

from media._core import Feed
from media.units import Units
from media.webrtc.engine import EngineLoop, is_local, set_addresses
from media.webrtc.negotiation import Chosen, choose, parse, with_public_address
from media.webrtc.places import Places, key_of
from media.webrtc.play import PlaySession, choose_for, first_tracks
from media.webrtc.publish import PublishSession
from media.webrtc.session import Session

STOP_SECONDS: Final = 10.0
ENCODERS: Final = 2
"""Threads that decode and encode sound for all sessions."""
QUEUE_BYTES: Final = 8_388_608

T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How peers reach us, and what they may have."""

    addresses: tuple[str, ...] = ()
    """Offered to peers; empty: all of this machine but loopback. One that is not of this machine stands for a router
    that forwards the ports: it is told in place of our own."""
    port_min: int = 0
    port_max: int = 0
    """UDP ports, one a session and address; 0: any."""
    sessions_max: int = 100
    sessions_per_address_max: int = 0
    """Of one client; 0: as many as there are."""
    keep_opus: bool = False
    """Whether what browsers publish keeps its Opus, which not every player of FLV, RTMP and MPEG-TS reads; else it
    becomes AAC."""
    key_frame_seconds: float = 2.0
    """How often a publishing browser is asked for a key frame."""


class Subscriber(Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def subscribe(
        self, receiver: int, *, queue_bytes: int = 0, protocol: str = "", peer: str | None = None, agent: str = ""
    ) -> Units:
        """A stream's units; CoreError."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks for a session."""

    address: str = ""
    """As the front door saw it; empty if nobody knows."""
    agent: str = ""
    """What it calls itself."""


NOBODY: Final = Client()


@dataclass(frozen=True, slots=True)
class Answered:
    """A session that waits for its peer to connect."""

    session_id: str
    answer: str


class WebRtc:
    """All sessions; an async context manager. Its methods are called from another loop."""

    def __init__(self, relay: Subscriber, options: Options) -> None:
        self._relay = relay
        self._options = options
        self._sessions: dict[str, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = Places(options.sessions_max, options.sessions_per_address_max)
        self._held: dict[str, str] = {}
        self._public = next((address for address in options.addresses if not is_local(address)), None)
        self._loop = EngineLoop(options.port_min, options.port_max)
        self._thread = threading.Thread(target=self._run, name="webrtc", daemon=True)
        self._executor = ThreadPoolExecutor(ENCODERS, thread_name_prefix="sound")

    async def __aenter__(self) -> Self:
        set_addresses([address for address in self._options.addresses if address != self._public])
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._there(self._close_all())
        except TimeoutError:
            log.warning("WebRTC sessions could not all be closed")
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, STOP_SECONDS)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    @property
    def counts(self) -> dict[str, int]:
        """Sessions by kind."""
        kinds = Counter(session.kind for session in list(self._sessions.values()))
        return {"whep": kinds["whep"], "whip": kinds["whip"]}

    async def play(self, receiver: int, offer: str, client: Client = NOBODY) -> Answered:
        """A session that plays the stream. OfferError, NotAcceptableError, NothingToPlayError, TranscodeError,
        BusyError, CrowdedError; CoreError if the stream is gone or has as many viewers as it may have."""
        return await self._there(self._play(receiver, offer, client))

    async def publish(self, feed: Feed, offer: str, client: Client = NOBODY) -> Answered:
        """A session that feeds the stream; whatever comes, the feed is closed in the end. Errors as for `play`."""
        return await self._there(self._publish(feed, offer, client))

    async def close(self, session_id: str, kind: str) -> bool:
        """Ends a session; False if there is none of this kind."""
        session = self._sessions.get(session_id)
        if session is None or session.kind != kind:
            return False
        self._loop.call_soon_threadsafe(session.end, "its peer closed it")
        return True

    # -- in the engine's loop -----------------------------------------------------------------------------------------

    async def _play(self, receiver: int, offer: str, client: Client) -> Answered:
        parse(offer)
        place = self._places.take(client.address)
        try:
            peer = client.address if key_of(client.address) else None
            units = self._relay.subscribe(
                receiver, queue_bytes=QUEUE_BYTES, protocol="whep", peer=peer, agent=client.agent
            )
            try:
                tracks = await first_tracks(units)
                chosen = choose_for(tracks, offer)
                session = PlaySession(self._forget, units, tracks, chosen, self._executor)
                return await self._begin(session, chosen, session.prepare, place)
            except BaseException:
                units.close()
                raise
        except BaseException:
            self._places.free(place)
            raise

    async def _publish(self, feed: Feed, offer: str, client: Client) -> Answered:
        try:
            place = self._places.take(client.address)
            try:
                chosen = choose(offer, video="H264", sound=("OPUS", "PCMA", "PCMU"))
                session = PublishSession(
                    self._forget,
                    feed,
                    chosen,
                    self._executor,
                    keep_opus=self._options.keep_opus,
                    key_frame_seconds=self._options.key_frame_seconds,
                )
                return await self._begin(session, chosen, session.prepare, place)
            except BaseException:
                self._places.free(place)
                raise
        except BaseException:
            feed.close("the publisher could not be answered")
            raise

    async def _begin(self, session: Session, chosen: Chosen, prepare: Callable[[], None], place: str) -> Answered:
        """The session holds its place from here on, unless this fails."""
        try:
            answer = await session.answer(chosen, prepare)
        except BaseException:
            await session.connection.close()
            raise
        self._sessions[session.id] = session
        self._held[session.id] = place
        task = asyncio.create_task(session.run(), name=f"{session.kind} session")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Answered(session.id, with_public_address(answer, self._public) if self._public else answer)

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
        self._places.free(self._held.pop(session.id))
        log.info("WebRTC session ended", kind=session.kind, reason=session.reason)

    async def _close_all(self) -> None:
        for session in list(self._sessions.values()):
            session.end("the gateway stops")
        if self._tasks:
            await asyncio.wait(set(self._tasks))
