"""`gateway.access.standing` in simulated time: what is wanted is called until it flows, and left when it is not."""

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.pace import BACK_OFF, Gate
from gateway.access.standing import Call, Key, Leave, Standing
from gateway.devices.model import ChannelId, DeviceId, InvitationStatus

S = InvitationStatus


def key(number: int = 0) -> Key:
    return DeviceId("34020000001320000001"), ChannelId(f"3402000000131000{number:04d}")


def standing(rate: float = 1000.0) -> Standing:
    return Standing(Gate(rate), Gate(rate))


def acts(found: Standing, now: float, room: int = 100) -> list[Call | Leave]:
    found.handle_timeout(now, room)
    acted: list[Call | Leave] = []
    while (action := found.poll_action()) is not None:
        acted.append(action)
    return acted


def test_what_is_wanted_is_called_once_and_left_once() -> None:
    found = standing()
    found.want([key()])
    assert acts(found, 1.0) == [Call(key())]
    found.want([key()])
    found.handle_status(1.0, key(), S.ONLINE, S.INVITING)
    found.handle_status(2.0, key(), S.INVITING, S.INVITE_SUCCESS)
    assert acts(found, 500.0) == []
    assert found.next_timeout() is None
    found.want([])
    assert acts(found, 501.0) == [Leave(key())]
    assert acts(found, 900.0) == []


def test_tries_follow_each_other_ever_more_slowly_until_one_succeeds() -> None:
    found, now, tried = standing(), 0.0, []
    found.want([key()])
    for _ in range(len(BACK_OFF) + 2):
        assert acts(found, now) == [Call(key())]
        tried.append(now)
        found.handle_status(now, key(), S.INVITING, S.ONLINE)
        due = found.next_timeout()
        assert due is not None
        assert acts(found, due - 0.01) == []
        now = due
    gaps = [after - before for before, after in pairwise(tried)]
    assert gaps == [*BACK_OFF, BACK_OFF[-1]]
    assert acts(found, now) == [Call(key())]
    found.handle_status(now, key(), S.INVITING, S.INVITE_SUCCESS)
    found.handle_status(now + 9, key(), S.INVITE_SUCCESS, S.ONLINE)
    assert found.next_timeout() == now + 9 + BACK_OFF[0]


def test_a_device_that_comes_back_is_called_at_once() -> None:
    found = standing()
    found.want([key()])
    assert acts(found, 0.0) == [Call(key())]
    found.handle_status(1.0, key(), S.ONLINE, S.OFFLINE)
    assert acts(found, 600.0) == []
    found.handle_status(601.0, key(), S.OFFLINE, S.ONLINE)
    assert acts(found, 601.0) == [Call(key())]


def test_what_is_wanted_again_before_its_turn_to_be_left_goes_on() -> None:
    found = standing()
    found.want([key()])
    assert acts(found, 0.0) == [Call(key())]
    found.want([])
    found.want([key()])
    assert acts(found, 1.0) == [Call(key())]  # that it is called already is for the runner to see


def test_what_a_process_before_us_called_is_left_unless_it_is_wanted() -> None:
    found = standing()
    found.want([key(1)])
    found.leave([key(1), key(2)])
    assert acts(found, 0.0) == [Leave(key(2)), Call(key(1))]


@settings(max_examples=50)
@given(st.integers(1, 400), st.integers(1, 50))
def test_many_are_let_out_at_the_rate_and_within_the_room(many: int, room: int) -> None:
    found = standing(100.0)
    found.want([key(number) for number in range(many)])
    called: Counter[Key] = Counter()
    now = 10.0
    while (due := found.next_timeout()) is not None:
        now = max(now, due)
        out = acts(found, now, room)
        assert len(out) <= room
        called.update(action.key for action in out)
        now += 0.05
    assert called == {key(number): 1 for number in range(many)}
    assert now >= 10.0 + (many - 30) / 100
