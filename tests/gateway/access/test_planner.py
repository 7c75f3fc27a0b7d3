"""`gateway.access.planner`: every plan obeys every rule, every feasible timing has one, and none is favoured."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.model import RandomStrategy, Span, Timing
from gateway.access.planner import CELL, check, count, draw, run_counts, unrank
from gateway.errors import InvalidError

FIRST = date(2026, 3, 1)
R, C = RandomStrategy.RANDOM, RandomStrategy.CONSECUTIVE


def timing(start: int, end: int | None, total: int, kind: RandomStrategy = R) -> Timing:
    return Timing(kind=kind, start=start, end=end, total=total)


def obeys(plan: Sequence[Span], wanted: Timing) -> bool:
    """The rules of §4.3.4, written without regard to how plans are drawn."""
    end = wanted.end if wanted.kind is R else wanted.start + wanted.total
    return (
        end is not None
        and 1 <= len(plan) <= 6
        and all(time % 10 == 0 for span in plan for time in span)
        and all(10 <= span.end - span.start <= wanted.total for span in plan)
        and all(later.start - earlier.start >= 20 for earlier, later in pairwise(plan))
        and all(later.start >= earlier.end for earlier, later in pairwise(plan))
        and plan[0].start >= wanted.start
        and plan[-1].end <= end <= 24 * 60
        and sum(span.end - span.start for span in plan) == wanted.total
    )


def legal_sets(window: int, wanted: int) -> Iterator[frozenset[int]]:
    """All sets of cells that obey the rules, by trying all sets."""
    for cells in combinations(range(window), wanted):
        plan = _slices(cells)
        if obeys(plan, timing(600, 600 + window * CELL, wanted * CELL)):
            yield frozenset(cells)


def _slices(cells: Sequence[int], origin: int = 600) -> list[Span]:
    spans: list[Span] = []
    for cell in cells:
        begin = origin + cell * CELL
        if spans and spans[-1].end == begin:
            spans[-1] = Span(spans[-1].start, begin + CELL)
        else:
            spans.append(Span(begin, begin + CELL))
    return spans


def _runs_of_ring(cells: frozenset[int], window: int) -> int:
    return sum((cell - 1) % window not in cells for cell in cells)


def _cells(plan: Sequence[Span], origin: int) -> frozenset[int]:
    return frozenset(
        cell for span in plan for cell in range((span.start - origin) // CELL, (span.end - origin) // CELL)
    )


# -- the whole space of parameters ------------------------------------------------------------------------------------


def test_every_window_and_length_has_plans_that_obey_the_rules() -> None:
    """All 10,153 pairs of window and length; where the window lies changes with them."""
    tried = 0
    for window in range(1, 143):
        for wanted in range(1, window + 1):
            start = 10 + (wanted * 7 % (143 - window)) * CELL
            given_timing = timing(start, start + window * CELL, wanted * CELL)
            for day in range(2):
                plan = draw(given_timing, f"{window}-{wanted}", FIRST + timedelta(day))
                assert obeys(plan, given_timing), (given_timing, plan)
            tried += 1
    assert tried == 142 * 143 // 2


def feasible(wanted: Timing) -> bool:
    """§4.3.4, written without regard to how it is checked."""
    last = wanted.end if wanted.kind is R else 24 * 60
    assert last is not None
    fits = 10 <= wanted.start <= 1420 and wanted.total >= 10 and wanted.start + wanted.total <= last
    return fits and (wanted.kind is C or (10 <= last <= 1430 and last > wanted.start))


@pytest.mark.parametrize("kind", [R, C])
def test_what_is_feasible_has_a_plan_and_what_is_not_is_refused(kind: RandomStrategy) -> None:
    """Every start with every end, and of lengths those at which anything changes: as many checks each time, however
    busy the machine. Of what is feasible every 40th is drawn, with a seed and a day of its own."""
    passed = refused = 0
    for start in range(0, 1451, CELL):
        for end in range(0, 1451, CELL) if kind is R else (start,):
            window = end - start if kind is R else 24 * 60 - start
            for total in {0, CELL, 2 * CELL, window // 20 * CELL, window - CELL, window, window + CELL, 1440, 1450}:
                wanted = timing(start, end, total, kind)
                if feasible(wanted):
                    check(wanted)
                    passed += 1
                    if passed % 40 == 0:
                        assert obeys(draw(wanted, f"{passed:032x}", FIRST + timedelta(passed)), wanted)
                else:
                    with pytest.raises(InvalidError):
                        check(wanted)
                    refused += 1
    assert (passed, refused) == ((49_217, 140_022) if kind is R else (703, 592))


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 142), st.integers(1, 142), st.integers(0, 2**128 - 1), st.dates())
def test_any_seed_and_day_give_a_plan(window: int, wanted: int, seed: int, day: date) -> None:
    """Seeds are 32 hexadecimal digits, as they are made."""
    asked = timing(10, 10 + window * CELL, min(wanted, window) * CELL)
    assert obeys(draw(asked, f"{seed:032x}", day), asked)


@settings(deadline=None)
@given(st.integers(0, 1500), st.integers(0, 1500), st.integers(-10, 1500))
def test_what_is_off_the_grid_is_refused(start: int, end: int, total: int) -> None:
    if start % 10 or end % 10 or total % 10:
        with pytest.raises(InvalidError):
            check(timing(start, end, total))


@pytest.mark.parametrize("window", range(1, 11))
def test_trying_all_sets_finds_plans_exactly_where_the_planner_does(window: int) -> None:
    for wanted in range(1, window + 2):
        exists = any(True for _ in legal_sets(window, wanted))
        try:
            check(timing(600, 600 + window * CELL, wanted * CELL))
        except InvalidError:
            assert not exists
        else:
            assert exists


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (timing(0, 1200, 10), "start_time"),
        (timing(1430, 1430, 10), "start_time"),
        (timing(605, 1200, 10), "start_time"),
        (timing(600, 1440, 10), "end_time"),
        (timing(600, 1205, 10), "end_time"),
        (timing(600, 600, 10), "end_time"),
        (timing(600, None, 10), "end_time"),
        (timing(600, 700, 0), "total_length"),
        (timing(600, 700, 15), "total_length"),
        (timing(600, 700, 110), "total_length"),
        (timing(600, None, 850, C), "total_length"),
    ],
)
def test_an_error_names_the_field(wanted: Timing, field: str) -> None:
    with pytest.raises(InvalidError) as refused:
        check(wanted)
    assert refused.value.field == field


# -- the draw ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [2, 3, 5, 8, 11])
def test_ranks_reach_every_set_equally_often_and_every_cell_too(window: int) -> None:
    """Exhaustive: the ranks of one number of runs are all legal sets with that many on the ring, each `runs` times."""
    for wanted in range(1, window + 1):
        legal = list(legal_sets(window, wanted))
        for runs in run_counts(window, wanted):
            ranks = count(window, wanted, runs)
            drawn = Counter(
                frozenset(cell for first, last in unrank(window, wanted, runs, rank) for cell in range(first, last))
                for rank in range(ranks)
            )
            assert set(drawn) == {cells for cells in legal if _runs_of_ring(cells, window) == runs}
            assert set(drawn.values()) == {max(runs, 1)}
            taken = Counter(cell for cells in drawn for cell in cells)
            assert {taken[cell] * window for cell in range(window)} == {len(drawn) * wanted}


def test_consecutive_is_one_slice_from_the_start_whatever_the_end() -> None:
    for end in (None, 10, 605):
        assert draw(timing(600, end, 840, C), "a", FIRST) == (Span(600, 1440),)


@pytest.mark.parametrize(
    ("window", "wanted", "slices"),
    [(48, 24, {2, 3, 4, 5, 6}), (48, 1, {1}), (48, 2, {2}), (12, 12, {1}), (12, 11, {1, 2}), (12, 10, {2, 3})],
)
def test_there_are_several_slices_where_there_is_room(window: int, wanted: int, slices: set[int]) -> None:
    """Six are made of five on the ring; with 10 minutes to spare the break may fall on the window's edge."""
    wished = timing(600, 600 + window * CELL, wanted * CELL)
    assert {len(draw(wished, "a", FIRST + timedelta(day))) for day in range(2000)} == slices


def test_each_cell_of_the_window_is_taken_as_often_as_any_other() -> None:
    """20,000 days of 10:00 to 18:00 with 240 minutes: each cell on half of them, within 4 standard deviations."""
    wished, days = timing(600, 1080, 240), 20_000
    taken = Counter(cell for day in range(days) for cell in _cells(draw(wished, "camera", FIRST + timedelta(day)), 600))
    deviation = (days * 0.5 * 0.5) ** 0.5
    assert len(taken) == 48
    assert max(abs(number - days * 0.5) for number in taken.values()) < 4 * deviation


def test_numbers_of_runs_are_drawn_equally_often() -> None:
    wished, days = timing(600, 1080, 240), 8_000
    runs = Counter(
        _runs_of_ring(_cells(draw(wished, "camera", FIRST + timedelta(day)), 600), 48) for day in range(days)
    )
    assert sorted(runs) == [2, 3, 4, 5]
    assert chi_square([runs[number] for number in runs], days / 4) < 21.1  # 3 degrees of freedom


def test_sets_are_drawn_equally_often() -> None:
    """4 of 8 cells: each run count as likely, and within it each set."""
    wished, days = timing(600, 680, 40), 60_000
    drawn = Counter(_cells(draw(wished, "camera", FIRST + timedelta(day)), 600) for day in range(days))
    choices = run_counts(8, 4)
    for runs in choices:
        sets = [cells for cells in legal_sets(8, 4) if _runs_of_ring(cells, 8) == runs]
        found = [drawn[cells] for cells in sets]
        freedom = len(sets) - 1
        mean = days / len(choices) / len(sets)
        limit = freedom + 4 * (2 * freedom) ** 0.5 + 10  # far beyond what chance gives once in ten thousand
        assert chi_square(found, mean) < limit


def chi_square(found: Sequence[int], expected: float) -> float:
    return sum((number - expected) ** 2 / expected for number in found)


def test_days_and_channels_differ_and_repeat_themselves() -> None:
    wished = timing(600, 1080, 240)
    plans = [draw(wished, f"camera {number % 100}", FIRST + timedelta(number // 100)) for number in range(3000)]
    assert len(set(plans)) > 2950
    assert plans[1234] == draw(wished, "camera 34", FIRST + timedelta(12))


def test_the_draw_never_changes() -> None:
    """What was drawn for a day is drawn again after an upgrade in mid-day."""
    plan = draw(timing(600, 1080, 240), "x", date(2026, 1, 1))
    assert plan == (Span(620, 660), Span(680, 760), Span(770, 790), Span(850, 920), Span(950, 980))
