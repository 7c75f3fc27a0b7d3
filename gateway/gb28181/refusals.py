"""Why devices that want to register do not: the first thing that an installer asks. Bounded."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from sip.flow import Flow

KEPT: Final = 1_000
"""Ids remembered; the longest quiet one gives way."""
USUAL: Final = frozenset({"not authenticated yet"})
"""Reasons that are part of every registration."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last REGISTER of an id that was not accepted, and how many there were since it was last."""

    user: str
    """Who it said it was; not proved."""
    reason: str
    flow: Flow
    at: datetime
    count: int


class Refusals:
    """Give `note` to the registration service; `forget` an id when it has registered."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._last: OrderedDict[str, Refusal] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def note(self, user: str, flow: Flow, reason: str) -> None:
        """A REGISTER was not accepted. Each new reason of an id is logged once, not each attempt."""
        if reason in USUAL:
            return
        user = user[:32]
        before = self._last.pop(user, None)
        self._last[user] = Refusal(user, reason, flow, self._clock(), 1 if before is None else before.count + 1)
        if len(self._last) > KEPT:
            self._last.popitem(last=False)
        if before is None or before.reason != reason:
            log.warning("REGISTER not accepted", sender=user, flow=str(flow), reason=reason)

    def forget(self, user: str) -> None:
        """It has registered: what was wrong is mended."""
        self._last.pop(user, None)

    def of(self, user: str) -> Refusal | None:
        """What kept this id out last; None if nothing has since it registered."""
        return self._last.get(user)

    def latest(self, limit: int = 100) -> list[Refusal]:
        """The newest first."""
        return list(reversed(self._last.values()))[:limit]
