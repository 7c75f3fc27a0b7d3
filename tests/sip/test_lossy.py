"""Every scenario of the core over a lossy link: all transactions end, nothing is left, both sides agree."""

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sip.call import CallState, Party
from sip.events import (
    CallEstablished,
    CallOffered,
    CallOver,
    Event,
    NotifierOver,
    RequestAnswered,
    RequestFailed,
    RequestReceived,
    SubscriptionOver,
)
from sip.transaction_layer import Failure
from tests.sip.lossy import Faults, Link, Side, message

REST = 400.0  # seconds after which nothing may be left: INVITE's longest life, then what is remembered of it

# No more loss than BYE, sent eleven times, gets through for sure in any of the seeds tried
FAULTS = st.builds(
    Faults,
    seed=st.integers(0, 10_000),
    loss=st.sampled_from([0.0, 0.1, 0.25]),
    duplicate=st.sampled_from([0.0, 0.2]),
    delay=st.sampled_from([0.001, 0.05]),
    jitter=st.sampled_from([0.0, 0.3]),
)
TIMES = st.floats(0, 3).map(lambda time: round(time, 2))
lossy = settings(derandomize=True, max_examples=60, deadline=None)


def answering(link: Link, side: Side, status: int = 200) -> Counter[str]:
    """Lets a side answer every request; counts how often each body came to its user."""
    seen: Counter[str] = Counter()

    def on_event(now: float, event: Event) -> None:
        if isinstance(event, RequestReceived):
            seen[event.request.body.decode()] += 1
            side.core.respond(now, event.transaction, status)

    side.on_event = on_event
    return seen


@lossy
@given(FAULTS)
@example(Faults(loss=1.0))
@example(Faults())
def test_each_request_is_handled_once_and_answered_or_timed_out(faults: Faults) -> None:
    link = Link(faults)
    seen = answering(link, link.device)
    for number in range(20):
        request = message("MESSAGE", str(number).encode())
        link.at(number * 0.1, lambda request=request: link.platform.core.request(link.now, link.platform.flow, request))
    link.run(REST)
    assert set(seen.values()) <= {1}, "a retransmission reached the user"
    answered, failed = link.platform.of(RequestAnswered), link.platform.of(RequestFailed)
    assert len(answered) + len(failed) == 20
    assert all(event.failure is Failure.TIMEOUT for event in failed)
    if faults.loss <= 0.25:
        assert len(answered) == 20
    link.assert_nothing_left()


@lossy
@given(FAULTS, TIMES, TIMES)
def test_a_call_is_set_up_and_ended_by_the_platform(faults: Faults, answer_after: float, talk: float) -> None:
    link = Link(faults)
    device, platform = link.device, link.platform

    def on_device(now: float, event: Event) -> None:
        if isinstance(event, CallOffered):
            link.at(now + answer_after, lambda: device.core.calls.accept(link.now, event.call, body=b"answer"))

    def on_platform(now: float, event: Event) -> None:
        if isinstance(event, CallEstablished):
            link.at(now + talk, lambda: platform.core.calls.hang_up(link.now, event.call))

    device.on_event, platform.on_event = on_device, on_platform
    call = invite(link)
    link.run(REST)
    assert call.answer is not None
    assert call.answer.body == b"answer"
    (offered,) = device.of(CallOffered)
    assert one_end(platform).ended.by is Party.LOCAL
    assert one_end(device).ended.by in {Party.REMOTE, Party.NETWORK}
    assert offered.call.over
    assert len(platform.of(CallEstablished)) == 1
    link.assert_nothing_left()


@lossy
@given(FAULTS, TIMES, TIMES, st.booleans())
@example(Faults(delay=0.05), 0.05, 0.1, True)  # CANCEL and 200 cross
@example(Faults(), 0.0, 0.0, True)  # given up before anything is heard
def test_cancel_and_answer_may_cross_and_no_device_streams_on(
    faults: Faults, answer_at: float, cancel_at: float, ring: bool
) -> None:
    link = Link(faults)
    device, platform = link.device, link.platform

    def accept(offer: CallOffered) -> None:
        if not offer.call.over:
            device.core.calls.accept(link.now, offer.call, body=b"answer")

    def on_device(now: float, event: Event) -> None:
        if isinstance(event, CallOffered):
            if ring:
                device.core.calls.progress(now, event.call)
            link.at(now + answer_at, lambda: accept(event))

    device.on_event = on_device
    call = invite(link)
    link.at(cancel_at, lambda: platform.core.calls.hang_up(link.now, call, "viewer left"))
    link.run(REST)
    ended = one_end(platform).ended
    assert (ended.by, ended.reason) == (Party.LOCAL, "viewer left")
    for offer in device.of(CallOffered):
        assert offer.call.over, offer.call.state
    assert len(device.of(CallOver)) == len(device.of(CallOffered)) == 1
    link.assert_nothing_left()


@lossy
@given(FAULTS, TIMES, TIMES)
def test_both_hang_up_at_about_the_same_time(faults: Faults, here: float, there: float) -> None:
    link = Link(faults)
    device, platform = link.device, link.platform

    def on_device(now: float, event: Event) -> None:
        if isinstance(event, CallOffered):
            device.core.calls.accept(now, event.call)
            link.at(now + there, lambda: device.core.calls.hang_up(link.now, event.call))

    def on_platform(now: float, event: Event) -> None:
        if isinstance(event, CallEstablished):
            link.at(now + here, lambda: platform.core.calls.hang_up(link.now, event.call))

    device.on_event, platform.on_event = on_device, on_platform
    invite(link)
    link.run(REST)
    one_end(device)
    one_end(platform)
    link.assert_nothing_left()


@lossy
@given(FAULTS, st.sampled_from([404, 486, 488, 600]))
def test_a_refusal_is_acknowledged_and_carries_its_status(faults: Faults, status: int) -> None:
    link = Link(faults)

    def on_device(now: float, event: Event) -> None:
        if isinstance(event, CallOffered):
            link.device.core.calls.reject(now, event.call, status)

    link.device.on_event = on_device
    invite(link)
    link.run(REST)
    ended = one_end(link.platform).ended
    assert (ended.by, ended.status) == (Party.REMOTE, status)
    assert len(link.device.of(CallOver)) == 1
    assert link.platform.core.transactions.counters.timeouts == 0
    link.assert_nothing_left()


def test_an_invite_into_the_void_ends_after_32_seconds() -> None:
    link = Link(Faults(loss=1.0))
    call = invite(link)
    link.run(31.9)
    assert not call.over
    link.run(32.1)
    assert one_end(link.platform).ended.by is Party.NETWORK
    assert link.platform.sent_methods() == ["INVITE"] * 7
    link.run(REST)
    link.assert_nothing_left()


def test_an_answer_long_after_giving_up_is_acknowledged_and_ended() -> None:
    link = Link()
    device = link.device

    def on_device(now: float, event: Event) -> None:
        if isinstance(event, CallOffered):
            link.at(now + 40, lambda: bring_back(event))

    def bring_back(offer: CallOffered) -> None:
        link.down = False
        device.core.calls.accept(link.now, offer.call)

    device.on_event = on_device
    call = invite(link)
    link.at(0.005, lambda: setattr(link, "down", True))  # the INVITE arrives, its 100 does not
    link.run(39)
    assert call.state is CallState.ABANDONED
    link.run(REST)
    assert link.platform.sent_methods()[-2:] == ["ACK", "BYE"]
    assert one_end(device).ended.by is Party.REMOTE
    assert len(link.platform.of(CallOver)) == 1
    link.assert_nothing_left()


def test_a_device_that_rings_for_ever_is_given_up() -> None:
    link = Link()
    invite(link)
    link.run(179)
    assert not link.platform.of(CallOver)
    link.run(800)
    assert one_end(link.platform).ended.by is Party.NETWORK
    assert len(link.device.of(CallOver)) == 1
    link.assert_nothing_left()


def test_a_call_whose_ack_never_comes_is_ended_by_bye() -> None:
    link = Link()
    device = link.device

    def on_device(now: float, event: Event) -> None:
        if isinstance(event, CallOffered):
            link.down = True
            device.core.calls.accept(now, event.call)

    device.on_event = on_device
    invite(link)
    link.run(31)
    assert device.sent_methods().count("200") > 5
    link.run(40)
    assert "BYE" in device.sent_methods()
    link.run(REST)
    assert one_end(device).ended.reason == "no ACK"
    link.assert_nothing_left()


@lossy
@given(FAULTS, st.sampled_from([30, 600, 3600]), st.booleans())
def test_a_subscription_is_refreshed_until_it_is_ended(faults: Faults, expires: int, by_peer: bool) -> None:
    link = Link(faults)
    device, platform = link.device, link.platform
    notifiers = []

    def on_device(now: float, event: Event) -> None:
        if isinstance(event, RequestReceived):
            notifier = device.core.subscriptions.accept(now, event.transaction, expires)
            notifiers.append(notifier)
            request = device.core.subscriptions.notify_request(now, notifier, body=b"first")
            device.core.subscriptions.send(now, notifier, request, lambda _now, _outcome: None)

    def on_platform(now: float, event: Event) -> None:
        if isinstance(event, RequestReceived):
            assert event.request.method == "NOTIFY"
            known = event.subscriber is not None
            platform.core.respond(now, event.transaction, 200 if known else 481)

    device.on_event, platform.on_event = on_device, on_platform
    asked = message("SUBSCRIBE", b"<Query/>", Event="Catalog;id=9", Expires=str(expires))
    subscriber = platform.core.subscriptions.subscribe(0.0, platform.flow, platform.core.complete(platform.flow, asked))
    link.run(expires * 5)
    assert len(notifiers) == 1, "a refresh made a second subscription"
    if not subscriber.over:  # a refresh may be late beyond the shortest expiry
        assert device.sent_methods().count("200") >= 6
        if by_peer:
            device.core.subscriptions.terminate(link.now, notifiers[0])
        else:
            platform.core.subscriptions.unsubscribe(link.now, subscriber)
    link.run(link.now + expires + REST)
    assert len(platform.of(SubscriptionOver)) == 1
    assert len(device.of(NotifierOver)) == 1
    link.assert_nothing_left()


@lossy
@given(FAULTS)
def test_an_unanswered_subscribe_and_an_expired_one_end(faults: Faults) -> None:
    link = Link(faults)

    def on_device(now: float, event: Event) -> None:
        if isinstance(event, RequestReceived):
            link.device.core.subscriptions.accept(now, event.transaction, 60)
            link.at(now + 5, lambda: setattr(link, "down", True))

    link.device.on_event = on_device
    asked = link.platform.core.complete(link.platform.flow, message("SUBSCRIBE", Event="presence", Expires="60"))
    link.platform.core.subscriptions.subscribe(0.0, link.platform.flow, asked)
    link.run(REST)
    assert len(link.platform.of(SubscriptionOver)) == 1
    assert len(link.device.of(NotifierOver)) == 1
    link.assert_nothing_left()


@pytest.mark.parametrize("method", ["MESSAGE", "INVITE"])
def test_a_connection_closed_mid_transaction_fails_it_on_both_sides(method: str) -> None:
    link = Link(transport="TCP")
    platform, device = link.platform, link.device
    if method == "INVITE":
        invite(link)
    else:
        platform.core.request(0.0, platform.flow, message(method))
    link.run(1)
    link.down = True
    for side in (platform, device):
        side.core.handle_flow_closed(link.now, side.flow)
    link.run(2)
    if method == "INVITE":
        assert one_end(platform).ended.by is one_end(device).ended.by is Party.NETWORK
    else:
        (failed,) = platform.of(RequestFailed)
        assert failed.failure is Failure.BROKEN
        assert device.core.transactions.sizes["servers"] == 0
    link.run(REST)
    link.assert_nothing_left()


ACTIONS = st.sampled_from(["invite", "message", "cancel", "accept", "reject", "hang up", "close", "down", "up", "info"])


@settings(derandomize=True, max_examples=150, deadline=None)
@given(FAULTS, st.lists(st.tuples(ACTIONS, st.floats(0, 5)), max_size=30), st.sampled_from(["UDP", "TCP"]))
def test_any_history_leaves_nothing_behind(faults: Faults, history: list[tuple[str, float]], transport: str) -> None:
    link = Link(faults, transport=transport)
    platform, device = link.platform, link.device
    calls = []

    def on_device(now: float, event: Event) -> None:
        if isinstance(event, RequestReceived) and event.request.body != b"unanswered":
            device.core.respond(now, event.transaction, 200)

    device.on_event = on_device

    def act(action: str) -> None:
        offers = [event.call for event in device.of(CallOffered) if event.call.state is CallState.OFFERED]
        if action == "invite":
            calls.append(invite(link))
        elif action == "message":
            body = b"unanswered" if len(calls) % 2 else b""
            platform.core.request(link.now, platform.flow, message("MESSAGE", body))
        elif action in {"cancel", "hang up"} and calls:
            platform.core.calls.hang_up(link.now, calls[-1])
        elif action == "accept" and offers:
            device.core.calls.accept(link.now, offers[-1])
        elif action == "reject" and offers:
            device.core.calls.reject(link.now, offers[-1])
        elif action == "info" and calls and calls[-1].state is CallState.ESTABLISHED:
            platform.core.request(link.now, platform.flow, calls[-1].dialog.request("INFO", (), b"PLAY"))
        elif action == "close":
            for side in (platform, device):
                side.core.handle_flow_closed(link.now, side.flow)
        elif action in {"down", "up"}:
            link.down = action == "down"

    time = 0.0
    for action, gap in history:
        time += gap
        link.at(time, lambda action=action: act(action))
    link.run(time)
    for side, kind in ((platform, calls), (device, [event.call for event in device.of(CallOffered)])):
        for call in kind:
            side.core.calls.hang_up(link.now, call)
    link.run(time + 2 * REST)
    assert all(call.over for call in calls)
    assert len(platform.of(CallOver)) == len(calls)
    assert len(device.of(CallOver)) == len(device.of(CallOffered))
    link.assert_nothing_left()


def invite(link: Link):
    platform = link.platform
    request = platform.core.complete(platform.flow, message("INVITE", b"offer", Subject="a:0,b:0"))
    return platform.core.calls.invite(link.now, platform.flow, request)


def one_end(side: Side) -> CallOver:
    (end,) = side.of(CallOver)
    return end
