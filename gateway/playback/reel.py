"""The files of a playback in order of need: where it stands, how far it can go on, and which file comes next. Pure."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

AHEAD: Final = 1
"""Files that are fetched before they are needed."""


class Span(NamedTuple):
    """A file: from its first frame to its last, in milliseconds of the UNIX epoch."""

    start_ms: int
    end_ms: int


def number_at(spans: Sequence[Span], position_ms: int) -> int:
    """The file that a playback reads at a position: between two it is the later one."""
    number = max(0, bisect_right(spans, position_ms, key=lambda span: span.start_ms) - 1)
    return min(number + (position_ms >= spans[number].end_ms), len(spans) - 1)


def further(spans: Sequence[Span], position_ms: int, by_ms: float) -> int:
    """Where it stands after so much was played; what lies between two files is jumped over."""
    left = by_ms
    for start_ms, end_ms in spans[number_at(spans, position_ms) :]:
        position_ms = max(position_ms, start_ms)
        if left < end_ms - position_ms:
            break
        left -= max(0, end_ms - position_ms)
        position_ms = max(position_ms, end_ms)
        left = max(0.0, left)
    else:
        return position_ms
    return position_ms + int(left)


def playable_ms(
    spans: Sequence[Span],
    position_ms: int,
    ready: Collection[int],
    coming: Mapping[int, Callable[[int], float]],
    gone: Collection[int] = (),
) -> float:
    """How much can be played before something is missing; infinite if nothing is. `coming` tells of files of which a
    part is there how much of them can be played from a time of theirs on. What is missing of those that are `gone` is
    jumped over."""
    total = 0.0
    for number in range(number_at(spans, position_ms), len(spans)):
        start_ms, end_ms = spans[number]
        length = max(0, end_ms - max(position_ms, start_ms))
        if number not in ready:
            part = coming[number](max(0, position_ms - start_ms)) if number in coming else 0.0
            if number in gone:
                length = int(min(part, length))
            elif part < length or number not in coming:
                return total + part
        total += length
    return float("inf")


def near(spans: Sequence[Span], position_ms: int, gone: Collection[int] = ()) -> list[int]:
    """The file that is read now and those ahead, without those that are gone."""
    there = (one for one in range(number_at(spans, position_ms), len(spans)) if one not in gone)
    return list(islice(there, AHEAD + 1))


def wanted(spans: Sequence[Span], position_ms: int, ready: Collection[int], gone: Collection[int] = ()) -> int | None:
    """The file to be fetched next: the one that is read now, then those ahead."""
    return next((one for one in near(spans, position_ms, gone) if one not in ready), None)
