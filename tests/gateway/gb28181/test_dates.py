"""Times in five shapes in, one shape out."""

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import BEIJING
from gateway.gb28181.dates import DateError, format_date_header, format_time, parse_time

EIGHT = datetime(2026, 3, 5, 8, 0, 0, tzinfo=BEIJING)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-05T08:00:00",
        "2026-3-5T8:0:0",
        "2026-03-05 08:00:00",
        "2026-03-05T08:00:00.000",
        "2026-03-05T00:00:00Z",
        "2026-03-05T08:00:00+08:00",
        "2026-03-05T01:00:00.0+0100",
        " 2026/03/05 08:00:00 ",
    ],
)
def test_shapes(text: str) -> None:
    assert parse_time(text) == EIGHT
    assert parse_time(text).tzinfo is BEIJING


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-02-30T00:00:00", "1969-01-01T00:00:00", "2101-01-01T00:00:00", "2026-03-05",
     "2026-03-05T25:00:00", "2026-03-05T08:00:00+99:99", "0" * 5000, "２０２６-03-05T08:00:00"],
)  # fmt: skip
def test_no_times(text: str) -> None:
    with pytest.raises(DateError):
        parse_time(text)


@given(st.text("0123456789-:TZ+. ", max_size=40))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    with contextlib.suppress(DateError):
        assert parse_time(text).tzinfo is BEIJING


@given(st.integers(10**15, 4 * 10**15).map(lambda us: datetime.fromtimestamp(us / 1e6, UTC)))
def test_what_is_written_is_read(moment: datetime) -> None:
    assert parse_time(format_time(moment)) == moment.replace(microsecond=0)
    assert parse_time(format_date_header(moment)) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def test_the_date_header_has_the_standards_form() -> None:
    assert format_date_header(datetime(2026, 3, 5, 0, 0, 0, 7000, tzinfo=UTC)) == "2026-03-05T08:00:00.007"
