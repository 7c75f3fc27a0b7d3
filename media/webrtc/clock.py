"""Sound and picture on one clock, by sender reports (RFC 3550 §6.4.1): as a publisher's say it, and as ours do. Pure.

A publisher's frames are placed by their RTP timestamps from where the first of a track arrived. Once both tracks were
reported, the one that stands too early is moved on, at once; it comes back slowly, so that times never run backwards.
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


class SentClock:
    """What the wall clock shows at a time of a stream that is sent, as NTP writes it: the same for both tracks."""

    def __init__(self) -> None:
        self._zero: int | None = None

    def begin(self, seconds: float, ntp: int) -> None:
        """Something of this time goes out; the first one says when that is."""
        if self._zero is None:
            self._zero = ntp - round(seconds * (1 << 32))

    def ntp(self, seconds: float) -> int:
        """The wall clock at a time of the stream; 0 before it began."""
        return 0 if self._zero is None else (self._zero + round(seconds * (1 << 32))) % (1 << 64)


class SentTimes:
    """What time of its stream an RTP timestamp of a track is; these begin anywhere (§5.1): a frame that was sent shows
    where."""

    def __init__(self) -> None:
        self._frame: tuple[int, int] | None = None
        self._origin: int | None = None

    def handle_frame(self, ticks: int, rate: int) -> None:
        """A frame of this time is about to be sent; `rate` ticks are a second."""
        self._frame = ticks, rate

    def handle_sent(self, timestamp: int) -> None:
        """The last packet of the latest frame had this timestamp."""
        if self._frame is not None:
            self._origin = (timestamp - self._frame[0]) & 0xFFFF_FFFF

    def seconds(self, timestamp: int) -> float | None:
        """The time of something sent lately; None as long as that is not known."""
        if self._frame is None or self._origin is None:
            return None
        ticks, rate = self._frame
        step = (timestamp - self._origin - ticks) & 0xFFFF_FFFF
        return (ticks + (step - (1 << 32) if step >= 1 << 31 else step)) / rate
