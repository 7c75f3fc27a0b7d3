"""How fast calls follow each other. Pure."""

from typing import Final

BURST: Final = 0.25
"""Seconds that a rate may be made up for, when the loop was late."""
BACK_OFF: Final = (5.0, 15.0, 30.0, 60.0, 120.0)
"""Seconds before the first, second … try after a failure; the last one repeats."""


class Gate:
    """Lets so many through a second."""

    def __init__(self, rate: float) -> None:
        self._gap = 1.0 / rate
        self.opens_at = 0.0

    def passes(self, now: float) -> bool:
        """Whether one may pass now; then it has."""
        self.opens_at = max(self.opens_at, now - BURST)
        if self.opens_at > now:
            return False
        self.opens_at += self._gap
        return True


def back_off(failures: int) -> float:
    """Seconds to wait after that many failures in a row and one more."""
    return BACK_OFF[min(failures, len(BACK_OFF) - 1)]
