"""Whatever a peer sends, in whatever order, the core neither raises nor keeps anything for good."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sip.call import CallState
from sip.core import Core
from sip.events import CallOffered, Event, RequestReceived
from sip.flow import Address, Flow
from sip.message import Message, Request, parse
from sip.transaction_layer import Limits
from tests.sip.lossy import message

UDP = Flow("UDP", Address("192.0.2.10", 5060), Address("198.51.100.20", 5060))
FLOWS = [
    UDP,
    Flow("UDP", Address("192.0.2.10", 5060), Address("203.0.113.66", 7)),
    Flow("TCP", Address("192.0.2.10", 5060), Address("198.51.100.20", 40000), 1),
]
# The core's words are counted from 1, so that a stranger can guess them here: branches, tags and Call-IDs really meet
WORDS = [f"{number:x}" for number in range(1, 12)]
METHODS = st.sampled_from(
    ["INVITE", "ACK", "CANCEL", "BYE", "MESSAGE", "INFO", "NOTIFY", "SUBSCRIBE", "REGISTER", "OPTIONS", "UPDATE", "NEW"]
)
STATUSES = st.sampled_from([100, 101, 180, 183, 200, 202, 299, 301, 401, 404, 481, 486, 487, 500, 503, 603])
BRANCH = st.sampled_from(["", ";branch=", ";branch=1", *(f";branch=z9hG4bK{word}" for word in WORDS)])
TAG = st.sampled_from(["", ";tag=", ";tag=x", *(f";tag={word}" for word in WORDS)])
EXTRA = st.lists(
    st.sampled_from(
        [
            "Contact: <sip:1@192.168.1.64:5060>", "Contact: *", "Contact: <tel:+1>", "Contact: nonsense <",
            "Record-Route: <sip:192.0.2.10:5060;lr>, <sip:203.0.113.1;lr>", "Record-Route: <", "Route: <sip:a@b;lr>",
            "Expires: 0", "Expires: 60", "Expires: 99999999999999999999", "Expires: x", "Event: Catalog;id=1",
            "Subscription-State: terminated;reason=timeout", "Subscription-State: active;expires=0",
            "Subscription-State: active;expires=60", "Subscription-State: ,", "Reason: Q.850;cause=16",
        ]
    ),
    max_size=4,
)  # fmt: skip


@st.composite
def wire(draw: Callable[..., object]) -> bytes:
    """A request or a response whose identifiers may be ours."""
    method = draw(METHODS)
    status = draw(st.one_of(st.none(), STATUSES))
    start = f"{method} sip:a@192.0.2.10 SIP/2.0" if status is None else f"SIP/2.0 {status} Reason"
    host = draw(st.sampled_from(["192.0.2.10:5060", "192.168.1.64"]))
    lines = [
        start,
        f"Via: SIP/2.0/UDP {host}{draw(BRANCH)}",
        f"From: <sip:a@b>{draw(TAG)}",
        f"To: <sip:c@d>{draw(TAG)}",
        f"Call-ID: {draw(st.sampled_from(WORDS))}",
        f"CSeq: {draw(st.integers(0, 3))} {method}",
        *draw(EXTRA),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True)
class Answer:
    """A response to one of the last requests that the core sent."""

    back: int
    status: int
    tag: str
    extra: list[str]

    def to(self, sent: list[Message]) -> bytes:
        requests = [each for each in sent if isinstance(each, Request)]
        if not requests:
            return b""
        request = requests[-1 - self.back % len(requests)]
        text = bytes(request.response(self.status, to_tag=self.tag or None)).decode()
        return text.replace("Content-Length", "\r\n".join([*self.extra, "Content-Length"])).encode()


@dataclass(frozen=True)
class Inside:
    """A request in the dialog of something that the core sent."""

    back: int
    method: str
    number: int
    extra: list[str]

    def to(self, sent: list[Message]) -> bytes:
        if not sent:
            return b""
        last = sent[-1 - self.back % len(sent)]
        ours, theirs = (last.from_, last.to) if isinstance(last, Request) else (last.to, last.from_)
        number = last.cseq.number if self.method in {"ACK", "CANCEL"} else self.number
        via = str(last.via) if self.method == "CANCEL" else f"SIP/2.0/UDP 192.168.1.64;branch=z9hG4bKp{self.number}"
        lines = [f"{self.method} sip:a@192.0.2.10 SIP/2.0", f"Via: {via}", f"From: {theirs}", f"To: {ours}"]
        lines += [f"Call-ID: {last.call_id}", f"CSeq: {number} {self.method}", *self.extra]
        return "\r\n".join([*lines, "", ""]).encode()


def fresh(method: str, number: int, extra: list[str]) -> bytes:
    """A request that asks for something new."""
    lines = [f"{method} sip:a@192.0.2.10 SIP/2.0", f"Via: SIP/2.0/UDP 192.168.1.64;branch=z9hG4bKf{number}"]
    lines += [f"From: <sip:a@b>;tag=f{number}", "To: <sip:c@d>", f"Call-ID: f{number}", f"CSeq: 1 {method}", *extra]
    return "\r\n".join([*lines, "", ""]).encode()


ANSWER = st.builds(Answer, st.integers(0, 2), STATUSES, st.sampled_from(["", "t", "u"]), EXTRA)
INSIDE = st.builds(Inside, st.integers(0, 3), METHODS, st.integers(1, 5), EXTRA)
FRESH = st.builds(fresh, st.sampled_from(["INVITE", "INVITE", "SUBSCRIBE", "MESSAGE"]), st.integers(1, 4), EXTRA)
ACTION = st.sampled_from(["wait", "close", "invite", "invite", "subscribe", "hang up", "request"])
ITEM = st.sampled_from(
    [ANSWER, ANSWER, ANSWER, INSIDE, INSIDE, FRESH, FRESH, wire(), st.binary(max_size=60), ACTION, ACTION, ACTION]
)
STEP = st.tuples(ITEM.flatmap(lambda items: items), st.integers(0, 2), st.sampled_from([0, 0, 0.5, 5, 40]))


class User:
    """Plays the application: answers every second request, accepts every second call."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.calls = []
        self.subscribers = []
        self._turn = itertools.count()

    def on_event(self, now: float, event: Event) -> None:
        even = next(self._turn) % 2 == 0
        if isinstance(event, CallOffered):
            self.calls.append(event.call)
            if even:
                self.core.calls.accept(now, event.call, body=b"sdp")
        elif isinstance(event, RequestReceived) and not event.transaction.answered and even:
            if event.request.method == "SUBSCRIBE":
                self.core.subscriptions.accept(now, event.transaction, 60)
            else:
                self.core.respond(now, event.transaction, 200)

    def act(self, now: float, what: str) -> None:
        core = self.core
        if what == "invite":
            self.calls.append(core.calls.invite(now, UDP, core.complete(UDP, message("INVITE"))))
        elif what == "subscribe":
            request = core.complete(UDP, message("SUBSCRIBE", Expires="60", Event="Catalog;id=1"))
            self.subscribers.append(core.subscriptions.subscribe(now, UDP, request))
        elif what == "hang up" and self.calls:
            core.calls.hang_up(now, self.calls[-1])
        elif what == "request":
            core.request(now, UDP, message("MESSAGE"))
        elif what == "close":
            core.handle_flow_closed(now, FLOWS[2])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, min_size=10, max_size=40))
def test_no_peer_can_break_the_core_or_make_it_keep_anything(history: list[tuple[object, int, float]]) -> None:
    words = (f"{number:x}" for number in itertools.count(1))
    core = Core(lambda: next(words), limits=Limits(clients=50, servers=20, answered=20))
    user, now = User(core), 0.0
    sent: list[Message] = []

    def pump() -> None:
        for event in iter(core.poll_event, None):
            user.on_event(now, event)
        sent.extend(parse(transmit.data) for transmit in iter(core.poll_transmit, None))

    def pass_time(until: float) -> None:
        nonlocal now
        for _ in range(10_000):
            due = core.next_timeout()
            if due is None or due > until:
                break
            now = max(now, due)
            core.handle_timeout(now)
            pump()
        else:
            raise AssertionError("the core never comes to rest")
        now = until

    for item, flow, gap in history:
        if not isinstance(item, str):
            data = item if isinstance(item, bytes) else item.to(sent)
            core.handle_datagram(now, FLOWS[flow], data)
        elif item == "wait":
            pass_time(now + gap)
        else:
            user.act(now, item)
        pump()
        sizes = core.transactions.sizes
        assert sizes["unanswered"] <= 20
        assert sizes["answered"] <= 20
        assert sizes["unanswered"] <= sizes["servers"]

    for call in user.calls:
        core.calls.hang_up(now, call)
    for subscriber in user.subscribers:
        core.subscriptions.unsubscribe(now, subscriber)
    pump()
    pass_time(now + 1000)
    assert {name: size for name, size in core.transactions.sizes.items() if size} == {}
    assert all(call.over for call in user.calls)
    assert all(call.state is not CallState.ESTABLISHED for call in user.calls)
    assert len(core.calls) == 0
    pass_time(now + 100_000_000)
    assert len(core.subscriptions) == 0
    assert core.next_timeout() is None
