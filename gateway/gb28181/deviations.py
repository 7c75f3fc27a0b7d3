"""Departures from the standard that we accepted, counted per device by name."""

from collections.abc import Iterable, Mapping
from typing import Final

NAMES_MAX: Final = 64
"""Different names kept per device; more are counted under `OTHER`."""
OTHER: Final = "other"


class DeviationCounts:
    """Counts by name. Costs nothing for a device that behaves: the table is made at the first deviation."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] | None = None

    def add(self, names: Iterable[str]) -> None:
        """Counts each name once."""
        for name in names:
            if self._counts is None:
                self._counts = {}
            key = name if name in self._counts or len(self._counts) < NAMES_MAX else OTHER
            self._counts[key] = self._counts.get(key, 0) + 1

    def as_dict(self) -> Mapping[str, int]:
        """The counts so far, a copy."""
        return dict(self._counts or {})
