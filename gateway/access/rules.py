"""What a change makes of a channel's strategy, and which slices it gets today (VIS §4.3.4). Pure."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from gateway.access import model
from gateway.access.model import (
    AccessStrategy,
    Periodicity,
    RandomStrategy,
    Span,
    StrategyCause,
    StrategyState,
    Timing,
)
from gateway.access.planner import check, draw
from gateway.access.slices import day_of, moment_of
from gateway.errors import InvalidError


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyChange:
    """What is asked for; None leaves it as it was, or as it is by default."""

    kind: RandomStrategy | None = None
    start: int | None = None
    end: int | None = None
    total: int | None = None
    periodicity: Periodicity | None = None
    state: StrategyState | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """The strategy as it is then. With `redrawn`, what was planned before is void and `today` is its plan for today."""

    strategy: AccessStrategy
    redrawn: bool
    today: tuple[Span, ...] = ()


def settle(before: AccessStrategy | None, change: StrategyChange, at: datetime, seed: str) -> Settled:
    """Applies `change`; `seed` is that of a new strategy.

    An active strategy draws anew when it becomes active or its times change, not for less. InvalidError names what is
    missing or wrong.
    """
    timing = _timing(before, change)
    check(timing)
    periodicity = change.periodicity or (before.periodicity if before else Periodicity.DAY)
    state = before.state if before else StrategyState.STOPPED
    wanted = change.state or state
    state = model.after(state, StrategyCause.ACTIVATE if wanted is StrategyState.ACTIVE else StrategyCause.STOP)
    base = before or AccessStrategy(
        timing=timing,
        periodicity=periodicity,
        state=StrategyState.STOPPED,
        seed=seed,
        revision=0,
        planned_day=None,
        plan_from=None,
        created_at=at,
        updated_at=at,
    )
    strategy = replace(base, timing=timing, periodicity=periodicity, state=state, updated_at=at)
    if not strategy.active:
        return Settled(replace(strategy, plan_from=None), redrawn=base.active)
    if not base.active or timing != base.timing:
        return _redraw(replace(strategy, revision=base.revision + 1), at)
    return Settled(replace(strategy, plan_from=_plan_from(base, periodicity, day_of(at))), redrawn=False)


def times_of(strategy: AccessStrategy, day: date) -> tuple[Span, ...]:
    """The slices of a day, in order."""
    return draw(strategy.timing, f"{strategy.seed}/{strategy.revision}", day)


def next_day(periodicity: Periodicity, day: date) -> date | None:
    """The day to draw times for after `day`: a ONCE gets no others."""
    return None if periodicity is Periodicity.ONCE else day + timedelta(days=1)


def is_past(day: date, span: Span, at: datetime) -> bool:
    """Whether the slice began by then: it is not made up for after a change."""
    return moment_of(day, span.start) <= at


def _timing(before: AccessStrategy | None, change: StrategyChange) -> Timing:
    known = before.timing if before else None
    kind = change.kind or (known.kind if known else RandomStrategy.RANDOM)
    start = change.start if change.start is not None else (known.start if known else None)
    total = change.total if change.total is not None else (known.total if known else None)
    end = known.end if known else None
    if change.end is not None and kind is RandomStrategy.RANDOM:
        end = change.end
    if start is None:
        raise InvalidError("start_time", "needed when a strategy is set for the first time")
    if total is None:
        raise InvalidError("total_length", "needed when a strategy is set for the first time")
    return Timing(kind=kind, start=start, end=end, total=total)


def _redraw(strategy: AccessStrategy, at: datetime) -> Settled:
    today = day_of(at)
    spans = times_of(strategy, today)
    if strategy.periodicity is Periodicity.ONCE and all(is_past(today, span, at) for span in spans):
        tomorrow = today + timedelta(days=1)  # or it would end without having run at all
        return Settled(replace(strategy, planned_day=None, plan_from=tomorrow), redrawn=True)
    following = next_day(strategy.periodicity, today)
    return Settled(replace(strategy, planned_day=today, plan_from=following), redrawn=True, today=spans)


def _plan_from(before: AccessStrategy, periodicity: Periodicity, today: date) -> date | None:
    """The next day to draw for, when only the periodicity may have changed."""
    if periodicity is before.periodicity:
        return before.plan_from
    return next_day(periodicity, today) if before.planned_day == today else before.plan_from or today
