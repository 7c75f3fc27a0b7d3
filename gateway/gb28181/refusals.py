"""REGISTERs that were not accepted, kept for whoever asks why a camera stays away. Pure; bounded, the oldest go first.

A challenge is no refusal, for every registration begins with one; but a device that never answers it has no password,
or does not get our 401. So both are kept, apart.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

import structlog

from gateway.gb28181.limits import RateLimit
from gateway.gb28181.registrar import FOREIGN_NONCE, UNAUTHENTICATED, UNKNOWN_DEVICE
from sip.digest import Verdict
from sip.flow import Flow

K = TypeVar("K")
V = TypeVar("V")

DEVICES_MAX: Final = 4_096
"""Ids of which refusals are kept; the same number of ids of which the last challenge is."""
KINDS_MAX: Final = 8
"""Different refusals (by reason and source) kept of one id."""
ID_LENGTH: Final = 32
LINES_RATE: Final = 5.0
"""Lines a second into the log, bursts of `LINES_BURST`: who makes up ids and addresses must not fill the disk."""
LINES_BURST: Final = 200.0
CHALLENGES: Final = frozenset({UNAUTHENTICATED, FOREIGN_NONCE, *(one.value for one in Verdict if one.is_stale)})
"""What only asks the device to answer anew."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Refusal:
    """REGISTERs of one id from one source, refused for one reason."""

    device_id: str
    """As it stood in From."""
    reason: str
    transport: str
    host: str
    port: int
    """Of the last one."""
    first_at: datetime
    last_at: datetime
    count: int = 1

    @property
    def wrong_password(self) -> bool:
        """The digest was wrong."""
        return self.reason == Verdict.WRONG.value

    @property
    def unknown_device(self) -> bool:
        """Nobody provisioned this id."""
        return self.reason == UNKNOWN_DEVICE


class Refusals:
    """Give it to the registration service: it notes each REGISTER that was not accepted, and forgets on success."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._refused: OrderedDict[str, OrderedDict[tuple[str, str], Refusal]] = OrderedDict()
        self._challenged: OrderedDict[str, Refusal] = OrderedDict()
        self._lines: RateLimit[None] = RateLimit(LINES_RATE, LINES_BURST)

    def note(self, user: str, flow: Flow, reason: str) -> None:
        """A REGISTER was not accepted. Each new reason of an id is logged once, not each attempt, and only so many a
        second."""
        user = user[:ID_LENGTH]
        now, (host, port) = self._clock(), flow.remote
        made = Refusal(user, reason, flow.transport, host, port, first_at=now, last_at=now)
        if reason in CHALLENGES:
            _put(self._challenged, user, made, DEVICES_MAX)
            return
        kinds = self._refused.get(user) or OrderedDict()
        _put(self._refused, user, kinds, DEVICES_MAX)
        key = host, reason
        before = kinds.get(key)
        if before is not None:
            made.first_at, made.count = before.first_at, before.count + 1
        elif self._lines.allow(now.timestamp(), None):
            log.warning("REGISTER not accepted", sender=user, flow=str(flow), reason=reason)
        _put(kinds, key, made, KINDS_MAX)

    def forget(self, device_id: str) -> None:
        """It has registered: what was wrong is mended."""
        self._refused.pop(device_id, None)
        self._challenged.pop(device_id, None)

    def of_device(self, device_id: str) -> list[Refusal]:
        """What was refused of REGISTERs that name this id, newest first."""
        return list(reversed(self._refused.get(device_id, {}).values()))

    def challenged(self, device_id: str) -> Refusal | None:
        """The last challenge that a REGISTER of this id got, whether it was answered or not."""
        return self._challenged.get(device_id)

    def of_source(self, host: str, limit: int = 100) -> list[Refusal]:
        """What was refused from one address, newest first."""
        return self._newest(lambda one: one.host == host, limit)

    def strangers(self, limit: int = 100) -> list[Refusal]:
        """Who knocks with an id that is nobody's: mistyped ids, forgotten cameras. Newest first."""
        return self._newest(lambda one: one.unknown_device, limit)

    def _newest(self, wanted: Callable[[Refusal], bool], limit: int) -> list[Refusal]:
        found = [one for kinds in self._refused.values() for one in kinds.values() if wanted(one)]
        return sorted(found, key=lambda one: one.last_at, reverse=True)[:limit]


def _put(table: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > most:
        table.popitem(last=False)
