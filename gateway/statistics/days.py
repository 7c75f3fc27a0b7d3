"""Days of the API: from midnight to midnight in UTC+8, which knows no summer time. Pure."""

from datetime import UTC, date, datetime, time, timedelta

from gateway.clock import BEIJING


def day_of(at: datetime) -> date:
    """The day that an aware time lies in; each lies in exactly one."""
    return at.astimezone(BEIJING).date()


def beginning(day: date) -> datetime:
    """Its first moment, in UTC."""
    return datetime.combine(day, time(), BEIJING).astimezone(UTC)


def ending(day: date) -> datetime:
    """The first moment of the next, in UTC."""
    return beginning(day) + timedelta(days=1)
