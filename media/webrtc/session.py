"""What a player's and a publisher's session have in common: a peer connection that must stand in time, and an end."""

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

import structlog
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from media.webrtc.negotiation import Chosen, OfferError

CONNECT_SECONDS: Final = 15.0
"""From the answer until ICE and DTLS stand."""
CLOSE_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Session(ABC):
    """One peer. All of it runs in the engine's loop; `ended` is called once, there, when it is over."""

    kind = ""

    def __init__(self, ended: Callable[["Session"], None]) -> None:
        self.id = secrets.token_urlsafe(18)
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.reason = ""
        self._ended = ended
        self._over = asyncio.Event()
        self._stood = asyncio.Event()
        self.connection.on("connectionstatechange", self._changed)

    async def answer(self, chosen: Chosen, prepare: Callable[[], None]) -> str:
        """Takes the offer and makes the answer; `prepare` adds tracks between. OfferError if aiortc cannot
        follow it."""
        try:
            await self.connection.setRemoteDescription(RTCSessionDescription(chosen.offer, "offer"))
            prepare()
            await self.connection.setLocalDescription(await self.connection.createAnswer())
        except (ValueError, KeyError, IndexError) as error:
            raise OfferError(f"the offer cannot be answered: {error}") from error
        except Exception as error:
            if type(error).__module__.startswith("aiortc"):
                raise OfferError(f"the offer cannot be answered: {error}") from error
            raise
        return chosen.answer(self.connection.localDescription.sdp)

    def _changed(self) -> None:
        state = self.connection.connectionState
        if state == "connected":
            self._stood.set()
        elif state in {"failed", "closed"}:
            self.end("the peer is gone" if self._stood.is_set() else "no connection could be made")

    def end(self, reason: str) -> None:
        """Ends it; the first reason counts."""
        if not self._over.is_set():
            self.reason = reason
            self._over.set()

    async def run(self) -> None:
        """Until it is over; whatever happens, the connection is closed then."""
        work = asyncio.create_task(self.work(), name=f"{self.kind} {self.id}")
        over = asyncio.create_task(self._over.wait())
        stood = asyncio.create_task(self._stood.wait())
        try:
            await asyncio.wait({stood, over}, timeout=CONNECT_SECONDS, return_when="FIRST_COMPLETED")
            if not self._stood.is_set():
                self.end("it was not connected in time")
            await asyncio.wait({work, over}, return_when="FIRST_COMPLETED")
            if work.done() and not work.cancelled() and (error := work.exception()) is not None:
                log.warning("a WebRTC session failed", kind=self.kind, exc_info=error)
                self.end("our own fault")
            self.end("the stream is over")
        finally:
            tasks = (work, over, stood)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.connection.close()
            except TimeoutError:
                log.warning("a WebRTC connection could not be closed", kind=self.kind)
            self.released()
            self._ended(self)

    def released(self) -> None:  # noqa: B027  (a hook: some hold nothing)
        """Gives back what it held, once the connection is closed."""

    @abstractmethod
    async def work(self) -> None:
        """What it is there for; its end is the session's."""
