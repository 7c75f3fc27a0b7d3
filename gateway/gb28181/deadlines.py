"""Deadlines of very many things in one heap: one timer serves them all, and moving a deadline later costs nothing."""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Deadlines(Generic[Key]):
    """At most one live entry a key. Times are monotonic seconds.

    A key is taken out when its entry falls due; if its real deadline has moved later meanwhile, its owner sets it anew.
    """

    def __init__(self) -> None:
        self._armed: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._armed)

    def __contains__(self, key: Key) -> bool:
        return key in self._armed

    def set(self, key: Key, due: float) -> None:
        """Arms the key for `due` at the latest; an earlier entry stays and will fire early."""
        armed = self._armed.get(key)
        if armed is not None and armed <= due:
            return
        self._armed[key] = due
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, key))
        if len(self._heap) > 2 * len(self._armed) + 64:
            self._heap = [entry for entry in self._heap if self._armed.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def discard(self, key: Key) -> None:
        """Forgets the key."""
        self._armed.pop(key, None)

    def next_timeout(self) -> float | None:
        """When the next entry falls due."""
        heap = self._heap
        while heap and self._armed.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> Key | None:
        """Takes out one key that is due; None if none is."""
        due = self.next_timeout()
        if due is None or due > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._armed[key]
        return key
