"""Answers viewers of private streams who show a token in place of a signed address."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import structlog

from gateway.accounts.errors import TokenError
from gateway.accounts.model import Access
from gateway.errors import GatewayError
from gateway.scope import Scope
from gateway.streams.model import StreamRecord
from gateway.streams.questions import Questions
from media._core import CoreError

log = structlog.get_logger(__name__)


class PlayEvent(Protocol):
    """An event of the relay (`media._core.Event`)."""

    @property
    def kind(self) -> str: ...
    @property
    def detail(self) -> Mapping[str, str]: ...


class PlayRelay(Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def answer_play(self, ticket: int, allowed: bool) -> None: ...


class Verifier(Protocol):
    """Who knows tokens (`gateway.accounts.service.Accounts`)."""

    async def verify(self, text: str, at: datetime) -> Access:
        """What the bearer may do; TokenError."""


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
        relay: PlayRelay,
        clock: Callable[[], datetime],
        questions: Questions,
    ) -> None:
        self.counts = Counter[str](allowed=0, refused=0, busy=0, failed=0)
        self._streams = streams
        self._accounts = accounts
        self._relay = relay
        self._clock = clock
        self._questions = questions

    def handle_media(self, event: PlayEvent) -> None:
        """Only `play` counts."""
        if event.kind != "play":
            return
        detail = event.detail
        ticket, app, name, token = int(detail["ticket"]), detail["app"], detail["name"], detail.get("token", "")
        if not self._questions.ask(lambda: self._answer(ticket, app, name, token)):
            self._tell(ticket, "busy")

    async def _answer(self, ticket: int, app: str, name: str, token: str) -> None:
        try:
            allowed = await self.may_watch(app, name, token)
        except TokenError:
            allowed = False
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
        return access.project.name == app and await self._streams.get(access.scope, name) is not None

    def _tell(self, ticket: int, outcome: str) -> None:
        self.counts[outcome] += 1
        try:
            self._relay.answer_play(ticket, outcome == "allowed")
        except CoreError as error:
            log.debug("who wanted to watch has gone", error=str(error))
