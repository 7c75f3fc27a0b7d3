"""SSRC numbers for media sessions: the ten digits of `y=` (GB/T 28181-2016 §C, RFC 3550 §8).

First digit 0 live, 1 history; digits 2–6 are digits 4–8 of the SIP server's id; the rest counts. The standard leaves
10,000 numbers a domain and kind; when half of them are in flight, counting goes on into the next prefix,
for a port of its own per session makes the prefix a courtesy, not a key.
"""

from collections import deque
from enum import Enum
from typing import Final, NewType

Ssrc = NewType("Ssrc", int)
"""32 bits as RTP carries them; `y=` is the same number in ten decimal digits."""

PER_PREFIX: Final = 10_000
PREFIXES: Final = 100_000


class SsrcKind(Enum):
    """The first digit of `y=`."""

    LIVE = 0
    HISTORY = 1


def to_y(ssrc: Ssrc) -> str:
    """The ten digits of `y=`."""
    return f"{ssrc:010d}"


def from_y(digits: str) -> Ssrc | None:
    """Reads `y=`; None unless it is ten digits that fit 32 bits. Zero counts as "not stated" (Dahua sends it)."""
    if len(digits) != 10 or not digits.isascii() or not digits.isdigit():
        return None
    number = int(digits)
    return Ssrc(number) if 0 < number <= 0xFFFF_FFFF else None


class SsrcAllocator:
    """Hands out numbers that are neither in flight nor fresh from use; O(1), no clock.

    `server_id`: the 20 digits of the SIP server. `quarantine`: seconds a released number rests, for packets of the old
    session may still be under way.
    """

    def __init__(self, server_id: str, quarantine: float = 30.0) -> None:
        self._prefix = int(server_id[3:8])
        self._quarantine = quarantine
        self._next = dict.fromkeys(SsrcKind, 0)
        self._taken: set[Ssrc] = set()
        self._resting: deque[tuple[float, Ssrc]] = deque()

    def allocate(self, now: float, kind: SsrcKind = SsrcKind.LIVE) -> Ssrc:
        """A number of that kind, in flight from now on."""
        self._wake(now)
        while True:  # ends: the span is always larger than what is taken
            ssrc = self._number(kind, self._next[kind])
            self._next[kind] = (self._next[kind] + 1) % self._span()
            if ssrc not in self._taken:
                break
        self._taken.add(ssrc)
        return ssrc

    def release(self, now: float, ssrc: Ssrc) -> None:
        """Ends a number's use; it rests before it comes again. Unknown ones are ignored."""
        if ssrc in self._taken:
            self._resting.append((now + self._quarantine, ssrc))

    @property
    def in_flight(self) -> int:
        """Numbers in use or at rest."""
        return len(self._taken)

    def _wake(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            self._taken.discard(self._resting.popleft()[1])

    def _span(self) -> int:
        """How many numbers are counted through: whole prefixes, always some room above those taken."""
        return PER_PREFIX * (1 + 2 * len(self._taken) // PER_PREFIX)

    def _number(self, kind: SsrcKind, index: int) -> Ssrc:
        prefix = (self._prefix + index // PER_PREFIX) % PREFIXES
        number = kind.value * 1_000_000_000 + prefix * PER_PREFIX + index % PER_PREFIX
        return Ssrc(number or 1)  # zero would read as "not stated"
