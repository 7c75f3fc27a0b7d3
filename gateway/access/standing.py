"""Channels that are wanted until further notice, because a record plan says so. Pure: no socket, no clock.

Slices (`gateway.access.agenda`) have a beginning and an end of their own; here somebody else tells what is wanted now
(`want`). Both let their calls out through the same gates, and a channel that both want is called by whoever comes first
and let go of by nobody as long as the other wants it: that is for the runner to see to.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from gateway.access.pace import Gate, back_off
from gateway.devices.model import ChannelId, DeviceId, InvitationStatus
from gateway.gb28181.deadlines import Deadlines

Key = tuple[DeviceId, ChannelId]
S = InvitationStatus
CALLABLE_AGAIN: Final = frozenset({S.OFFLINE, S.UNREGISTERED, S.CANCELING})
"""Who goes from one of these to ONLINE has not failed: it has come back, or somebody else let go of it."""


@dataclass(frozen=True, slots=True)
class Call:
    """Call the channel, unless it is called already."""

    key: Key


@dataclass(frozen=True, slots=True)
class Leave:
    """Nobody records the channel any more: hang up, unless somebody else wants it."""

    key: Key


class Standing:
    """What is wanted now, and what waits for its turn to be called or left."""

    def __init__(self, begin: Gate, end: Gate) -> None:
        self._begin, self._end = begin, end
        self._failures: dict[Key, int] = {}
        """Of all that are wanted: tries that failed in a row."""
        self._retries: Deadlines[Key] = Deadlines()
        self._calling: deque[Key] = deque()
        self._queued: set[Key] = set()
        """What is in `_calling`."""
        self._leaving: deque[Key] = deque()
        self._actions: deque[Call | Leave] = deque()

    def want(self, keys: Collection[Key]) -> None:
        """These are wanted from now on, and no others."""
        wanted = set(keys)
        for key in sorted(self._failures.keys() - wanted):
            del self._failures[key]
            self._retries.discard(key)
            self._leaving.append(key)
        for key in sorted(wanted - self._failures.keys()):
            self._failures[key] = 0
            self.again(key)

    def leave(self, keys: Collection[Key]) -> None:
        """A process before us called these; those that are not wanted now are left."""
        self._leaving += sorted(set(keys) - self._failures.keys())

    def wants(self, key: Key) -> bool:
        return key in self._failures

    @property
    def keys(self) -> Collection[Key]:
        """All that are wanted."""
        return self._failures.keys()

    def again(self, key: Key) -> None:
        """It may be called now, if it is wanted."""
        if key in self._failures and key not in self._queued:
            self._retries.discard(key)
            self._queued.add(key)
            self._calling.append(key)

    def handle_status(self, now: float, key: Key, before: str, after: str) -> None:
        """A channel went from one status to another."""
        if key not in self._failures:
            return
        if after == S.INVITE_SUCCESS:
            self._failures[key] = 0
            self._retries.discard(key)
        elif after == S.ONLINE and before in CALLABLE_AGAIN:
            self.again(key)
        elif after == S.ONLINE:
            self.failed(now, key)

    def failed(self, now: float, key: Key) -> None:
        """It could not be called; tried again after a while."""
        if key in self._failures and key not in self._retries and key not in self._queued:
            self._retries.set(key, now + back_off(self._failures[key]))
            self._failures[key] += 1

    def handle_timeout(self, now: float, room: int) -> None:
        """Lets time pass; called early, it does nothing. At most `room` calls are let out."""
        while (key := self._retries.pop_due(now)) is not None:
            self.again(key)
        while self._leaving and self._end.passes(now):
            key = self._leaving.popleft()
            if key not in self._failures:  # else it is wanted again
                self._actions.append(Leave(key))
        while self._calling and room > 0 and self._begin.passes(now):
            key = self._calling.popleft()
            self._queued.discard(key)
            if key in self._failures:
                self._actions.append(Call(key))
                room -= 1

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`, in monotonic seconds."""
        due = [at for at in (self._retries.next_timeout(),) if at is not None]
        due += [self._end.opens_at] if self._leaving else []
        due += [self._begin.opens_at] if self._calling else []
        return min(due, default=None)

    def poll_action(self) -> Call | Leave | None:
        """The next thing to do, oldest first."""
        return self._actions.popleft() if self._actions else None

    @property
    def counts(self) -> dict[str, int]:
        """How many channels are wanted, and how many wait for their turn."""
        return {"wanted": len(self._failures), "waiting": len(self._calling) + len(self._leaving)}
