from hypothesis import given
from hypothesis import strategies as st

from sip.dialog import Dialog
from sip.flow import Address, Flow
from sip.message import Request
from sip.subscription import (
    SHORTEST_REFRESH,
    TRANSITIONS,
    Subscriber,
    SubscriberCause,
    SubscriberState,
    SubscriberStep,
)
from sip.uri import Uri
from sip.values import NameAddr

FLOW = Flow("UDP", Address("192.0.2.10", 5060), Address("198.51.100.20", 5060))
URI = Uri("34020000001320000001", "3402000000")


def new_subscriber(asked: int = 600) -> Subscriber:
    dialog = Dialog("call-1", NameAddr(URI, params={"tag": "ours"}), NameAddr(URI), URI, FLOW, sequence=1)
    return Subscriber(dialog, Request("SUBSCRIBE", URI), asked)


@given(st.lists(st.sampled_from(SubscriberCause)))
def test_any_history_is_a_path_through_the_table(history: list[SubscriberCause]) -> None:
    subscriber = new_subscriber()
    for cause in history:
        before = subscriber.state
        after, step = TRANSITIONS.get((before, cause), (before, SubscriberStep.NOTHING))
        assert subscriber.handle(cause) is step
        assert subscriber.state is after
    assert subscriber.over == (subscriber.state is SubscriberState.ENDED)
    if subscriber.over:
        assert subscriber.next_timeout() is None


def test_every_state_can_end() -> None:
    ending = {SubscriberState.ENDED}
    while more := {state for (state, _), (after, _) in TRANSITIONS.items() if after in ending} - ending:
        ending |= more
    assert ending == set(SubscriberState)


def test_a_refresh_is_due_at_two_thirds_and_expiry_at_the_end() -> None:
    subscriber = new_subscriber()
    subscriber.grant(100.0, 600)
    subscriber.handle(SubscriberCause.GRANTED)
    assert subscriber.next_timeout() == 500.0
    assert subscriber.due(499.9) is None
    assert subscriber.due(500.0) is SubscriberCause.DUE
    assert subscriber.handle(SubscriberCause.DUE) is SubscriberStep.REFRESH
    assert subscriber.next_timeout() == 700.0
    assert subscriber.due(700.0) is SubscriberCause.EXPIRED


@given(st.integers(0, 30))
def test_a_peer_that_grants_little_gets_no_storm(granted: int) -> None:
    subscriber = new_subscriber()
    subscriber.grant(0.0, granted)
    subscriber.handle(SubscriberCause.GRANTED)
    assert subscriber.refresh_at is not None
    assert subscriber.refresh_at >= SHORTEST_REFRESH


def test_unsubscribing_waits_for_the_answer_that_is_under_way() -> None:
    subscriber = new_subscriber()
    assert subscriber.handle(SubscriberCause.UNSUBSCRIBE) is SubscriberStep.NOTHING
    assert subscriber.handle(SubscriberCause.GRANTED) is SubscriberStep.UNSUBSCRIBE
    assert subscriber.handle(SubscriberCause.GRANTED) is SubscriberStep.END
