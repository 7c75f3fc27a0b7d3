"""Draws the times of a day (VIS §4.3.4). Pure: the same timing, seed and day give the same times for ever.

A day is cut into cells of 10 minutes. A plan for RANDOM is a set of cells of the window, of the wanted size, that
falls into at most 6 runs; each run is a slice. Runs never touch, or they would be one, and so starts are at least 20
minutes apart.

The draw is from all sets that have a given number of runs when the window is bent to a ring, whose last cell is
followed by its first. That number is drawn first, from 2 to 5 as far as the window allows. Turning the ring maps these
sets onto each other, so each cell of the window is taken on exactly the same share of days; a run across the seam is
two slices, the first and the last of the window, and makes at most 6 of 5.
`docs/decisions/0009-how-access-times-are-drawn.md` has the counting.
"""

from bisect import bisect_right
from datetime import date
from hashlib import blake2b
from itertools import pairwise
from math import comb
from typing import Final

from gateway.access.model import RandomStrategy, Span, Timing, show_minutes
from gateway.errors import InvalidError

CELL: Final = 10
"""Minutes: starts, ends and lengths are multiples."""
DAY: Final = 24 * 60
START_MIN, START_MAX = 10, 23 * 60 + 40
END_MIN, END_MAX = 10, 23 * 60 + 50
SLICES_MAX: Final = 6
RUNS_MAX: Final = SLICES_MAX - 1
"""On the ring: the seam may cut one in two."""
CELLS_MAX: Final = DAY // CELL

_BINOMIALS: Final = tuple(tuple(comb(n, k) for n in range(CELLS_MAX + 1)) for k in range(RUNS_MAX))
"""`_BINOMIALS[k][n]`: sets of k among n."""


def check(timing: Timing) -> None:
    """Whether there are times for this: what passes always has a plan. InvalidError names the field as the API does."""
    _check_grid("start_time", timing.start, START_MIN, START_MAX)
    if timing.total < CELL or timing.total % CELL or timing.total > DAY:
        raise InvalidError("total_length", f"a multiple of {CELL} minutes, from {CELL} to {DAY}")
    if timing.kind is RandomStrategy.CONSECUTIVE:
        if timing.start + timing.total > DAY:
            raise InvalidError("total_length", "start_time and total_length together go past 24:00")
        return
    if timing.end is None:
        raise InvalidError("end_time", "needed for RANDOM")
    _check_grid("end_time", timing.end, END_MIN, END_MAX)
    if timing.end <= timing.start:
        raise InvalidError("end_time", "must be after start_time")
    if timing.start + timing.total > timing.end:
        raise InvalidError("total_length", "start_time and total_length together go past end_time")


def draw(timing: Timing, seed: str, day: date) -> tuple[Span, ...]:
    """The times of `day`, in order; InvalidError as `check`."""
    check(timing)
    if timing.kind is RandomStrategy.CONSECUTIVE or timing.end is None:
        return (Span(timing.start, timing.start + timing.total),)
    window, wanted = (timing.end - timing.start) // CELL, timing.total // CELL
    number = int.from_bytes(blake2b(f"{seed}/{day.isoformat()}".encode(), digest_size=32).digest())
    choices = run_counts(window, wanted)
    number, index = divmod(number, len(choices))
    cells = unrank(window, wanted, choices[index], number % count(window, wanted, choices[index]))
    return tuple(Span(timing.start + first * CELL, timing.start + last * CELL) for first, last in cells)


def run_counts(window: int, wanted: int) -> range:
    """How many runs a set of `wanted` of a ring's `window` cells may be drawn with; each is as likely.

    More than one whenever there is room for it; none, which is no run and no gap, if the window is wanted whole.
    """
    most = min(RUNS_MAX, wanted, window - wanted)
    return range(min(2, most), most + 1)


def count(window: int, wanted: int, runs: int) -> int:
    """How many different ranks `unrank` takes: each set has `runs` of them, one for each run that may come first."""
    if runs == 0:
        return 1
    return window * comb(wanted - 1, runs - 1) * comb(window - wanted - 1, runs - 1)


def unrank(window: int, wanted: int, runs: int, rank: int) -> list[tuple[int, int]]:
    """The slices (first cell, cell after the last; in order) of the set of this rank, which is below `count`."""
    if runs == 0:
        return [(0, window)]
    rank, turn = divmod(rank, window)
    rank, of_lengths = divmod(rank, _BINOMIALS[runs - 1][wanted - 1])
    lengths = _composition(wanted, runs, of_lengths)
    breaks = _composition(window - wanted, runs, rank)
    cells: list[tuple[int, int]] = []
    first = turn
    for length, gap in zip(lengths, breaks, strict=True):
        last = first + length
        if last <= window:
            cells.append((first, last))
        elif first >= window:
            cells.append((first - window, last - window))
        else:  # across the seam
            cells += [(first, window), (0, last - window)]
        first = last + gap
    return sorted(cells)


def _composition(total: int, parts: int, rank: int) -> list[int]:
    """The way of this rank to write `total` as a sum of `parts` positive numbers: a set of cuts among total - 1."""
    cuts = [total]
    for size in range(parts - 1, 0, -1):  # the combinatorial number system: greatest element first
        row = _BINOMIALS[size]
        element = bisect_right(row, rank) - 1
        rank -= row[element]
        cuts.append(element + 1)
    cuts.append(0)
    return [after - before for before, after in pairwise(reversed(cuts))]


def _check_grid(field: str, minutes: int, least: int, most: int) -> None:
    if not least <= minutes <= most or minutes % CELL:
        raise InvalidError(
            field, f"from {show_minutes(least)} to {show_minutes(most)}, with minutes that are a multiple of {CELL}"
        )
