"""Reception figures of one RTP source (RFC 3550 §6.4.1, §A.1, §A.3, §A.8). Pure."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

SEEN_MAX: Final = 4096
JUMP_MAX: Final = 3_000
"""A larger step of the sequence number is a restart of the sender, not a loss (MAX_DROPOUT of RFC 3550 §A.1)."""


@dataclass
class RtpStatistics:
    """Counts packets as they come. `clock_hz` is that of the time stamps."""

    clock_hz: int = 90_000
    received: int = 0
    bytes: int = 0
    duplicates: int = 0
    reordered: int = 0
    restarts: int = 0
    first_us: int = 0
    last_us: int = 0
    jitter: float = 0.0
    payload_types: Counter[int] = field(default_factory=Counter)
    markers: int = 0
    _base: int = -1
    _highest: int = -1
    _expected_before: int = 0
    _transit: float | None = None
    _seen: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def handle(self, now_us: int, sequence_number: int, timestamp: int, size: int) -> int | None:
        """Takes one packet; its extended sequence number, or None if it is a duplicate."""
        extended = self._extend(sequence_number)
        if extended in self._seen:
            self.duplicates += 1
            return None
        self._seen[extended] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        if not self.received:
            self.first_us = now_us
        self.reordered += extended < self._highest
        self._highest = max(self._highest, extended)
        self._base = min(self._base, extended)
        self.received += 1
        self.bytes += size
        self.last_us = now_us
        self._measure_jitter(now_us, timestamp)
        return extended

    @property
    def expected(self) -> int:
        """Packets from the lowest to the highest sequence number."""
        return self._expected_before + (self._highest - self._base + 1 if self.received else 0)

    @property
    def lost(self) -> int:
        return max(0, self.expected - self.received)

    @property
    def jitter_ms(self) -> float:
        return self.jitter * 1000 / self.clock_hz

    @property
    def seconds(self) -> float:
        return (self.last_us - self.first_us) / 1e6

    def _extend(self, sequence_number: int) -> int:
        """The number nearest the highest one; a restart begins a new cycle that no old packet can be confused with."""
        if self._base < 0:
            self._base = self._highest = (1 << 16) + sequence_number
            return self._highest
        delta = ((sequence_number - self._highest + 0x8000) & 0xFFFF) - 0x8000
        if abs(delta) <= JUMP_MAX:
            return self._highest + delta
        self.restarts += 1
        self._expected_before = self.expected
        self._base = self._highest = ((self._highest >> 16) + 2 << 16) + sequence_number
        return self._highest

    def _measure_jitter(self, now_us: int, timestamp: int) -> None:
        transit = now_us * self.clock_hz / 1e6 - timestamp
        if self._transit is not None:
            difference = abs(transit - self._transit)
            if difference < 10 * self.clock_hz:  # a jump of the time stamp is no jitter
                self.jitter += (difference - self.jitter) / 16
        self._transit = transit
