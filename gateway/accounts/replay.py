"""Signatures that were seen, so that none counts twice. Pure: the time is given."""

from datetime import datetime
from typing import Final

from gateway.errors import UnavailableError

CAPACITY: Final = 500_000
"""Signatures remembered, about 100 bytes each; beyond it signed requests are refused, for forgetting one would let it
be used again. They age out after 15 minutes: so many are more than 500 requests a second."""


class SeenSignatures:
    """Remembers each signature until its date has aged out; only verified ones are added, so strangers cannot fill it.

    Kept by the minute in which they age out: forgetting a minute's worth is one step.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._minutes: dict[int, set[bytes]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, signature: str, expires_at: datetime, now: datetime) -> bool:
        """False if it was seen before; UnavailableError if there is no room to remember it."""
        self._forget(now)
        minute, key = _minute(expires_at), bytes.fromhex(signature)[:16]
        known = self._minutes.get(minute)
        if known is not None and key in known:
            return False
        if self._count >= self._capacity:
            raise UnavailableError("too many signed requests")
        if known is None:
            known = self._minutes[minute] = set()
        known.add(key)
        self._count += 1
        return True

    def _forget(self, now: datetime) -> None:
        """Minutes are at most 31, whatever comes."""
        for minute in [minute for minute in self._minutes if minute < _minute(now)]:
            self._count -= len(self._minutes.pop(minute))


def _minute(at: datetime) -> int:
    return int(at.timestamp()) // 60
