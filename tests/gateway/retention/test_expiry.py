"""The document's rule: a directory goes when all its videos are older than the retention, and not before."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.retention.expiry import expired
from gateway.retention.model import HourDirectory
from gateway.retention.names import directory
from tests.gateway.retention.samples import recording

HOUR = timedelta(hours=1)
START = datetime(2026, 3, 1, tzinfo=UTC)
OF = recording(path="", zone_hours=0)


def gather(ends: dict[str, list[datetime]], unstored: int = 0) -> list[HourDirectory]:
    return [
        HourDirectory(
            stream_id="s",
            destination="OBS/b",
            directory=name,
            newest_end_at=max(all_),
            slices=len(all_),
            unstored=unstored,
        )
        for name, all_ in ends.items()
    ]


def test_kept_for_ever() -> None:
    assert expired(gather({"d": [START]}), None, START + 100_000 * HOUR) == []


def test_a_directory_with_one_young_video_stays_whole() -> None:
    found = gather({"old": [START, START], "mixed": [START, START + HOUR]})
    assert [one.directory for one in expired(found, HOUR, START + HOUR)] == ["old"]


def test_what_waits_to_be_stored_is_not_expired() -> None:
    assert expired(gather({"d": [START]}, unstored=1), timedelta(), START + 10 * HOUR) == []


def test_kept_for_no_time_it_goes_at_the_next_check() -> None:
    assert len(expired(gather({"d": [START]}), timedelta(), START)) == 1


@given(
    minutes=st.lists(st.integers(0, 50 * 60), min_size=1, max_size=200),
    hours=st.floats(0, 30),
    now=st.integers(0, 100 * 60),
)
def test_what_goes_is_expired_and_what_stays_has_a_reason(minutes: list[int], hours: float, now: int) -> None:
    at = START + timedelta(minutes=now)
    keep = timedelta(hours=hours)
    ends: dict[str, list[datetime]] = {}
    for minute in minutes:
        start = START + timedelta(minutes=minute)
        ends.setdefault(directory(OF, start), []).append(start + timedelta(minutes=1))
    gone = {one.directory for one in expired(gather(ends), keep, at)}
    for name, all_ in ends.items():
        assert (name in gone) == all(end + keep <= at for end in all_)


@given(
    hours=st.integers(0, 30),
    slice_minutes=st.sampled_from([1, 5, 10, 30, 60]),
    late_ms=st.integers(0, 10_000),
    check_minute=st.integers(0, 59),
)
def test_at_most_two_more_directories_than_hours(
    hours: int, slice_minutes: int, late_ms: int, check_minute: int
) -> None:
    """A stream that is recorded without a break and checked every hour; a slice ends a key frame after its border."""
    kept: dict[str, list[datetime]] = {}
    length = timedelta(minutes=slice_minutes)
    keep = timedelta(hours=hours)
    for step in range((hours + 6) * 60 // slice_minutes):
        start, end = START + step * length, START + (step + 1) * length
        for minute in range(slice_minutes):
            at = start + timedelta(minutes=minute)
            if at.minute == check_minute:
                for one in expired(gather(kept), keep, at):
                    del kept[one.directory]
        kept.setdefault(directory(OF, start), []).append(end + timedelta(milliseconds=late_ms))
        assert len(kept) <= hours + 2
