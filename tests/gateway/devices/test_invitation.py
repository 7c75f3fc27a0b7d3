"""`gateway.devices.invitation`: the table, walked at random, and the retries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.invitation import BACK_OFF, TRANSITIONS, ChannelInvitation
from gateway.devices.model import InvitationStatus as S
from gateway.devices.model import StateCause as C
from gateway.errors import IllegalTransitionError


def channel(*causes: C, status: S = S.ONLINE, online: bool = True, grace: float | None = None) -> ChannelInvitation:
    machine = ChannelInvitation(status, device_online=online, grace=grace)
    for cause in causes:
        machine.handle(0.0, cause)
    return machine


@given(st.sampled_from(S), st.booleans(), st.lists(st.tuples(st.sampled_from(C), st.floats(0, 100)), max_size=40))
def test_any_history_is_a_path_through_the_table(start: S, online: bool, history: list[tuple[C, float]]) -> None:
    machine = ChannelInvitation(start, device_online=online, grace=120.0)
    now = 0.0
    for cause, gap in history:
        now += gap
        machine.handle_timeout(now)
        before = machine.status
        try:
            machine.handle(now, cause)
        except IllegalTransitionError:
            assert machine.status is before
        else:
            after = TRANSITIONS[before, cause]
            assert machine.status is after or (after, machine.status) == (S.ONLINE, S.OFFLINE)
        assert machine.next_timeout() is None or machine.status is S.TEMPORARY_OFFLINE


def test_a_lost_channel_is_retried_with_back_off() -> None:
    machine = channel(C.INVITE, C.MEDIA, C.MEDIA_LOST)
    now = 0.0
    for wait in (*BACK_OFF, BACK_OFF[-1]):
        assert machine.next_timeout() == now + wait
        now += wait
        machine.handle_timeout(now)
        assert machine.status is S.INVITING
        machine.handle(now, C.MEDIA_LOST)


def test_success_forgets_the_retries() -> None:
    machine = channel(C.INVITE, C.MEDIA, C.MEDIA_LOST, C.RETRY, C.MEDIA, C.MEDIA_LOST)
    assert machine.next_timeout() == BACK_OFF[0]


def test_no_retry_while_the_device_is_away_and_one_at_once_when_it_returns() -> None:
    machine = channel(C.INVITE, C.MEDIA, C.DEVICE_OFFLINE)
    assert (machine.status, machine.next_timeout()) == (S.TEMPORARY_OFFLINE, None)
    machine.handle(50.0, C.DEVICE_ONLINE)
    assert machine.next_timeout() == 50.0


@pytest.mark.parametrize(("online", "end"), [(True, S.ONLINE), (False, S.OFFLINE)])
def test_given_up_after_the_grace_period(online: bool, end: S) -> None:
    machine = channel(C.INVITE, C.MEDIA, C.MEDIA_LOST if online else C.DEVICE_OFFLINE, grace=60.0)
    machine.handle_timeout(2.0)
    if online:
        machine.handle(30.0, C.MEDIA_LOST)
    machine.handle_timeout(60.0)
    assert machine.status is end


def test_cancel_ends_offline_when_the_device_left_meanwhile() -> None:
    machine = channel(C.INVITE, C.CANCEL, C.DEVICE_OFFLINE, C.ENDED)
    assert machine.status is S.OFFLINE


def test_an_absent_device_cannot_be_invited() -> None:
    machine = channel(C.INVITE, C.MEDIA, C.DEVICE_OFFLINE)
    with pytest.raises(IllegalTransitionError):
        machine.handle(0.0, C.INVITE)


def test_what_was_wanted_before_a_restart_is_tried_again_and_again() -> None:
    machine = channel(C.DEVICE_ONLINE, status=S.TEMPORARY_OFFLINE, online=False)
    machine.handle_timeout(0.0)
    assert (machine.status, machine.retrying) == (S.INVITING, True)
    machine.handle(10.0, C.MEDIA_LOST)
    assert machine.next_timeout() == 10.0 + BACK_OFF[0]


def test_a_first_invitation_is_no_retry() -> None:
    assert not channel(C.INVITE).retrying
