"""Back-off for log-ins that fail."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.accounts.login_limits import LoginLimits

ADDRESS = "198.51.100.7"


def attempt(limits: LoginLimits, now: float, name: str = "li", address: str = ADDRESS, *, failed: bool = True) -> float:
    """The wait; where it is 0 the log-in is made."""
    wait = limits.wait(now, name, address)
    if not wait:
        limits.begin(now, name, address)
        limits.end(now, name, address, failed=failed)
    return wait


def test_a_name_waits_longer_and_longer_but_never_long() -> None:
    limits, now, waits = LoginLimits(), 0.0, []
    for number in range(16):
        wait = attempt(limits, now, address=f"198.51.100.{number}")
        waits.append(wait)
        if wait:
            now += wait
            assert not attempt(limits, now, address=f"198.51.100.{100 + number}")
    assert waits[:6] == [0, 0, 0, 0, 0, 1.0]
    assert waits[6:11] == [2.0, 4.0, 8.0, 16.0, 30.0]
    assert max(waits) == 30.0


def test_success_forgives_the_name_not_the_address() -> None:
    limits = LoginLimits()
    for number in range(20):
        assert not attempt(limits, 0.0, f"user{number}")
    assert attempt(limits, 0.0, "li") == 1.0
    limits = LoginLimits()
    for _ in range(4):
        for _ in range(4):
            assert not attempt(limits, 0.0)
        assert not attempt(limits, 0.0, failed=False)


def test_what_is_long_ago_is_forgiven() -> None:
    limits = LoginLimits()
    for _ in range(6):
        attempt(limits, 0.0)
    assert attempt(limits, 0.5) > 0
    for _ in range(5):
        assert not attempt(limits, 1_000.0)


def test_guesses_under_way_together_are_few() -> None:
    limits = LoginLimits()
    for _ in range(8):
        assert not limits.wait(0.0, "li", ADDRESS)
        limits.begin(0.0, "li", ADDRESS)
    assert limits.wait(0.0, "li", ADDRESS) == 1.0
    for _ in range(8):
        limits.end(0.0, "li", ADDRESS, failed=True)
    assert limits.wait(100.0, "li", "") == 0.0
    limits.begin(100.0, "li", "")
    assert limits.wait(100.0, "li", "") == 1.0
    assert limits.refused == 2


def test_networks_of_ipv6_count_as_one_address_and_this_machine_as_none() -> None:
    limits = LoginLimits()
    for number in range(20):
        assert not attempt(limits, 0.0, f"user{number}", f"2001:db8::{number:x}")
    assert attempt(limits, 0.0, "li", "2001:db8::ffff") > 0
    assert not attempt(limits, 0.0, "li", "2001:db8:0:1::1")
    for address in ("127.0.0.1", "::1", "", "unix"):
        for number in range(30):
            assert not attempt(limits, 0.0, f"{address}{number}", address)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.booleans()), max_size=300))
def test_memory_is_bounded(attempts: list[tuple[int, int, bool]]) -> None:
    limits = LoginLimits(capacity=16)
    for number, (name, address, failed) in enumerate(attempts):
        attempt(limits, number / 10, str(name), f"198.51.{address // 256}.{address % 256}", failed=failed)
        assert len(limits) <= 32


def test_what_succeeds_leaves_nothing_behind() -> None:
    limits = LoginLimits()
    for number in range(100):
        attempt(limits, 0.0, f"user{number}", failed=False)
    assert len(limits) == 0
