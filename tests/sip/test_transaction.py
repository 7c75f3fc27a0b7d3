"""The tables of RFC 3261 §17, walked: any history is a path, deadlines agree with the state, everything ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.failures import IllegalTransitionError
from sip.flow import Address, Flow
from sip.timers import Timers
from sip.transaction import (
    Action,
    Cause,
    Client,
    InviteClient,
    InviteServer,
    Server,
    State,
    Transaction,
    cause_of,
)

UDP = Flow("UDP", Address("192.0.2.10", 5060), Address("198.51.100.20", 5060))
TCP = Flow("TCP", Address("192.0.2.10", 5060), Address("198.51.100.20", 40000), 1)
MACHINES = [InviteClient, Client, InviteServer, Server]
HISTORY = st.lists(st.tuples(st.sampled_from(Cause), st.floats(0, 20)), max_size=40)


def fire_until(machine: Transaction, end: float) -> list[tuple[float, Cause, Action]]:
    """Lets a machine's timers run, without inputs, up to `end`."""
    fired: list[tuple[float, Cause, Action]] = []
    while (due := machine.next_timeout()) is not None and due <= end:
        cause = machine.due(due)
        assert cause is not None
        fired.append((due, cause, machine.handle(due, cause)))
        assert len(fired) < 1000
    return fired


@pytest.mark.parametrize("kind", MACHINES)
@pytest.mark.parametrize("flow", [UDP, TCP])
@given(history=HISTORY)
def test_any_history_is_a_path_through_the_table(
    kind: type[Transaction], flow: Flow, history: list[tuple[Cause, float]]
) -> None:
    now = 0.0
    machine = kind(now, "key", flow, Timers())
    for cause, gap in history:
        now += gap
        before, deadline = machine.state, machine.next_timeout()
        row = kind.TABLE.get((before, cause))
        if row is None:
            if cause in kind.OURS:
                with pytest.raises(IllegalTransitionError):
                    machine.handle(now, cause)
            else:
                assert machine.handle(now, cause) is Action.NOTHING
            assert (machine.state, machine.next_timeout()) == (before, deadline)
            continue
        assert machine.handle(now, cause) is row[1]
        # on a reliable transport a lingering state is left at once
        lingers = (row[0], Cause.ELAPSED) in kind.TABLE
        assert machine.state is row[0] or (flow.reliable and lingers and machine.terminated)
        assert machine.terminated == (machine.next_timeout() is None)
        if flow.reliable:
            assert machine.retransmit_at is None


@pytest.mark.parametrize("kind", MACHINES)
@given(history=HISTORY)
def test_whatever_happened_it_ends_when_left_alone(kind: type[Transaction], history: list[tuple[Cause, float]]) -> None:
    now = 0.0
    machine = kind(now, "key", UDP, Timers())
    for cause, gap in history:
        now += gap
        if (machine.state, cause) in kind.TABLE:
            machine.handle(now, cause)
    fire_until(machine, now + 181)
    assert machine.terminated


@pytest.mark.parametrize("kind", MACHINES)
def test_every_row_is_reachable_and_terminated_is_the_end(kind: type[Transaction]) -> None:
    reached, frontier = {kind.START}, [kind.START]
    while frontier:
        here = frontier.pop()
        for (state, _), (after, _) in kind.TABLE.items():
            if state is here and after not in reached:
                reached.add(after)
                frontier.append(after)
    assert {state for state, _ in kind.TABLE} == reached - {State.TERMINATED}
    assert State.TERMINATED in reached


def test_an_unanswered_invite_is_sent_seven_times_in_32_seconds() -> None:
    machine = InviteClient(0.0, "key", UDP, Timers())
    fired = fire_until(machine, 100)
    assert [at for at, cause, _ in fired if cause is Cause.RETRANSMIT] == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert fired[-1] == (32.0, Cause.TIMEOUT, Action.DELIVER)


def test_another_unanswered_request_is_sent_eleven_times() -> None:
    machine = Client(0.0, "key", UDP, Timers())
    fired = fire_until(machine, 100)
    sent = [at for at, cause, _ in fired if cause is Cause.RETRANSMIT]
    assert sent == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert fired[-1] == (32.0, Cause.TIMEOUT, Action.DELIVER)


def test_after_a_provisional_response_a_request_is_repeated_every_t2() -> None:
    machine = Client(0.0, "key", UDP, Timers())
    machine.handle(0.2, Cause.PROVISIONAL)
    sent = [round(at, 1) for at, cause, _ in fire_until(machine, 100) if cause is Cause.RETRANSMIT]
    assert sent == [4.2, 8.2, 12.2, 16.2, 20.2, 24.2, 28.2]


def test_over_tcp_nothing_is_repeated_but_time_runs_out() -> None:
    machine = InviteClient(0.0, "key", TCP, Timers())
    assert fire_until(machine, 100) == [(32.0, Cause.TIMEOUT, Action.DELIVER)]


def test_a_refusal_is_repeated_until_acknowledged() -> None:
    machine = InviteServer(0.0, "key", UDP, Timers())
    machine.handle(0.0, Cause.FAILURE)
    assert [at for at, *_ in fire_until(machine, 10)] == [0.5, 1.5, 3.5, 7.5]
    machine.handle(10.0, Cause.ACK)
    assert machine.state is State.CONFIRMED
    assert fire_until(machine, 100) == [(15.0, Cause.ELAPSED, Action.NOTHING)]


def test_rfc_6026_keeps_an_accepted_invite_for_retransmissions() -> None:
    machine = InviteServer(0.0, "key", UDP, Timers())
    machine.handle(1.0, Cause.SUCCESS)
    assert machine.handle(2.0, Cause.REQUEST) is Action.NOTHING
    assert machine.handle(2.5, Cause.ACK) is Action.DELIVER
    assert machine.state is State.ACCEPTED
    assert fire_until(machine, 100) == [(33.0, Cause.ELAPSED, Action.NOTHING)]


def test_a_second_final_response_is_our_bug() -> None:
    machine = Server(0.0, "key", UDP, Timers())
    machine.handle(0.0, Cause.SUCCESS)
    with pytest.raises(IllegalTransitionError) as caught:
        machine.handle(0.1, Cause.FAILURE)
    assert (caught.value.state, caught.value.cause) == (State.COMPLETED, Cause.FAILURE)


def test_cancelling_bounds_the_wait_for_the_final_response() -> None:
    machine = InviteClient(0.0, "key", UDP, Timers())
    machine.handle(1.0, Cause.PROVISIONAL)
    assert machine.next_timeout() == 181.0
    machine.give_up_after(5.0)
    assert machine.next_timeout() == 37.0


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (100, Cause.PROVISIONAL),
        (199, Cause.PROVISIONAL),
        (200, Cause.SUCCESS),
        (302, Cause.FAILURE),
        (699, Cause.FAILURE),
    ],
)
def test_status_codes_become_causes(status: int, cause: Cause) -> None:
    assert cause_of(status) is cause
