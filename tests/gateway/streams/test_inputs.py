"""Which of several inputs feeds a stream."""

import pytest

from gateway.streams.inputs import BackupType, Failover, Input, Switch, SwitchCause

A, P, D = BackupType.ACTIVE, BackupType.PASSIVE, BackupType.DISABLED


def inputs(*backups: BackupType) -> list[Input]:
    return [Input(number, f"http://h/{number}", backup) for number, backup in enumerate((A, *backups), 1)]


def test_one_that_is_ready_takes_over_at_once_and_the_primary_returns_when_it_was_back_for_long_enough() -> None:
    failover = Failover(inputs(P, A, A), return_after=30)
    assert failover.standing == [3, 4]
    assert failover.handle_failure(0, "ended", again=False) is None, "none is ready: the primary is tried again first"
    failover.handle_standby(0, 4, ready=True)
    assert failover.handle_failure(0, "ended", again=False) == Switch(4, SwitchCause.FAILED, "ended")
    assert failover.standing == [1, 3]
    failover.handle_standby(100, 1, ready=True)
    failover.handle_standby(120, 1, ready=False)
    assert failover.next_timeout() is None
    failover.handle_standby(125, 1, ready=True)
    assert failover.next_timeout() == 155
    assert failover.handle_timeout(154.9) is None
    assert failover.handle_timeout(155) == Switch(1, SwitchCause.RETURNED, "the primary input is back", "primary_back")
    assert (failover.current, failover.next_timeout(), failover.standing) == (1, None, [3, 4])


def test_passive_inputs_are_tried_in_their_order_once_the_current_one_stays_away() -> None:
    failover = Failover(inputs(P, D, P), return_after=None)
    assert failover.standing == []
    for number in (2, 4):
        assert failover.handle_failure(0, "ended", again=False) is None
        assert failover.handle_failure(0, "refused", again=True) == Switch(number, SwitchCause.FAILED, "refused")
    assert failover.next_timeout() is None


def test_a_round_of_failures_is_followed_by_a_wait_that_doubles() -> None:
    failover = Failover(inputs(P, D, P), return_after=None)
    now, order, waits = 0.0, [], []
    for _ in range(24):
        switch = failover.handle_failure(now, "refused", again=True)
        if switch is None:
            due = failover.next_timeout()
            assert due is not None
            assert failover.handle_failure(now, "refused", again=True) is None, "it is tried again all the while"
            assert failover.handle_timeout(due - 0.01) is None
            waits.append(due - now)
            now, switch = due, failover.handle_timeout(due)
        assert switch is not None
        assert switch.cause is SwitchCause.FAILED
        order.append(switch.number)
    assert order == [2, 4, 1] * 8, "the disabled one is left out"
    assert waits[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert max(waits) == 60


def test_mute_inputs_that_are_ready_do_not_keep_a_passive_one_from_its_turn() -> None:
    failover = Failover(inputs(A, P), return_after=None)
    failover.handle_standby(0, 2, ready=True)
    assert failover.handle_failure(5, "nothing comes", again=True) == Switch(2, SwitchCause.FAILED, "nothing comes")
    failover.handle_flow(5.1)
    failover.handle_standby(6, 1, ready=True)
    switch = failover.handle_failure(11, "nothing comes", again=True, quiet=5)
    assert switch == Switch(3, SwitchCause.FAILED, "nothing comes"), "what its server had kept is no flow"


def test_who_has_flowed_for_long_enough_ends_the_outage() -> None:
    failover = Failover(inputs(A), return_after=None)
    failover.handle_standby(0, 2, ready=True)
    assert failover.handle_failure(0, "ended", again=False) is not None
    failover.handle_flow(1)
    failover.handle_standby(2, 1, ready=True)
    switch = failover.handle_failure(16, "nothing comes", again=True, quiet=5)
    assert switch == Switch(1, SwitchCause.FAILED, "nothing comes")


def test_what_flows_or_becomes_ready_ends_the_wait() -> None:
    failover = Failover(inputs(A, A), return_after=None)
    for _ in range(3):
        failover.handle_failure(0, "refused", again=True)
    assert (failover.current, failover.next_timeout()) == (3, 1)
    failover.handle_flow(0.5)
    assert failover.next_timeout() is None
    assert failover.handle_failure(0.7, "refused", again=True) is None
    assert failover.next_timeout() == 2.7
    failover.handle_standby(0.8, 2, ready=True)
    assert failover.next_timeout() == 1.8
    assert failover.handle_timeout(1.8) == Switch(2, SwitchCause.FAILED, "refused"), "the one that is ready"


@pytest.mark.parametrize(("back_at", "due"), [(3.0, 8.0), (7.5, 8.5)])
def test_one_that_came_back_takes_over_in_the_same_outage(back_at: float, due: float) -> None:
    failover = Failover(inputs(A), return_after=30)
    failover.handle_standby(0, 2, ready=True)
    assert failover.handle_failure(0, "ended", again=False) == Switch(2, SwitchCause.FAILED, "ended")
    failover.handle_flow(0.1)
    failover.handle_standby(back_at, 1, ready=True)
    assert failover.handle_failure(8, "ended", again=False) is None
    assert failover.next_timeout() == back_at + 1, "it is ready for so long, whether the other comes back or not"
    assert failover.handle_timeout(due) == Switch(1, SwitchCause.FAILED, "ended")


def test_a_primary_alone_is_only_tried_again() -> None:
    failover = Failover(inputs(D), return_after=5)
    assert failover.handle_failure(0, "refused", again=True) is None
    assert failover.current == 1


def test_what_stands_by_unchanged_is_still_ready_after_a_change() -> None:
    before = Failover(inputs(A, A, A, A), return_after=30)
    for number in (2, 3, 4, 5):
        before.handle_standby(10, number, ready=True)
    one, two, three, four, five = before.inputs
    other, passive = Input(3, "http://h/other", A), Input(4, four.url, P)
    after = Failover([one, two, other, passive], return_after=30)
    assert after.take_over(before) == [2]
    assert [after.is_ready(number) for number in (1, 2, 3, 4, 5)] == [False, True, False, False, False]
    assert after.handle_failure(0, "ended", again=False) == Switch(2, SwitchCause.FAILED, "ended")
    moved = Failover([one, Input(2, three.url, A), Input(3, five.url, A)], return_after=30)
    assert moved.take_over(before) == []
    assert not moved.is_ready(2), "by another number it is connected anew"


def test_what_is_chosen_by_hand_stays_until_it_fails() -> None:
    failover = Failover(inputs(A, D), return_after=10)
    assert failover.choose(2) == Switch(2, SwitchCause.MANUAL, "chosen by hand", "chosen")
    assert failover.standing == [1], "an active primary stands by"
    failover.handle_standby(0, 1, ready=True)
    assert failover.next_timeout() is None
    assert failover.choose(2) is None
    assert failover.handle_failure(0, "ended", again=False) == Switch(1, SwitchCause.FAILED, "ended")
    for number in (3, 4):
        with pytest.raises(ValueError, match=str(number)):
            failover.choose(number)
