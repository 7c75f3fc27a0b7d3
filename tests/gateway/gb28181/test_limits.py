"""Rate limits and bans are bounded and forget."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.gb28181.limits import Bans, RateLimit


def test_a_burst_and_then_the_rate() -> None:
    limit: RateLimit[str] = RateLimit(rate=2, burst=3)
    assert [limit.allow(0.0, "a") for _ in range(4)] == [True, True, True, False]
    assert limit.allow(0.0, "b")
    assert [limit.allow(0.5, "a"), limit.allow(0.5, "a")] == [True, False]
    assert [limit.allow(100.0, "a") for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    limit: RateLimit[str] = RateLimit(rate=1, burst=1)
    assert limit.allow(10.0, "a")
    assert not limit.allow(5.0, "a")
    assert not limit.allow(10.5, "a")


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 5)), max_size=200))
def test_never_more_than_burst_and_rate(calls: list[tuple[int, float]]) -> None:
    limit: RateLimit[int] = RateLimit(rate=1, burst=4, capacity=100)
    now, allowed = 0.0, dict.fromkeys(range(51), 0)
    for key, gap in calls:
        now += gap
        allowed[key] += limit.allow(now, key)
        assert allowed[key] <= 4 + now + 1e-6


def test_the_tables_are_bounded() -> None:
    limit: RateLimit[int] = RateLimit(rate=1, burst=1, capacity=10)
    bans: Bans[int] = Bans(failures=2, window=60, seconds=60, capacity=10)
    for key in range(1000):
        limit.allow(0.0, key)
        bans.fail(0.0, key)
    assert len(limit) == len(bans) == 10


def test_a_ban_begins_ends_and_is_forgotten_on_success() -> None:
    bans: Bans[str] = Bans(failures=3, window=60, seconds=30)
    assert [bans.fail(float(at), "a") for at in range(3)] == [False, False, True]
    assert bans.banned_for(2.0, "a") == 30
    assert bans.banned_for(12.0, "a") == 20
    assert bans.banned_for(40.0, "a") == 0
    assert bans.banned_for(2.0, "b") == 0
    bans.succeed("a")
    assert bans.banned_for(2.0, "a") == 0


def test_failures_far_apart_do_not_add_up() -> None:
    bans: Bans[str] = Bans(failures=2, window=60, seconds=30)
    assert not bans.fail(0.0, "a")
    assert not bans.fail(61.0, "a")
    assert bans.fail(62.0, "a")
