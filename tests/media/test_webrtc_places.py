"""How many WebRTC sessions a client, and all together, may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.webrtc.places import BusyError, CrowdedError, Places, key_of

ADDRESSES = st.sampled_from(
    ["", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "no address"]
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:0:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
def test_clients_are_told_apart(one: str, other: str, same: bool) -> None:
    assert (key_of(one) == key_of(other)) is same


@given(st.lists(st.tuples(st.booleans(), ADDRESSES), max_size=60), st.integers(1, 8), st.integers(0, 4))
def test_no_more_than_may_and_all_come_free(steps: list[tuple[bool, str]], total: int, each: int) -> None:
    places, held = Places(total, each), list[str]()
    for take, address in steps:
        if not take and held:
            places.free(held.pop())
            continue
        key = key_of(address)
        crowded = bool(each and key and held.count(key) >= each)
        try:
            held.append(places.take(address))
        except CrowdedError:
            assert crowded
        except BusyError:
            assert not crowded and len(held) == total
        else:
            assert not crowded and len(held) <= total and held[-1] == key
    for key in held:
        places.free(key)
    assert [places.take("") for _ in range(total)] == [""] * total
    with pytest.raises(BusyError):
        places.take("")
