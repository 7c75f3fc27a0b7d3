"""A publisher's sound and picture on one clock, from what its sender reports say (RFC 3550 §6.4.1). Pure.

Frames are placed by their RTP timestamps from where the first of a track arrived. Once both tracks were reported, the
one that stands too early is moved on, at once; it comes back slowly, so that times never run backwards.
"""

from typing import Final

TICKS: Final = 90_000
APART_MAX: Final = 10 * TICKS
"""Reports that put the tracks further from their arrival are not believed."""
NOTICED: Final = TICKS * 30 // 1000
"""What is further off is mended at once: it would be seen."""
SLEW: Final = 0.02
"""Of the time that passes, what may be mended unseen."""


class TrackClock:
    """A track's RTP timestamps as ticks of 90 kHz from the session's beginning."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._last: int | None = None
        self._zero: float | None = None
        self._reported: float | None = None
        self._wanted = 0.0
        self._shift = 0.0

    def ticks(self, timestamp: int, seconds: float) -> int:
        """When a frame is, that arrived `seconds` after the session began."""
        before = self._last
        unwrapped = self._unwrap(timestamp)
        at = unwrapped * TICKS / self._rate
        if self._zero is None:
            self._zero = seconds * TICKS - at
        elif before is not None:
            self._mend(max(0.0, (unwrapped - before) * TICKS / self._rate))
        self._last = unwrapped
        return round(self._zero + self._shift + at)

    def report(self, timestamp: int, ntp: int) -> None:
        """The publisher's clock, as NTP writes it (seconds in 32 bits, and their fraction), stood so at an RTP
        timestamp."""
        unwrapped = self._unwrap(timestamp)
        if self._last is None:
            self._last = unwrapped
        self._reported = ntp * TICKS / (1 << 32) - unwrapped * TICKS / self._rate

    def behind(self, other: "TrackClock") -> float | None:
        """By how much later than it arrived this track should be put, if the other stays; None until both were
        reported, or if that is not to be believed."""
        if self._reported is None or other._reported is None or self._zero is None or other._zero is None:
            return None
        apart = (self._reported - other._reported) - (self._zero - other._zero)
        return apart if abs(apart) <= APART_MAX else None

    def move(self, ticks: float) -> None:
        """Frames are to be put so much later than they arrived, from the next on."""
        self._wanted = max(0.0, ticks)

    def _mend(self, passed: float) -> None:
        missing = self._wanted - self._shift
        if missing <= NOTICED:
            missing = max(-SLEW * passed, min(SLEW * passed, missing))
        self._shift += missing

    def _unwrap(self, timestamp: int) -> int:
        if self._last is None:
            return timestamp
        step = (timestamp - self._last) & 0xFFFF_FFFF
        return self._last + (step - (1 << 32) if step >= 1 << 31 else step)


def align(one: TrackClock, other: TrackClock) -> None:
    """Puts two tracks together as they were reported; call after each report."""
    apart = one.behind(other)
    if apart is not None:
        one.move(apart)
        other.move(-apart)
