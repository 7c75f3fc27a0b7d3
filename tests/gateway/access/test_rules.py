"""`gateway.access.rules`: what a change makes of a strategy and of its day; and the machine of its state."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.model import (
    TRANSITIONS,
    AccessStrategy,
    Periodicity,
    RandomStrategy,
    Span,
    StrategyCause,
    StrategyState,
    after,
)
from gateway.access.rules import Settled, StrategyChange, is_past, settle, times_of
from gateway.errors import IllegalTransitionError, InvalidError

TODAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
"""12:00 in UTC+8."""
ACTIVE, STOPPED = StrategyState.ACTIVE, StrategyState.STOPPED
FIRST = StrategyChange(start=600, end=1080, total=240)
C = RandomStrategy.CONSECUTIVE


def made(change: StrategyChange = FIRST, before: AccessStrategy | None = None, at: datetime = NOON) -> Settled:
    return settle(before, change, at, "seed")


def active(change: StrategyChange = FIRST, at: datetime = NOON) -> AccessStrategy:
    return made(replace(change, state=ACTIVE), at=at).strategy


def test_defaults() -> None:
    settled = made()
    assert settled.strategy.timing.kind is RandomStrategy.RANDOM
    assert (settled.strategy.periodicity, settled.strategy.state) == (Periodicity.DAY, STOPPED)
    assert (settled.redrawn, settled.today, settled.strategy.plan_from) == (False, (), None)


def test_activation_draws_today_and_goes_on_tomorrow() -> None:
    settled = made(replace(FIRST, state=ACTIVE))
    strategy = settled.strategy
    assert settled.redrawn
    assert settled.today == times_of(strategy, TODAY)
    assert (strategy.revision, strategy.planned_day, strategy.plan_from) == (1, TODAY, TODAY + timedelta(days=1))


@pytest.mark.parametrize(
    ("change", "redrawn"),
    [
        (StrategyChange(), False),
        (StrategyChange(state=ACTIVE), False),
        (StrategyChange(total=240, start=600), False),
        (StrategyChange(periodicity=Periodicity.ONCE), False),
        (StrategyChange(total=250), True),
        (StrategyChange(start=610), True),
        (StrategyChange(end=1090), True),
        (StrategyChange(kind=C), True),
        (StrategyChange(state=STOPPED), True),
    ],
)
def test_an_active_strategy_draws_anew_only_when_its_times_change(change: StrategyChange, redrawn: bool) -> None:
    before = active()
    settled = made(change, before)
    assert settled.redrawn is redrawn
    assert (settled.strategy.revision > before.revision) is (redrawn and settled.strategy.active)
    assert bool(settled.today) is (redrawn and settled.strategy.active)


def test_times_come_out_otherwise_when_drawn_again() -> None:
    before = active()
    again = made(StrategyChange(state=ACTIVE), made(StrategyChange(state=STOPPED), before).strategy).strategy
    assert times_of(again, TODAY) != times_of(before, TODAY)


def test_a_stopped_strategy_plans_nothing() -> None:
    stopped = made(StrategyChange(state=STOPPED), active()).strategy
    assert stopped.plan_from is None
    assert made(StrategyChange(total=100), stopped).redrawn is False


def test_a_once_has_its_day_today_or_tomorrow() -> None:
    later = active(replace(FIRST, periodicity=Periodicity.ONCE), NOON.replace(hour=0))  # 08:00
    assert (later.planned_day, later.plan_from) == (TODAY, None)
    settled = made(replace(FIRST, periodicity=Periodicity.ONCE, state=ACTIVE), at=NOON.replace(hour=12))  # 20:00
    assert (settled.strategy.planned_day, settled.strategy.plan_from) == (None, TODAY + timedelta(days=1))
    assert settled.redrawn
    assert settled.today == ()


def test_between_daily_and_once_the_plan_of_today_stays() -> None:
    daily = active()
    once = made(StrategyChange(periodicity=Periodicity.ONCE), daily).strategy
    assert (once.planned_day, once.plan_from) == (TODAY, None)
    again = made(StrategyChange(periodicity=Periodicity.DAY), once).strategy
    assert again.plan_from == TODAY + timedelta(days=1)
    pending = replace(daily, planned_day=TODAY - timedelta(days=1), plan_from=TODAY)  # midnight's drawing is under way
    assert made(StrategyChange(periodicity=Periodicity.ONCE), pending).strategy.plan_from == TODAY


def test_the_end_means_nothing_for_consecutive_and_is_kept_for_random() -> None:
    before = made().strategy
    changed = made(StrategyChange(kind=C, end=10, total=840), before).strategy
    assert changed.timing.end == 1080
    assert made(StrategyChange(kind=RandomStrategy.RANDOM, total=60), changed).strategy.timing.end == 1080
    with pytest.raises(InvalidError, match="total_length"):
        made(StrategyChange(kind=RandomStrategy.RANDOM), changed)


def test_what_begins_this_very_moment_is_past() -> None:
    assert is_past(TODAY, Span(720, 730), NOON)
    assert not is_past(TODAY, Span(730, 740), NOON)


@given(st.lists(st.sampled_from(StrategyCause), max_size=8))
def test_any_history_is_a_path_through_the_table(causes: list[StrategyCause]) -> None:
    state = STOPPED
    for cause in causes:
        if (state, cause) in TRANSITIONS:
            state = after(state, cause)
        else:
            with pytest.raises(IllegalTransitionError):
                after(state, cause)


CHANGES = st.builds(
    StrategyChange,
    kind=st.none() | st.sampled_from(RandomStrategy),
    start=st.none() | st.integers(1, 142).map(lambda cell: cell * 10),
    end=st.none() | st.integers(1, 143).map(lambda cell: cell * 10),
    total=st.none() | st.integers(1, 143).map(lambda cell: cell * 10),
    periodicity=st.none() | st.sampled_from(Periodicity),
    state=st.none() | st.sampled_from(StrategyState),
)


@settings(deadline=None)
@given(st.lists(st.tuples(CHANGES, st.integers(0, 3 * 1440)), max_size=6))
def test_after_any_changes_an_active_strategy_has_a_next_day_or_had_its_once(
    steps: list[tuple[StrategyChange, int]],
) -> None:
    strategy: AccessStrategy | None = None
    at = NOON
    for change, minutes in steps:
        at += timedelta(minutes=minutes)
        try:
            settled = settle(strategy, change, at, "seed")
        except InvalidError:
            continue
        strategy = settled.strategy
        assert not settled.today or (strategy.active and strategy.planned_day is not None)
        if not strategy.active:
            assert strategy.plan_from is None
        elif strategy.plan_from is None:
            assert strategy.periodicity is Periodicity.ONCE
            assert strategy.planned_day is not None
        else:
            assert strategy.planned_day is None or strategy.planned_day < strategy.plan_from
