"""Which slice is stored next: oldest first, streams in turn, buckets in turn, and none while its bucket is away. Pure.

A bucket that failed waits, twice as long after each failure, and is then tried with one slice alone; the first success
lets all others go. So a bucket that is away costs one try now and then, and no other bucket waits for it.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gateway.retention.model import Slice

WAIT_FIRST_SECONDS: Final = 1.0
WAIT_MAX_SECONDS: Final = 60.0
DESTINATION_LIMIT: Final = 10_000
"""Slices of one destination in memory; what is beyond stays in the database until there is room."""


@dataclass(slots=True, eq=False)
class _Stream:
    """Slices of one stream: those tried less often first, among them the oldest."""

    stream_id: str
    waiting: list[tuple[int, float, str, Slice]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Destination:
    name: str
    streams: dict[str, _Stream] = field(default_factory=dict)
    turns: deque[_Stream] = field(default_factory=deque)
    """Streams with something waiting, the next one first."""
    count: int = 0
    busy: int = 0
    failures: int = 0
    """In a row."""
    not_before: float = 0.0
    overflowed: bool = False


class Backlog:
    """Slices that wait to be stored; at most `at_once` are out at any time."""

    def __init__(self, *, at_once: int, limit: int = DESTINATION_LIMIT) -> None:
        self._at_once = at_once
        self._limit = limit
        self._destinations: dict[str, _Destination] = {}
        self._turns: deque[_Destination] = deque()
        self._known: dict[str, Slice] = {}
        self.size_bytes = 0
        """Of all that wait or are out."""
        self._out: dict[str, tuple[Slice, int]] = {}

    def __len__(self) -> int:
        """How many wait or are out."""
        return len(self._known)

    def add(self, found: Slice) -> None:
        """Takes a slice; one that is known already is left as it is, one that finds no room is left to `refills`."""
        place = self._destinations.get(found.destination)
        if place is None:
            place = self._destinations[found.destination] = _Destination(found.destination)
            self._turns.append(place)
        if found.slice_id in self._known:
            return
        if place.count >= self._limit:
            place.overflowed = True
            return
        place.count += 1
        self.size_bytes += found.size_bytes
        self._known[found.slice_id] = found
        _push(place, found, 0)

    def next(self, now: float) -> Slice | None:
        """The slice to store now; `done` or `failed` must follow. None if none may go."""
        if len(self._out) >= self._at_once:
            return None
        for _ in range(len(self._turns)):
            place = self._turns[0]
            self._turns.rotate(-1)
            if place.turns and now >= place.not_before and not (place.failures and place.busy):
                found, tries = _pop(place)
                place.busy += 1
                self._out[found.slice_id] = (found, tries)
                return found
        return None

    def done(self, slice_id: str) -> None:
        """The slice needs nothing more."""
        found, _ = self._out.pop(slice_id)
        place = self._destinations[found.destination]
        place.busy -= 1
        place.count -= 1
        place.failures, place.not_before = 0, 0.0
        del self._known[slice_id]
        self.size_bytes -= found.size_bytes

    def failed(self, found: Slice, now: float, jitter: float) -> float:
        """The slice, perhaps with another key by now, comes back and its bucket waits; returns for how long.

        `jitter` is from 0 to 1: so many buckets that went away together do not come back together.
        """
        _, tries = self._out.pop(found.slice_id)
        place = self._destinations[found.destination]
        place.busy -= 1
        _push(place, found, tries + 1)
        if now < place.not_before:  # another one of those that were out has told already
            return place.not_before - now
        place.failures += 1
        wait = min(WAIT_FIRST_SECONDS * 2.0 ** min(place.failures - 1, 30), WAIT_MAX_SECONDS) * (0.75 + jitter / 2)
        place.not_before = now + wait
        return wait

    def next_timeout(self, now: float) -> float | None:
        """When a bucket that waits may be tried again."""
        due = [place.not_before for place in self._turns if place.turns and place.not_before > now and not place.busy]
        return min(due, default=None)

    def refills(self) -> list[str]:
        """Destinations of which the database has more, and that have room again; each is told once."""
        found = [place for place in self._turns if place.overflowed and place.count <= self._limit // 2]
        for place in found:
            place.overflowed = False
        return [place.name for place in found]

    def oldest_at(self) -> datetime | None:
        """When the oldest slice began that is not stored yet."""
        return min((found.start_at for found in self._known.values()), default=None)

    def away(self) -> list[str]:
        """Destinations whose last try failed."""
        return [place.name for place in self._turns if place.failures]


def _push(place: _Destination, found: Slice, tries: int) -> None:
    stream = place.streams.get(found.stream_id)
    if stream is None:
        stream = place.streams[found.stream_id] = _Stream(found.stream_id)
        place.turns.append(stream)
    heapq.heappush(stream.waiting, (tries, found.start_at.timestamp(), found.slice_id, found))


def _pop(place: _Destination) -> tuple[Slice, int]:
    stream = place.turns.popleft()
    tries, _, _, found = heapq.heappop(stream.waiting)
    if stream.waiting:
        place.turns.append(stream)
    else:
        del place.streams[stream.stream_id]
    return found, tries
