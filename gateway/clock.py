"""The one place that reads the calendar clock; pure code takes what these return as an argument."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Final

BEIJING: Final = timezone(timedelta(hours=8), "UTC+8")
"""Times in MANSCDP, the SIP Date of GB/T 28181 and the API's days are UTC+8 (GB/T 28181-2016 §9.10)."""


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251  (the shell's clock)
