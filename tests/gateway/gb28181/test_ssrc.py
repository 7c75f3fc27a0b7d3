"""`gateway.gb28181.ssrc`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.gb28181.ssrc import SsrcAllocator, SsrcKind, from_y, to_y

SERVER = "31011500002000000001"


def test_digits_follow_the_standard() -> None:
    allocator = SsrcAllocator(SERVER)
    live, history = allocator.allocate(0.0), allocator.allocate(0.0, SsrcKind.HISTORY)
    assert to_y(live) == "0115000000"
    assert to_y(history)[:6] == "111500"


@pytest.mark.parametrize(
    "digits", ["", "115000001", "01150000011", "0115_00001", "0000000000", "4294967296", "٠١٢٣٤٥٦٧٨٩"]
)
def test_what_is_not_an_ssrc_reads_as_none(digits: str) -> None:
    assert from_y(digits) is None


def test_a_released_number_rests() -> None:
    allocator = SsrcAllocator(SERVER, quarantine=30.0)
    ssrc = allocator.allocate(0.0)
    allocator.release(0.0, ssrc)
    assert allocator.in_flight == 1
    allocator.allocate(30.0)
    assert allocator.in_flight == 1


def test_more_than_ten_thousand_at_once() -> None:
    allocator = SsrcAllocator(SERVER)
    numbers = {allocator.allocate(0.0) for _ in range(25_000)}
    assert len(numbers) == 25_000
    assert all(from_y(to_y(number)) == number for number in numbers)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 40.0)), max_size=200))
def test_never_reused_while_in_flight(steps: list[tuple[bool, float]]) -> None:
    allocator = SsrcAllocator(SERVER)
    now, flying, resting = 0.0, [], {}
    for release, gap in steps:
        now += gap
        if release and flying:
            ssrc = flying.pop(0)
            allocator.release(now, ssrc)
            resting[ssrc] = now + 30.0
        else:
            ssrc = allocator.allocate(now)
            assert ssrc not in flying
            assert resting.get(ssrc, now) <= now
            flying.append(ssrc)
