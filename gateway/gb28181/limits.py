"""Rate limits and temporary bans for strangers, in bounded tables. Times are monotonic seconds."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class RateLimit(Generic[Key]):
    """A token bucket for each key: `rate` a second, bursts of `burst`. The table keeps the `capacity` last used keys.

    A key forgotten starts with a full bucket, so an attacker with many addresses gains at most `burst` for each.
    """

    def __init__(self, rate: float, burst: float, capacity: int = 16_384) -> None:
        self._rate, self._burst, self._capacity = rate, burst, capacity
        self._buckets: OrderedDict[Key, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def has(self, now: float, key: Key) -> bool:
        """Whether there is a token, without taking it."""
        tokens, at = self._buckets.get(key, (self._burst, now))
        return tokens + max(0.0, now - at) * self._rate >= 1.0

    def allow(self, now: float, key: Key) -> bool:
        """Takes one token; False if there is none."""
        tokens, at = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + max(0.0, now - at) * self._rate)
        allowed = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if allowed else tokens, max(now, at))
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        return allowed


class Bans(Generic[Key]):
    """Bans a key for `seconds` after `failures` failures within `window` seconds; the table keeps `capacity` keys."""

    def __init__(self, failures: int, window: float, seconds: float, capacity: int = 16_384) -> None:
        self._failures, self._window, self._seconds, self._capacity = failures, window, seconds, capacity
        self._keys: OrderedDict[Key, tuple[int, float, float]] = OrderedDict()  # failures, first at, banned until

    def __len__(self) -> int:
        return len(self._keys)

    def banned_for(self, now: float, key: Key) -> float:
        """Seconds that the ban still lasts; 0 if there is none."""
        entry = self._keys.get(key)
        return 0.0 if entry is None else max(0.0, entry[2] - now)

    def fail(self, now: float, key: Key) -> bool:
        """Counts a failure; True if it begins a ban."""
        count, first, until = self._keys.pop(key, (0, now, 0.0))
        if now - first > self._window:
            count, first = 0, now
        count += 1
        begins = count >= self._failures and until <= now
        self._keys[key] = (0, now, now + self._seconds) if begins else (count, first, until)
        if len(self._keys) > self._capacity:
            self._keys.popitem(last=False)
        return begins

    def succeed(self, key: Key) -> None:
        """Forgets a key's failures."""
        self._keys.pop(key, None)
