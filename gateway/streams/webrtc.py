"""Streams by WebRTC: who may play or publish one, and the session that does. Whatever HTTP dialect asked.

The rights are those of other ways: a signed address or a token plays (docs/decisions/0013), the token rule of pushes
publishes (`gateway.streams.push`).
"""

import base64
import binascii
import hmac
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Final, Protocol

import structlog

from gateway.accounts.errors import TokenError
from gateway.errors import GatewayError
from gateway.metrics import Gathered
from gateway.store import Store
from gateway.streams.live import LiveStream
from gateway.streams.options import Form
from gateway.streams.push import Push, Refusal
from gateway.streams.traffic import StreamTraffic
from media._core import CoreError
from media.transcode import TranscodeError
from media.webrtc.negotiation import NotAcceptableError, OfferError
from media.webrtc.places import BusyError, CrowdedError
from media.webrtc.play import NothingToPlayError
from media.webrtc.service import NOBODY, Answered, Client, WebRtc

BEARER_MAX: Final = 4096

log = structlog.get_logger(__name__)


class Why(Enum):
    """Why there is no session, as far as who asked is concerned."""

    UNKNOWN = "unknown"
    FORBIDDEN = "forbidden"
    UNREADABLE = "unreadable"
    NOT_ACCEPTABLE = "not_acceptable"
    TAKEN = "taken"
    BUSY = "busy"
    CROWDED = "crowded"
    AWAY = "away"


class SessionRefusedError(GatewayError):
    """There is no session; `why` for programs, the text for people."""

    def __init__(self, why: Why, text: str) -> None:
        super().__init__(text)
        self.why = why


class SessionRelay(Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def stream(self, app: str, name: str) -> LiveStream | None: ...
    def sign(self, app: str, name: str, expires: int, generation: int = 0) -> str: ...


class WebRtcStreams:
    """`counts` is what came of the offers."""

    def __init__(
        self,
        *,
        store: Store,
        relay: SessionRelay,
        traffic: StreamTraffic,
        webrtc: WebRtc | None,
        clock: Callable[[], datetime],
        allows: Callable[[str, str, Form], bool] = lambda app, name, form: True,
    ) -> None:
        """`webrtc`: None if it is switched off; `allows`: whether a stream is given out so."""
        self.counts = Counter({"accepted": 0, **{why.value: 0 for why in Why}})
        self._store = store
        self._relay = relay
        self._traffic = traffic
        self._webrtc = webrtc
        self._clock = clock
        self._allows = allows

    @property
    def enabled(self) -> bool:
        """Whether sessions may be had at all."""
        return self._webrtc is not None

    def collectors(self) -> tuple[Gathered, ...]:
        """What is told at /metrics."""
        webrtc = self._webrtc
        return (
            Gathered(
                "gateway_webrtc_offers", "What came of WebRTC offers", "outcome", lambda: self.counts, counter=True
            ),
            Gathered(
                "gateway_webrtc_sessions", "WebRTC sessions", "kind", lambda: {} if webrtc is None else webrtc.counts
            ),
        )

    async def play(
        self, app: str, name: str, *, expires: str, sign: str, token: str, offer: str, client: Client = NOBODY
    ) -> Answered:
        """A session for a player who shows a signature (`expires`, `sign`) or a token. SessionRefusedError."""
        webrtc = self._on()
        live = self._relay.stream(app, name)
        stream = await self._store.streams.find(app, name)
        if live is None or stream is None:
            raise self._refused(Why.UNKNOWN, "no such stream flows")
        if stream.private and not self._signed(app, name, expires, sign, stream.generation):
            await self._check_token(app, name, token)
        if not self._allows(app, name, Form.WEBRTC):
            raise self._refused(Why.FORBIDDEN, "the stream is not given out by WebRTC: its options say so")
        try:
            answered = await webrtc.play(live.receiver, offer, client)
        except CoreError as error:
            raise self._refused(Why.BUSY, str(error)) from error
        except (
            OfferError,
            NotAcceptableError,
            NothingToPlayError,
            TranscodeError,
            BusyError,
            CrowdedError,
        ) as error:
            raise self._failed(error, app, name) from error
        self.counts["accepted"] += 1
        return answered

    async def publish(self, app: str, name: str, *, query: str, offer: str, client: Client = NOBODY) -> Answered:
        """A session for a publisher; `query` holds the parameters of a push. SessionRefusedError."""
        webrtc = self._on()
        opened = await self._traffic.publishing.open_feed(Push(app=app, name=name, query=query))
        if isinstance(opened, Refusal):
            why = {Refusal.UNKNOWN: Why.UNKNOWN, Refusal.TAKEN: Why.TAKEN, Refusal.FAILED: Why.AWAY}
            raise self._refused(why.get(opened, Why.FORBIDDEN), opened.value)
        try:
            answered = await webrtc.publish(opened, offer, client)
        except (OfferError, NotAcceptableError, TranscodeError, BusyError, CrowdedError, CoreError) as error:
            raise self._failed(error, app, name) from error
        self.counts["accepted"] += 1
        return answered

    async def close(self, session_id: str, kind: str) -> None:
        """Ends a session (`whep` or `whip`); SessionRefusedError if there is none. Who knows its id may."""
        if not await self._on().close(session_id, kind):
            raise self._refused(Why.UNKNOWN, "no such session")

    def _on(self) -> WebRtc:
        if self._webrtc is None:
            raise self._refused(Why.AWAY, "WebRTC is switched off (webrtc.enabled)")
        return self._webrtc

    def _signed(self, app: str, name: str, expires: str, sign: str, generation: int) -> bool:
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and sign):
            return False
        ours = self._relay.sign(app, name, int(expires), generation)
        theirs = f"expires={int(expires)}&sign={sign}"
        return hmac.compare_digest(ours.encode(), theirs.encode()) and self._clock().timestamp() < int(expires)

    async def _check_token(self, app: str, name: str, token: str) -> None:
        if not token or len(token) > BEARER_MAX:
            raise self._refused(Why.FORBIDDEN, "the stream is private: a signed address or a token is needed")
        try:
            allowed = await self._traffic.viewing.may_watch(app, name, token)
        except TokenError:
            allowed = False
        except GatewayError as error:
            raise self._refused(Why.AWAY, "tokens cannot be checked now") from error
        if not allowed:
            raise self._refused(Why.FORBIDDEN, "the token does not play this stream")

    def _failed(self, error: Exception, app: str, name: str) -> SessionRefusedError:
        if isinstance(error, OfferError):
            return self._refused(Why.UNREADABLE, str(error))
        if isinstance(error, CrowdedError):
            log.info("WebRTC session refused", stream=f"{app}/{name}", reason=str(error))
            return self._refused(Why.CROWDED, str(error))
        if isinstance(error, BusyError):
            return self._refused(Why.BUSY, str(error))
        if isinstance(error, CoreError):
            return self._refused(Why.TAKEN, str(error))
        return self._refused(Why.NOT_ACCEPTABLE, str(error))

    def _refused(self, why: Why, text: str) -> SessionRefusedError:
        self.counts[why.value] += 1
        return SessionRefusedError(why, text)


def push_query(query: str, bearer: str) -> str:
    """The parameters of a push: those of the address, or of a bearer token, which is their text in base64url without
    padding, or as it is (RFC 9725 §4.3 leaves to us what a token is)."""
    if not bearer or len(bearer) > BEARER_MAX:
        return query
    if "=" in bearer.rstrip("="):
        return bearer
    try:
        return base64.urlsafe_b64decode(bearer + "=" * (-len(bearer) % 4)).decode()
    except (binascii.Error, ValueError):
        return bearer
