"""The durations of RFC 3261 §17 and two queues of deadlines. No clock: `now` is monotonic seconds, given.

`Expiry` is for many things that all live equally long: the ~160,000 answered requests that 5,000 devices a second
leave behind cost one list element each. `Deadlines` is for few things whose deadlines move.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timers:
    """RFC 3261 table 4, in seconds. `t1` is the round-trip estimate, `t2` the longest interval between
    retransmissions of a non-INVITE request, `t4` how long a message may stay in the network.

    `proceeding` bounds an INVITE that has been answered provisionally and then never finally; a proxy's timer C
    (RFC 3261 §16.6) taken for our own use, so that each transaction ends.
    """

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0
    proceeding: float = 180.0

    @property
    def timeout(self) -> float:
        """64·T1: timers B, F, H, and how long answered things are remembered (J, L, M)."""
        return 64 * self.t1

    def linger_invite_failure(self, *, reliable: bool) -> float:
        """Timer D: how long a refused INVITE client acknowledges retransmitted refusals, at least 32 s on UDP."""
        return 0.0 if reliable else max(32.0, self.timeout)

    def linger(self, *, reliable: bool) -> float:
        """Timers I and K: how long stray retransmissions are absorbed."""
        return 0.0 if reliable else self.t4

    def remember(self, *, reliable: bool) -> float:
        """Timer J: how long a non-INVITE server replays its response."""
        return 0.0 if reliable else self.timeout


class Expiry(Generic[T]):
    """Items that all expire `delay` seconds after they were added, in buckets of `grain` seconds.

    An item comes out at the earliest `delay` and at the latest `delay + grain` after it went in.
    """

    def __init__(self, delay: float, grain: float = 0.5) -> None:
        self._delay = delay
        self._grain = grain
        self._buckets: deque[tuple[float, list[T]]] = deque()

    def add(self, now: float, item: T) -> None:
        """Remembers `item`; `now` must not go backwards by more than `grain`."""
        due = now + self._delay
        if self._buckets and due <= self._buckets[-1][0]:
            self._buckets[-1][1].append(item)
        else:
            self._buckets.append((due + self._grain, [item]))

    def pop(self, now: float) -> Iterator[T]:
        """Yields and forgets what has expired."""
        while self._buckets and self._buckets[0][0] <= now:
            yield from self._buckets.popleft()[1]

    def pop_oldest(self) -> T | None:
        """Forgets one of the items that would expire next, and says which; None if there is none."""
        if not self._buckets:
            return None
        _, items = self._buckets[0]
        item = items.pop()
        if not items:
            self._buckets.popleft()
        return item

    def next_timeout(self) -> float | None:
        """When `pop` will next have something."""
        return self._buckets[0][0] if self._buckets else None


class Timed(Protocol):
    """Something with a deadline of its own that moves."""

    armed_at: float | None

    def next_timeout(self) -> float | None:
        """When it wants to be called, or None."""


D = TypeVar("D", bound=Timed)


class Deadlines(Generic[D]):
    """Knows which of many timed things is due. A deadline that only moves later costs nothing: the old entry
    fires, finds nothing due and is armed again."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, D]] = []
        self._count = 0

    def arm(self, item: D) -> None:
        """Call after anything that may have moved `item`'s deadline."""
        due = item.next_timeout()
        if due is None or (item.armed_at is not None and item.armed_at <= due):
            return
        item.armed_at = due
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, item))

    def pop(self, now: float) -> Iterator[D]:
        """Yields each thing that is due; arm it again afterwards. At most what was due at the call is yielded."""
        due: list[D] = []
        while self._heap and self._heap[0][0] <= now:
            armed_at, _, item = heapq.heappop(self._heap)
            if item.armed_at != armed_at:
                continue  # an earlier entry took its place
            item.armed_at = None
            wanted = item.next_timeout()
            if wanted is not None and wanted <= now:
                due.append(item)
            else:
                self.arm(item)
        yield from due

    def next_timeout(self) -> float | None:
        """When `pop` may have something; early at worst."""
        return self._heap[0][0] if self._heap else None

    def __len__(self) -> int:
        """Entries held, stale ones included."""
        return len(self._heap)
