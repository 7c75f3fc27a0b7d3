"""Which bytes of a file are there that comes in pieces, and which are fetched next. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

HURRIED_BYTES: Final = 512 * 1024
"""Asked for at once if somebody waits for them."""
MOST_BYTES: Final = 4 * 1024 * 1024
PIECES_MAX: Final = 100
"""With so many the first gap is closed before another piece is begun: the relay reads no longer list (`LIST_MAX` of
`media/core/relay/src/playback/disk.rs`)."""


class Pieces:
    """Fetch what `missing` says, `add` it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._there: list[tuple[int, int]] = []

    @property
    def whole(self) -> bool:
        return self.size == 0 or self._there == [(0, self.size)]

    def missing(self, at: int, *, hurried: bool) -> tuple[int, int] | None:
        """The bytes to be fetched next: the first that are missing from a byte on, few if it is `hurried`, then those
        before; None once all are there."""
        first = self.end(at)
        begins_another = all(behind != first for _, behind in self._there)
        if first >= self.size or (begins_another and len(self._there) >= PIECES_MAX):
            first = self.end(0)
        if first >= self.size:
            return None
        behind = next((one for one, _ in self._there if one > first), self.size)
        return first, min(first + (HURRIED_BYTES if hurried else MOST_BYTES), behind)

    def add(self, first: int, behind: int) -> None:
        """They are there now."""
        if behind <= first:
            return
        merged: list[tuple[int, int]] = []
        for one in sorted([*self._there, (first, behind)]):
            if merged and one[0] <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], one[1]))
            else:
                merged.append(one)
        self._there = merged

    def end(self, at: int) -> int:
        """How far it goes on from a byte without a gap; the byte itself if it is not there."""
        number = bisect_right(self._there, at, key=lambda piece: piece[0]) - 1
        return max(at, self._there[number][1]) if number >= 0 else at

    def listed(self) -> str:
        """As the relay reads it (`NAME.there` beside the file)."""
        return "".join(f"{first}-{behind}\n" for first, behind in self._there)


def place(entries: Sequence[tuple[int, int]], at_ms: int) -> int:
    """The byte from which a file is read at a time: of the last key frame before, or the file's first byte."""
    number = bisect_right(entries, at_ms, key=lambda entry: entry[0]) - 1
    return entries[number][1] if number >= 0 else 0


def reached_ms(entries: Sequence[tuple[int, int]], end: int) -> int:
    """Up to when a file can be played whose bytes are there up to `end`: the time of the last key frame by then."""
    number = bisect_right(entries, end, key=lambda entry: entry[1]) - 1
    return entries[number][0] if number >= 0 else 0
