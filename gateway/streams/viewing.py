"""Answers viewers of private streams who show a token, or prove to have an access key, in place of a signed address."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import structlog

from gateway.accounts.errors import ForbiddenError, TokenError, TooManyAttemptsError
from gateway.accounts.model import Access
from gateway.accounts.proofs import Proof
from gateway.errors import GatewayError
from gateway.media_event import MediaEvent
from gateway.scope import Scope
from gateway.streams.model import StreamRecord
from gateway.streams.questions import Questions
from gateway.streams.siblings import SUFFIX
from media._core import CoreError

log = structlog.get_logger(__name__)


class PlayRelay(Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def answer_play(self, ticket: int, allowed: bool) -> None: ...


class Verifier(Protocol):
    """Who knows tokens (`gateway.accounts.service.Accounts`)."""

    async def verify(self, text: str, at: datetime) -> Access:
        """What the bearer may do; TokenError."""


class Prover(Protocol):
    """Who knows access keys (`gateway.accounts.proofs.KeyProofs`)."""

    async def access(self, proof: Proof, project_name: str, peer: str, at: datetime) -> Access:
        """What the user may do in the project; SignatureError, ForbiddenError, TooManyAttemptsError."""


class KnownStreams(Protocol):
    """Who knows streams (`gateway.store.streams.StreamStore`)."""

    async def get(self, scope: Scope, name: str) -> StreamRecord | None:
        """The stream, if it is in the scope."""


class Viewing:
    """`handle_media` takes the relay's events and never waits; `counts` is what came of the questions."""

    def __init__(
        self,
        *,
        streams: KnownStreams,
        accounts: Verifier,
        proofs: Prover,
        relay: PlayRelay,
        clock: Callable[[], datetime],
        questions: Questions,
    ) -> None:
        self.counts = Counter[str](allowed=0, refused=0, slowed=0, busy=0, failed=0)
        self._streams = streams
        self._accounts = accounts
        self._proofs = proofs
        self._relay = relay
        self._clock = clock
        self._questions = questions

    def handle_media(self, event: MediaEvent) -> None:
        """Only `play` counts."""
        if event.kind != "play":
            return
        detail = event.detail
        ticket = int(detail["ticket"])
        if not self._questions.ask(lambda: self._answer(ticket, detail)):
            self._tell(ticket, "busy")

    async def _answer(self, ticket: int, detail: Mapping[str, str]) -> None:
        app, name, peer, proof = detail["app"], detail["name"], detail.get("peer", ""), Proof.read(detail)
        try:
            if proof is None:
                allowed = await self.may_watch(app, name, detail.get("token", ""))
            else:
                allowed = await self._may_watch_by(proof, app, name, peer)
        except (TokenError, ForbiddenError):
            allowed = False
        except TooManyAttemptsError as error:
            log.info("viewer held up", app=app, stream=name, peer=peer, seconds=round(error.wait, 1))
            self._tell(ticket, "slowed")
            return
        except GatewayError:
            log.warning("a viewer cannot be judged", app=app, stream=name, exc_info=True)
            self._tell(ticket, "failed")
            return
        self._tell(ticket, "allowed" if allowed else "refused")

    async def may_watch(self, app: str, name: str, token: str) -> bool:
        """Whether the token is of the project that has the stream, and the user is not shut out from it.

        TokenError for a token that is none.
        """
        access = await self._accounts.verify(token, self._clock())
        return access.project.name == app and await self._is_known(access.scope, name)

    async def _may_watch_by(self, proof: Proof, app: str, name: str, peer: str) -> bool:
        access = await self._proofs.access(proof, app, peer, self._clock())
        return await self._is_known(access.scope, name)

    async def _is_known(self, scope: Scope, name: str) -> bool:
        """A stream that is made beside another one has the rights of that one."""
        return await self._streams.get(scope, name.removesuffix(SUFFIX)) is not None

    def _tell(self, ticket: int, outcome: str) -> None:
        self.counts[outcome] += 1
        try:
            self._relay.answer_play(ticket, outcome == "allowed")
        except CoreError as error:
            log.debug("who wanted to watch has gone", error=str(error))
