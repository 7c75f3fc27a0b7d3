"""When something is missing from a day's recordings, and why."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.retention.gaps import TOLERANCE, Cause, Gap, gaps
from gateway.retention.model import Mark, MarkKind
from tests.gateway.retention.samples import NOW, a_slice

K = MarkKind
HOUR = NOW + timedelta(hours=1)


def report(history: list[tuple[float, MarkKind]], recorded: list[tuple[float, float]], **more: object) -> list[tuple]:
    """Gaps of an hour as (minute, minute, cause)."""
    marks = [Mark(at=NOW + timedelta(minutes=minute), kind=kind) for minute, kind in history]
    slices = [a_slice(start_at=NOW + timedelta(minutes=one), seconds=(other - one) * 60) for one, other in recorded]
    found = gaps(marks, slices, NOW, HOUR, running_since=more.get("running_since"))  # type: ignore[arg-type]
    minutes = [((gap.begin - NOW).total_seconds() / 60, (gap.end - NOW).total_seconds() / 60) for gap in found]
    return [(*minute, gap.cause) for minute, gap in zip(minutes, found, strict=True)]


FLOWS = [(-10, K.UP), (-10, K.EXPECTED), (-10, K.FLOWING), (-10, K.RECORDING)]


def test_nothing_is_missing_of_what_was_not_expected() -> None:
    assert report([], []) == []
    assert report([*FLOWS, (-5, K.UNEXPECTED)], []) == []


def test_nothing_is_missing_between_two_pictures() -> None:
    assert report(FLOWS, [(-1, 5), (5.03, 30), (30, 60)]) == []


def test_only_expected_times_count() -> None:
    assert report([*FLOWS, (10, K.UNEXPECTED), (50, K.EXPECTED)], [(0, 10), (55, 60)]) == [(50, 55, Cause.UNKNOWN)]


def test_causes() -> None:
    assert report([*FLOWS, (10, K.DOWN), (20, K.UP), (20, K.EXPECTED), (21, K.FLOWING)], [(0, 10), (21, 60)]) == [
        (10, 20, Cause.GATEWAY_DOWN),
        (20, 21, Cause.STREAM_ABSENT),
    ]
    assert report([*FLOWS, (10, K.SPOOL_FULL), (20, K.SPOOL_FREE)], [(0, 10), (20, 60)]) == [(10, 20, Cause.SPOOL_FULL)]
    assert report([*FLOWS, (10, K.ABSENT), (20, K.FLOWING)], [(0, 10), (20, 60)]) == [(10, 20, Cause.STREAM_ABSENT)]
    assert report([*FLOWS, (10, K.FAILED), (20, K.RECORDING)], [(0, 10), (20, 60)]) == [
        (10, 20, Cause.RECORDING_FAILED)
    ]


def test_what_failed_explains_no_other_cause() -> None:
    times = (-10, K.UP), (-10, K.EXPECTED), (-10, K.FAILED), (10, K.FLOWING), (20, K.DOWN)
    marks = [Mark(at=NOW + timedelta(minutes=at), kind=kind, detail="disk") for at, kind in times]
    found = gaps(marks, [], NOW, HOUR, running_since=None)
    assert [(gap.cause, gap.detail) for gap in found] == [
        (Cause.STREAM_ABSENT, ""),
        (Cause.RECORDING_FAILED, "disk"),
        (Cause.GATEWAY_DOWN, ""),
    ]


def test_a_gap_lasts_until_the_first_key_frame() -> None:
    away = [*FLOWS, (10, K.ABSENT), (20, K.FLOWING)]
    assert report(away, [(0, 10), (20.025, 60)]) == [(10, pytest.approx(20.025), Cause.STREAM_ABSENT)]
    assert report(away, [(0, 10), (21, 60)]) == [(10, 20, Cause.STREAM_ABSENT), (20, 21, Cause.UNKNOWN)]


def test_a_camera_that_falls_silent_in_the_middle_of_a_slice() -> None:
    assert report([*FLOWS, (10, K.SILENT), (20, K.RESUMED)], [(0, 30), (30, 60)]) == [(10, 20, Cause.STREAM_SILENT)]


def test_what_is_being_written_is_not_missing() -> None:
    assert report(FLOWS, [(0, 30)]) == [(30, 60, Cause.UNKNOWN)]
    assert report(FLOWS, [(0, 30)], running_since=NOW + timedelta(minutes=30)) == []
    assert report([*FLOWS, (40, K.SILENT)], [(0, 30)], running_since=NOW + timedelta(minutes=30)) == [
        (40, 60, Cause.STREAM_SILENT)
    ]


def test_frames_that_could_not_be_written() -> None:
    found = gaps(
        [Mark(at=NOW, kind=K.EXPECTED), Mark(at=NOW, kind=K.FLOWING)],
        [a_slice(seconds=3600, lost=7)],
        NOW,
        HOUR,
        running_since=None,
    )
    assert found == [Gap(NOW, HOUR, Cause.LOST_FRAMES, frames=7)]


@given(
    history=st.lists(st.tuples(st.integers(-10, 70), st.sampled_from(MarkKind)), max_size=30),
    recorded=st.lists(st.tuples(st.integers(-5, 60), st.integers(1, 20)), max_size=10),
)
def test_gaps_are_in_order_within_the_time_and_not_recorded(
    history: list[tuple[int, MarkKind]], recorded: list[tuple[int, int]]
) -> None:
    slices = [(start, start + length) for start, length in recorded]
    found = report(sorted(history, key=lambda one: one[0]), slices)  # type: ignore[arg-type]
    last = 0.0
    silent = any(kind is K.SILENT for _, kind in history)
    for begin, end, cause in found:
        assert last <= begin < end <= 60
        last = end
        for start, stop in slices:
            assert silent or end <= start or begin >= stop, cause
    if not any(kind is K.EXPECTED for _, kind in history):
        assert found == []
    assert timedelta(minutes=1) > TOLERANCE
