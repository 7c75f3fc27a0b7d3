"""Access strategies as values, and the machine of their state. The API's vocabulary is the state's vocabulary.

Times of day are minutes since midnight, UTC+8, and multiples of 10; 1440 is the midnight that ends the day.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum, StrEnum, auto
from typing import Final, NamedTuple

from gateway.errors import IllegalTransitionError, InvalidError


class RandomStrategy(StrEnum):
    """How the times of a day are found."""

    RANDOM = "RANDOM"
    CONSECUTIVE = "CONSECUTIVE"


class Periodicity(StrEnum):
    """On which days."""

    ONCE = "ONCE"
    DAY = "DAY"


class StrategyState(StrEnum):
    """Whether a strategy decides about its channel."""

    STOPPED = "STOPPED"
    ACTIVE = "ACTIVE"


class StrategyCause(Enum):
    """What may happen to a strategy."""

    ACTIVATE = auto()
    STOP = auto()
    DAY_OVER = auto()
    """The one day of a ONCE is over."""


TRANSITIONS: Final = {
    (StrategyState.STOPPED, StrategyCause.ACTIVATE): StrategyState.ACTIVE,
    (StrategyState.STOPPED, StrategyCause.STOP): StrategyState.STOPPED,
    (StrategyState.ACTIVE, StrategyCause.ACTIVATE): StrategyState.ACTIVE,
    (StrategyState.ACTIVE, StrategyCause.STOP): StrategyState.STOPPED,
    (StrategyState.ACTIVE, StrategyCause.DAY_OVER): StrategyState.STOPPED,
}


def after(state: StrategyState, cause: StrategyCause) -> StrategyState:
    """Where a strategy stands then; IllegalTransitionError if the cause may not come."""
    try:
        return TRANSITIONS[state, cause]
    except KeyError:
        raise IllegalTransitionError(state, cause) from None


class Span(NamedTuple):
    """From `start` until `end`, both minutes of one day."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Minutes."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What the times of a day are drawn from."""

    kind: RandomStrategy
    start: int
    end: int | None
    """None, or without a meaning, for CONSECUTIVE."""
    total: int
    """Minutes a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessStrategy:
    """The strategy of one channel.

    Its times of a day follow from `timing`, `seed` and the day alone (`gateway.access.planner`).
    """

    timing: Timing
    periodicity: Periodicity
    state: StrategyState
    seed: str
    revision: int
    """Goes up whenever times are drawn anew, so that they come out otherwise."""
    planned_day: date | None
    """The last day that times were drawn for."""
    plan_from: date | None
    """The next day to draw times for; None if there is none: a ONCE that had its day, or a strategy that is stopped."""
    created_at: datetime
    updated_at: datetime

    @property
    def active(self) -> bool:
        """Whether it decides about its channel."""
        return self.state is StrategyState.ACTIVE


def read_minutes(text: str, field: str) -> int:
    """HH:MM as minutes since midnight; InvalidError if it is not that."""
    hours, separator, minutes = text.partition(":")
    digits = hours + minutes
    if not separator or len(hours) != 2 or len(minutes) != 2 or not (digits.isascii() and digits.isdigit()):
        raise InvalidError(field, "a time as HH:MM")
    if int(hours) > 23 or int(minutes) > 59:
        raise InvalidError(field, "a time from 00:00 to 23:59")
    return int(hours) * 60 + int(minutes)


def show_minutes(minutes: int) -> str:
    """As HH:MM; the end of the day is 24:00."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
