"""`gateway.record_plans.rules`: what is refused, and what is kept of what is not."""

import pytest

from gateway.errors import InvalidError
from gateway.record_plans.model import WeekRange
from gateway.record_plans.rules import RANGES_MAX, check_name, check_zone_name, read_clock, read_day, settle


@pytest.mark.parametrize(("text", "minutes"), [("00:00", 0), ("09:05", 545), ("23:59", 1439), ("24:00", 1440)])
def test_clocks_are_read(text: str, minutes: int) -> None:
    assert read_clock(text, "start") == minutes


@pytest.mark.parametrize("text", ["", "9:05", "24:01", "25:00", "12:60", "12:5", "12-05", "１２:00", "12:00 "])
def test_what_is_no_clock_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="end"):
        read_clock(text, "end")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("GMT+8:00", "GMT+08:00"), ("gmt-3", "GMT-03:00"), ("Europe/Berlin", "Europe/Berlin"), ("UTC", "UTC")],
)
def test_zones_are_kept(given: str, kept: str) -> None:
    assert check_zone_name(given) == kept


@pytest.mark.parametrize("given", ["", "GMT+15:00", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "GMT+08:30"])
def test_other_zones_are_refused(given: str) -> None:
    with pytest.raises(InvalidError, match="timezone"):
        check_zone_name(given)


@pytest.mark.parametrize("one", [WeekRange(0, 60, 60), WeekRange(0, 1380, 60), WeekRange(0, 0, 1441)])
def test_a_range_ends_on_its_day_after_it_begins(one: WeekRange) -> None:
    with pytest.raises(InvalidError, match="over midnight there are two"):
        settle([one])


def test_there_is_a_most_of_ranges() -> None:
    ranges = [WeekRange(number % 7, number, number + 1) for number in range(RANGES_MAX + 1)]
    assert settle(ranges[:-1])
    with pytest.raises(InvalidError, match="at most"):
        settle(ranges)


def test_names_and_days() -> None:
    assert check_name("工作日 day") == "工作日 day"
    assert read_day("SUN") == 6
    for bad in ("", " a", "a\n", "x" * 65):
        with pytest.raises(InvalidError, match="name"):
            check_name(bad)
    with pytest.raises(InvalidError, match="days"):
        read_day("Sunday")
