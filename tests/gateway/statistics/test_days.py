"""Days of UTC+8."""

from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from gateway.statistics.days import beginning, day_of, ending

TIMES = st.builds(
    lambda microseconds, hours: (
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=hours))) + timedelta(microseconds=microseconds)
    ),
    st.integers(-(10**15), 10**15),
    st.integers(-12, 14),
)


def test_midnight_is_at_16_utc() -> None:
    assert beginning(date(2026, 3, 1)) == datetime(2026, 2, 28, 16, tzinfo=UTC)
    assert day_of(datetime(2026, 2, 28, 15, 59, 59, 999_999, UTC)) == date(2026, 2, 28)
    assert day_of(datetime(2026, 2, 28, 16, tzinfo=UTC)) == date(2026, 3, 1)


@given(TIMES)
def test_every_time_lies_in_one_day(at: datetime) -> None:
    day = day_of(at)
    assert beginning(day) <= at < ending(day) == beginning(day + timedelta(days=1))


@given(TIMES)
def test_days_have_24_hours(at: datetime) -> None:
    assert ending(day_of(at)) - beginning(day_of(at)) == timedelta(hours=24)
