"""A device's states: the table, the deadlines, and the interval that it learns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.model import DeviceState, StateCause
from gateway.devices.presence import TRANSITIONS, DevicePresence, Patience
from gateway.errors import IllegalTransitionError

PATIENCE = Patience(interval=60, count=3, grace=5)
STEP = st.tuples(
    st.sampled_from(["register", "timeout", StateCause.KEEPALIVE, StateCause.UNREGISTER, StateCause.CONNECTION_LOST,
                     StateCause.KEEPALIVE_LOST, StateCause.REGISTRATION_EXPIRED, StateCause.MEDIA]),
    st.floats(0, 400),
)  # fmt: skip


def online(expires: float = 86_400.0) -> DevicePresence:
    presence = DevicePresence(PATIENCE)
    presence.register(0.0, expires)
    return presence


def test_registering_brings_it_online_and_a_refresh_keeps_it() -> None:
    presence = DevicePresence(PATIENCE)
    assert presence.register(0.0, 3600) == (DeviceState.UNREGISTERED, DeviceState.ONLINE)
    assert presence.register(9.0, 3600) == (DeviceState.ONLINE, DeviceState.ONLINE)


def test_silence_of_three_intervals_takes_it_offline_and_a_keepalive_brings_it_back() -> None:
    presence = online()
    presence.handle(50.0, StateCause.KEEPALIVE)
    assert presence.next_timeout() == 50 + 185
    assert presence.handle_timeout(234.9) is None
    assert presence.handle_timeout(235.0) == (DeviceState.ONLINE, DeviceState.OFFLINE, StateCause.KEEPALIVE_LOST)
    assert presence.next_timeout() == 86_400
    assert presence.handle(300.0, StateCause.KEEPALIVE) == (DeviceState.OFFLINE, DeviceState.ONLINE)


def test_a_registration_ends_even_if_keepalives_come() -> None:
    presence = online(expires=100)
    presence.handle(90.0, StateCause.KEEPALIVE)
    assert presence.next_timeout() == 100
    assert presence.handle_timeout(100.0) == (
        DeviceState.ONLINE,
        DeviceState.OFFLINE,
        StateCause.REGISTRATION_EXPIRED,
    )
    assert not presence.registered
    assert presence.next_timeout() is None
    with pytest.raises(IllegalTransitionError):
        presence.handle(101.0, StateCause.KEEPALIVE)


def test_a_keepalive_at_the_very_end_of_the_registration_is_too_late() -> None:
    presence = online(expires=100)
    with pytest.raises(IllegalTransitionError):
        presence.handle(100.0, StateCause.KEEPALIVE)


def test_a_device_that_never_registered_is_nobody() -> None:
    for cause in (StateCause.KEEPALIVE, StateCause.UNREGISTER, StateCause.CONNECTION_LOST):
        with pytest.raises(IllegalTransitionError):
            DevicePresence(PATIENCE).handle(0.0, cause)


def test_after_a_lost_connection_a_keepalive_on_a_new_one_helps_while_registered() -> None:
    presence = online()
    assert presence.handle(10.0, StateCause.CONNECTION_LOST) == (DeviceState.ONLINE, DeviceState.OFFLINE)
    assert presence.registered


def test_unregistering_ends_the_registration() -> None:
    presence = online()
    assert presence.handle(10.0, StateCause.UNREGISTER) == (DeviceState.ONLINE, DeviceState.OFFLINE)
    assert not presence.registered


@pytest.mark.parametrize("interval", [20.0, 60.0, 120.0, 300.0])
def test_the_interval_is_learnt_from_two_gaps_that_agree(interval: float) -> None:
    presence = online()
    for number in range(4):
        presence.handle(10.0 + interval * number, StateCause.KEEPALIVE)
    assert presence.interval == pytest.approx(interval)
    assert presence.next_timeout() == pytest.approx(10 + interval * 3 + interval * 3 + 5)


def test_one_lost_keepalive_and_repetitions_teach_nothing() -> None:
    presence = online()
    for at in (10.0, 10.5, 70.0, 70.2, 190.0, 250.0, 310.0):
        presence.handle(at, StateCause.KEEPALIVE)
    assert presence.interval == pytest.approx(60.0)


def test_a_stored_registration_is_adopted_with_its_whole_patience() -> None:
    presence = DevicePresence(PATIENCE, DeviceState.ONLINE)
    presence.restore(1000.0, 500.0, 20.0)
    assert presence.next_timeout() == 1000 + 65
    assert presence.handle(1010.0, StateCause.KEEPALIVE) == (DeviceState.ONLINE, DeviceState.ONLINE)


@given(st.lists(STEP, max_size=40))
def test_any_history_is_a_path_through_the_table(steps: list[tuple[str | StateCause, float]]) -> None:
    presence, now = DevicePresence(PATIENCE), 0.0
    for step, gap in steps:
        now += gap
        before, due = presence.state, presence.next_timeout()
        if step == "register":
            assert presence.register(now, 300.0) == (before, DeviceState.ONLINE)
        elif step == "timeout":
            change = presence.handle_timeout(now)
            assert (change is None) == (due is None or now < due)
            if change is not None:
                assert TRANSITIONS[change[0], change[2]] is change[1] is presence.state
        else:
            assert isinstance(step, StateCause)
            try:
                assert presence.handle(now, step) == (before, TRANSITIONS[before, step])
            except IllegalTransitionError:
                assert (presence.state, presence.next_timeout()) == (before, due)
        assert (presence.state is DeviceState.ONLINE) <= presence.registered
        assert (presence.next_timeout() is not None) == presence.registered
