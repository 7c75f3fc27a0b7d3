"""Answers encoders that want to push: asks the store, judges, and lets them in or tells them why not."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol, TypeVar

import structlog

from gateway.accounts.errors import TooManyAttemptsError
from gateway.accounts.proofs import Attempts, Proof
from gateway.credentials.model import PushKey
from gateway.errors import GatewayError
from gateway.gb28181.limits import RateLimit
from gateway.media_event import MediaEvent
from gateway.store import Store
from gateway.streams.model import StreamRecord
from gateway.streams.push import Push, Refusal, TokenPolicy, judge
from gateway.streams.questions import Questions
from gateway.streams.sources import StreamSources
from media._core import CoreError, Feed

LOGGED_A_SECOND: Final = 5.0
UNAUTHORIZED: Final = frozenset({Refusal.NO_TOKEN, Refusal.WRONG_PROOF})
"""Mended by a proof, where one can be asked for."""
CHALLENGED: Final = "challenged"
"""What came of a push that showed no right yet, and was asked for a proof: the first step of Digest, and no failure."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class PublishRelay(Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def refuse_publish(self, ticket: int, reason: str, *, unauthorized: bool = False) -> None: ...


class Publishing:
    """`handle_media` takes the relay's events and never waits; `counts` is what came of the pushes."""

    def __init__(
        self,
        *,
        store: Store,
        relay: PublishRelay,
        sources: StreamSources,
        policy: TokenPolicy,
        clock: Callable[[], datetime],
        questions: Questions,
        attempts: Attempts,
    ) -> None:
        self.counts = Counter({"accepted": 0, CHALLENGED: 0, **{refusal.name.lower(): 0 for refusal in Refusal}})
        self._store = store
        self._relay = relay
        self._sources = sources
        self._policy = policy
        self._clock = clock
        self._questions = questions
        self._attempts = attempts
        self._logged = RateLimit[str](LOGGED_A_SECOND, LOGGED_A_SECOND)

    def handle_media(self, event: MediaEvent) -> None:
        """Only `publish` counts."""
        if event.kind != "publish":
            return
        detail = event.detail
        push = Push(
            app=detail["app"],
            name=detail["name"],
            query=detail.get("query", ""),
            proof=Proof.read(detail),
            challenged="challenged" in detail,
        )
        ticket, peer = int(detail["ticket"]), detail.get("peer", "")
        if not self._questions.ask(lambda: self._answer(ticket, push, peer)):
            self._refuse(ticket, push, peer, Refusal.BUSY)

    async def _answer(self, ticket: int, push: Push, peer: str) -> None:
        try:
            refusal = await self._decide_slowly(push, ticket, peer)
        except GatewayError:
            log.warning("a push cannot be judged", app=push.app, stream=push.name, peer=peer, exc_info=True)
            refusal = Refusal.FAILED
        if refusal is not None:
            self._refuse(ticket, push, peer, refusal)
        else:
            self.counts["accepted"] += 1
            log.info("push accepted", app=push.app, stream=push.name, peer=peer)

    async def _decide_slowly(self, push: Push, ticket: int, peer: str) -> Refusal | None:
        """Slower for those who guess at passwords."""
        if push.proof is None:
            return await self._decide(push, lambda stream: self._sources.accept(ticket, stream))
        try:
            with self._attempts.one(peer) as attempt:
                refusal = await self._decide(push, lambda stream: self._sources.accept(ticket, stream))
                attempt.failed = refusal is Refusal.WRONG_PROOF
                return refusal
        except TooManyAttemptsError:
            return Refusal.SLOWED

    async def open_feed(self, push: Push) -> Feed | Refusal:
        """Judges a push that is waited for, and opens its stream for frames; else why not."""
        try:
            opened = await self._decide(push, self._sources.open_feed)
        except GatewayError:
            log.warning("a push cannot be judged", app=push.app, stream=push.name, exc_info=True)
            opened = Refusal.FAILED
        self.counts[opened.name.lower() if isinstance(opened, Refusal) else "accepted"] += 1
        return opened

    async def _decide(self, push: Push, open_: Callable[[StreamRecord], T]) -> T | Refusal:
        named = await self._store.streams.own(push.name)
        if named is None:
            return Refusal.UNKNOWN
        async with self._sources.turn(named.app, named.name):
            stream = await self._store.streams.own(push.name)
            refusal = judge(push, stream, await self._key(stream), self._clock().timestamp(), self._policy)
            if refusal is not None:
                return refusal
            assert stream is not None, "judge refuses unknown streams"
            try:
                return open_(stream)
            except CoreError as error:
                log.debug("push not accepted", app=stream.app, stream=stream.name, error=str(error))
                return Refusal.TAKEN

    async def _key(self, stream: StreamRecord | None) -> PushKey | None:
        if stream is None or stream.access_key is None:
            return None
        return await self._store.push_keys.get(stream.project_id, stream.access_key)

    def _refuse(self, ticket: int, push: Push, peer: str, refusal: Refusal) -> None:
        if push.challenged and refusal is Refusal.NO_TOKEN:
            self.counts[CHALLENGED] += 1
            log.debug("who pushes is asked for a proof", app=push.app, stream=push.name, peer=peer)
        else:
            self._note(push, peer, refusal)
        try:
            self._relay.refuse_publish(ticket, refusal.value, unauthorized=refusal in UNAUTHORIZED)
        except CoreError as error:
            log.debug("who pushed has gone", app=push.app, stream=push.name, error=str(error))

    def _note(self, push: Push, peer: str, refusal: Refusal) -> None:
        self.counts[refusal.name.lower()] += 1
        if self._logged.allow(self._clock().timestamp(), ""):
            log.warning("push refused", app=push.app, stream=push.name, peer=peer, reason=refusal.value)
