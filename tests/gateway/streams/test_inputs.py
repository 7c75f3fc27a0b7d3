"""Which of several inputs feeds a stream."""

import pytest

from gateway.streams.inputs import BackupType, Failover, Input, Switch, SwitchCause

A, P, D = BackupType.ACTIVE, BackupType.PASSIVE, BackupType.DISABLED


def inputs(*backups: BackupType) -> list[Input]:
    return [Input(number, f"http://h/{number}", backup) for number, backup in enumerate((A, *backups), 1)]


def test_one_that_is_ready_takes_over_at_once_and_the_primary_returns_when_it_was_back_for_long_enough() -> None:
    failover = Failover(inputs(P, A, A), return_after=30)
    assert failover.standing == [3, 4]
    assert failover.handle_failure("ended", again=False) is None, "none is ready: the primary is tried again first"
    failover.handle_standby(0, 4, connected=True)
    assert failover.handle_failure("ended", again=False) == Switch(4, SwitchCause.FAILED, "ended")
    assert failover.standing == [1, 3]
    failover.handle_standby(100, 1, connected=True)
    failover.handle_standby(120, 1, connected=False)
    assert failover.next_timeout() is None
    failover.handle_standby(125, 1, connected=True)
    assert failover.next_timeout() == 155
    assert failover.handle_timeout(154.9) is None
    assert failover.handle_timeout(155) == Switch(1, SwitchCause.RETURNED, "the primary input is back")
    assert (failover.current, failover.next_timeout(), failover.standing) == (1, None, [3, 4])


def test_passive_inputs_are_tried_in_their_order_once_the_current_one_stays_away() -> None:
    failover = Failover(inputs(P, D, P), return_after=None)
    assert failover.standing == []
    numbers = []
    for _ in range(4):
        assert failover.handle_failure("ended", again=False) is None
        switch = failover.handle_failure("refused", again=True)
        assert switch is not None
        numbers.append(switch.number)
    assert numbers == [2, 4, 1, 2], "the disabled one is left out"


def test_a_primary_alone_is_only_tried_again() -> None:
    failover = Failover(inputs(D), return_after=5)
    assert failover.handle_failure("refused", again=True) is None
    assert failover.current == 1


def test_what_stands_by_unchanged_is_still_ready_after_a_change() -> None:
    before = Failover(inputs(A, A, A, A), return_after=30)
    for number in (2, 3, 4, 5):
        before.handle_standby(10, number, connected=True)
    one, two, three, four, five = before.inputs
    other, passive = Input(3, "http://h/other", A), Input(4, four.url, P)
    after = Failover([one, two, other, passive], return_after=30)
    assert after.take_over(before) == [2]
    assert [after.is_ready(number) for number in (1, 2, 3, 4, 5)] == [False, True, False, False, False]
    assert after.handle_failure("ended", again=False) == Switch(2, SwitchCause.FAILED, "ended")
    moved = Failover([one, Input(2, three.url, A), Input(3, five.url, A)], return_after=30)
    assert moved.take_over(before) == []
    assert not moved.is_ready(2), "by another number it is connected anew"


def test_what_is_chosen_by_hand_stays_until_it_fails() -> None:
    failover = Failover(inputs(A, D), return_after=10)
    assert failover.choose(2) == Switch(2, SwitchCause.MANUAL, "chosen by hand")
    assert failover.standing == [1], "an active primary stands by"
    failover.handle_standby(0, 1, connected=True)
    assert failover.next_timeout() is None
    assert failover.choose(2) is None
    assert failover.handle_failure("ended", again=False) == Switch(1, SwitchCause.FAILED, "ended")
    for number in (3, 4):
        with pytest.raises(ValueError, match=str(number)):
            failover.choose(number)
