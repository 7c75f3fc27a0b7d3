"""The tables of calls: every path ends, and no 200 is ever left without ACK and, if unwanted, BYE."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.call import INCOMING, OUTGOING, OVER, Call, CallCause, CallState, Step, Table
from sip.dialog import Dialog
from sip.failures import IllegalTransitionError
from sip.flow import Address, Flow
from sip.uri import Uri
from sip.values import NameAddr

FLOW = Flow("UDP", Address("192.0.2.10", 5060), Address("198.51.100.20", 5060))
OURS = NameAddr(Uri("a", "x"), params={"tag": "ours"})
THEIRS = NameAddr(Uri("b", "x"))


def new_call(*, outgoing: bool) -> Call:
    dialog = Dialog("call-1", OURS, THEIRS, THEIRS.uri, FLOW, sequence=1)
    return Call(dialog, outgoing=outgoing, sequence=1, state=CallState.CALLING if outgoing else CallState.OFFERED)


@pytest.mark.parametrize(("outgoing", "table"), [(True, OUTGOING), (False, INCOMING)])
@given(history=st.lists(st.sampled_from(CallCause)))
def test_any_history_is_a_path_through_the_table(outgoing: bool, table: Table, history: list[CallCause]) -> None:
    call = new_call(outgoing=outgoing)
    for cause in history:
        before = call.state
        row = table.get((before, cause))
        assert call.knows(cause) is (row is not None)
        try:
            step = call.handle(cause)
        except IllegalTransitionError:
            assert row is None
            assert call.state is before
        else:
            assert (call.state, step) == (row or (before, Step.NOTHING))


@pytest.mark.parametrize(
    ("table", "start"), [(OUTGOING, CallState.CALLING), (INCOMING, CallState.OFFERED)], ids=["outgoing", "incoming"]
)
def test_every_state_is_reachable_and_can_reach_its_end(table: Table, start: CallState) -> None:
    states = {state for state, _ in table} | {after for after, _ in table.values()}
    reached = {start}
    while more := {after for (before, _), (after, _) in table.items() if before in reached} - reached:
        reached |= more
    assert reached == states
    ending = set(OVER)
    while more := {before for (before, _), (after, _) in table.items() if after in ending} - ending:
        ending |= more
    assert ending >= states


@pytest.mark.parametrize("state", [state for state in CallState if (state, CallCause.PROVISIONAL) in OUTGOING])
def test_whatever_we_wanted_meanwhile_a_200_is_acknowledged(state: CallState) -> None:
    assert OUTGOING[state, CallCause.SUCCESS][1] in {Step.ACK_AND_REPORT, Step.ACK_AND_BYE}


@pytest.mark.parametrize("state", [CallState.CANCEL_WANTED, CallState.CANCELLING, CallState.ABANDONED])
def test_a_200_that_nobody_wants_any_more_is_ended(state: CallState) -> None:
    assert OUTGOING[state, CallCause.SUCCESS][1] is Step.ACK_AND_BYE


def test_cancel_waits_for_a_provisional_response() -> None:
    call = new_call(outgoing=True)
    assert call.handle(CallCause.HANG_UP) is Step.NOTHING
    assert call.handle(CallCause.PROVISIONAL) is Step.CANCEL


def test_a_callee_waits_for_the_ack_before_its_bye() -> None:
    call = new_call(outgoing=False)
    call.handle(CallCause.SUCCESS)
    assert call.handle(CallCause.HANG_UP) is Step.NOTHING
    assert call.handle(CallCause.ACK) is Step.BYE


def test_answering_twice_is_our_bug_hearing_twice_is_not() -> None:
    ours, theirs = new_call(outgoing=False), new_call(outgoing=True)
    ours.handle(CallCause.SUCCESS)
    with pytest.raises(IllegalTransitionError):
        ours.handle(CallCause.SUCCESS)
    theirs.handle(CallCause.FAILURE)
    assert theirs.handle(CallCause.FAILURE) is Step.NOTHING
