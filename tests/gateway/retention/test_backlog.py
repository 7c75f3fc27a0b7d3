"""What is stored next, and what waits for a bucket that is away."""

from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.retention.backlog import WAIT_MAX_SECONDS, Backlog
from gateway.retention.model import Slice
from tests.gateway.retention.samples import NOW, a_slice, recording


def of(stream: str, minute: int, bucket: str = "b") -> Slice:
    return a_slice(
        recording(recording_id=f"{stream}-{bucket}", stream_id=stream, bucket=bucket), NOW + timedelta(minutes=minute)
    )


def drain(backlog: Backlog, now: float = 0.0) -> list[tuple[str, int]]:
    """Everything that may go, one after the other."""
    order = []
    while (found := backlog.next(now)) is not None:
        order.append((found.stream_id, round((found.start_at - NOW).total_seconds() / 60)))
        backlog.done(found.slice_id)
    return order


def test_the_oldest_of_each_stream_in_turn() -> None:
    backlog = Backlog(at_once=4)
    for stream, minute in (("a", 3), ("a", 1), ("a", 2), ("b", 9), ("c", 5), ("b", 8)):
        backlog.add(of(stream, minute))
    assert backlog.oldest_at() == NOW + timedelta(minutes=1)
    assert drain(backlog) == [("a", 1), ("b", 8), ("c", 5), ("a", 2), ("b", 9), ("a", 3)]
    assert (len(backlog), backlog.size_bytes, backlog.oldest_at()) == (0, 0, None)


def test_no_more_at_once_than_was_said() -> None:
    backlog = Backlog(at_once=2)
    for minute in range(3):
        backlog.add(of("a", minute))
    first, second = backlog.next(0), backlog.next(0)
    assert first is not None
    assert second is not None
    assert backlog.next(0) is None
    backlog.done(first.slice_id)
    assert backlog.next(0) is not None


def test_a_bucket_that_is_away_is_tried_by_one_slice_and_no_other_waits_for_it() -> None:
    backlog = Backlog(at_once=2)
    for minute in range(3):
        backlog.add(of("a", minute, bucket="away"))
    backlog.add(of("b", 0, bucket="well"))
    now, tried = 0.0, 0
    first = backlog.next(now)
    assert first is not None
    assert first.destination == "OBS/away"
    assert backlog.failed(first, now, 0.5) == 1.0
    assert drain(backlog) == [("b", 0)]
    waits = []
    while now < 3600:
        due = backlog.next_timeout(now)
        assert due is not None
        now = due
        found = backlog.next(now)
        assert found is not None
        assert backlog.next(now) is None, "one try at a time"
        waits.append(backlog.failed(found, now, 0.5))
        tried += 1
    assert waits[:6] == [2, 4, 8, 16, 32, WAIT_MAX_SECONDS]
    assert tried < 70, "an hour away costs a try a minute"
    assert backlog.away() == ["OBS/away"]
    assert sorted(drain(backlog, now + 2 * WAIT_MAX_SECONDS)) == [("a", 0), ("a", 1), ("a", 2)]
    assert backlog.away() == []


def test_those_that_were_out_together_tell_once_that_a_bucket_is_away() -> None:
    backlog = Backlog(at_once=4)
    out = []
    for minute in range(4):
        backlog.add(of("a", minute))
        found = backlog.next(0)
        assert found is not None
        out.append(found)
    assert [backlog.failed(found, 0.1, 0.5) for found in out] == [1.0, 1.0, 1.0, 1.0]


def test_a_slice_that_fails_does_not_hold_up_the_others_of_its_stream() -> None:
    backlog = Backlog(at_once=1)
    for minute in range(3):
        backlog.add(of("a", minute))
    stored, now = [], 0.0
    for _ in range(20):
        now += 100
        found = backlog.next(now)
        if found is None:
            break
        if found.start_at == NOW:
            backlog.failed(found, now, 0.5)
        else:
            stored.append(found)
            backlog.done(found.slice_id)
    assert len(stored) == 2


def test_what_finds_no_room_is_asked_for_when_there_is_some() -> None:
    backlog = Backlog(at_once=1, limit=4)
    for minute in range(6):
        backlog.add(of("a", minute))
    assert len(backlog) == 4
    assert backlog.refills() == []
    for _ in range(2):
        found = backlog.next(0)
        assert found is not None
        backlog.done(found.slice_id)
    assert backlog.refills() == ["OBS/b"]
    assert backlog.refills() == []


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "next", "done", "fail", "wait"]),
        st.integers(0, 5),
        st.integers(0, 20),
        st.sampled_from(["x", "y"]),
    ),
    max_size=200,
)


@given(steps)
def test_every_slice_is_stored_once_whatever_happens(history: list[tuple[str, int, int, str]]) -> None:
    backlog, now = Backlog(at_once=3), 0.0
    added: dict[str, Slice] = {}
    out: list[Slice] = []
    stored: Counter[str] = Counter()
    for step, stream, minute, bucket in history:
        match step:
            case "add":
                found = of(str(stream), minute, bucket)
                if not stored[found.slice_id]:
                    added[found.slice_id] = found
                    backlog.add(found)
            case "next":
                taken = backlog.next(now)
                if taken is not None:
                    assert taken not in out
                    out.append(taken)
            case "done" if out:
                found = out.pop(stream % len(out))
                stored[found.slice_id] += 1
                backlog.done(found.slice_id)
            case "fail" if out:
                backlog.failed(out.pop(stream % len(out)), now, minute / 20)
            case "wait":
                now += minute
        assert len(out) <= 3
        assert len(backlog) == len(added) - sum(stored.values())
    for found in out:
        backlog.done(found.slice_id)
        stored[found.slice_id] += 1
    now += 10 * WAIT_MAX_SECONDS
    while (taken := backlog.next(now)) is not None:
        stored[taken.slice_id] += 1
        backlog.done(taken.slice_id)
    assert set(stored) == set(added)
    assert set(stored.values()) <= {1}
