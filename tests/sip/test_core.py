"""What the core makes of messages as devices really send them: matching, replaying, overload, strays."""

import itertools

import pytest

from sip.core import Core
from sip.events import CallEstablished, CallOffered, CallOver, RequestAnswered, RequestFailed, RequestReceived
from sip.failures import IllegalTransitionError, OverloadedError
from sip.flow import Address, Flow
from sip.message import Request, Response, parse
from sip.transaction_layer import Limits
from tests.sip.lossy import message

FLOW = Flow("UDP", Address("192.0.2.10", 5060), Address("198.51.100.20", 61002))
OTHER = Flow("UDP", Address("192.0.2.10", 5060), Address("198.51.100.20", 61003))
TCP = Flow("TCP", Address("192.0.2.10", 5060), Address("198.51.100.20", 40000), 1)


def new_core(**limits: int) -> Core:
    tokens = itertools.count(1)
    return Core(lambda: f"{next(tokens):08x}", limits=Limits(**limits))


def wire(method: str = "MESSAGE", **changes: str) -> bytes:
    """A request of a device; keyword arguments replace the values of headers, "" leaves one out."""
    headers = {
        "Via": "SIP/2.0/UDP 192.168.1.64:5060;rport;branch=z9hG4bK1",
        "From": "<sip:34020000001320000001@3402000000>;tag=f1",
        "To": "<sip:34020000002000000001@3402000000>",
        "Call-ID": "c1",
        "CSeq": f"20 {method}",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{method} sip:34020000002000000001@3402000000 SIP/2.0"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value]
    return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()


def answer(request: Request, status: int, to_tag: str = "theirs", **headers: str) -> bytes:
    """What a device answers to a request of ours."""
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return bytes(request.response(status, to_tag=to_tag, headers=fields))


def received(core: Core) -> list[RequestReceived]:
    return [event for event in events(core) if isinstance(event, RequestReceived)]


def events(core: Core) -> list[object]:
    return list(iter(core.poll_event, None))


def sent(core: Core) -> list[Request | Response]:
    return [parse(transmit.data) for transmit in iter(core.poll_transmit, None)]


def test_a_retransmission_is_answered_again_and_to_where_it_came_from() -> None:
    core = new_core()
    core.handle_datagram(0.0, FLOW, wire())
    (event,) = received(core)
    core.respond(0.1, event.transaction, 200)
    first = core.poll_transmit()
    assert first is not None
    core.handle_datagram(0.5, OTHER, wire())
    again = core.poll_transmit()
    assert again is not None
    assert (again.flow, again.data) == (OTHER, first.data)
    assert not received(core)
    assert core.transactions.counters.retransmissions_received == 1


def test_a_retransmission_before_the_answer_is_absorbed() -> None:
    core = new_core()
    for now in (0.0, 0.5, 1.5):
        core.handle_datagram(now, FLOW, wire())
    assert len(received(core)) == 1
    assert sent(core) == []


def test_an_answer_is_remembered_for_32_seconds_and_no_longer() -> None:
    core = new_core()
    core.handle_datagram(0.0, FLOW, wire())
    core.respond(0.0, received(core)[0].transaction, 200)
    core.handle_timeout(31.9)
    core.handle_datagram(31.9, FLOW, wire())
    assert not received(core)
    core.handle_timeout(33.0)
    core.handle_datagram(33.0, FLOW, wire())
    assert len(received(core)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"CSeq": "21 MESSAGE"},  # the branch of the last request again (seen on the authorised REGISTER)
        {"Call_ID": "c2"},  # another camera that calls itself 192.168.1.64 and counts its branches from 1
        {"Via": "SIP/2.0/UDP 192.168.1.65:5060;rport;branch=z9hG4bK1"},
        {"Via": "SIP/2.0/UDP 192.168.1.64:5060;rport;branch=z9hG4bK2"},
    ],
)
def test_other_requests_are_not_taken_for_retransmissions(changes: dict[str, str]) -> None:
    core = new_core()
    core.handle_datagram(0.0, FLOW, wire())
    core.handle_datagram(0.1, FLOW, wire(**changes))
    assert len(received(core)) == 2


@pytest.mark.parametrize("via", ["SIP/2.0/UDP 192.168.1.64:5060;branch=1", "SIP/2.0/UDP 192.168.1.64:5060"])
def test_without_the_cookie_requests_are_matched_as_rfc_2543_did(via: str) -> None:
    core = new_core()
    core.handle_datagram(0.0, FLOW, wire(Via=via))
    core.handle_datagram(0.5, FLOW, wire(Via=via))
    core.handle_datagram(0.6, FLOW, wire(Via=via, From="<sip:34020000001320000001@3402000000>;tag=f2"))
    first, second = received(core)
    assert first.request.from_.tag == "f1"
    assert second.request.from_.tag == "f2"


@pytest.mark.parametrize(("asked", "rport"), [(";rport", 61002), ("", None)])
def test_the_answer_tells_where_the_request_came_from(asked: str, rport: int | None) -> None:
    """The port goes to those who asked for it only (RFC 3581 §4)."""
    core = new_core()
    core.handle_datagram(0.0, FLOW, wire(Via=f"SIP/2.0/UDP 192.168.1.64:5060;branch=z9hG4bK1{asked}"))
    core.respond(0.0, received(core)[0].transaction, 200)
    (response,) = sent(core)
    assert (response.via.received, response.via.rport) == ("198.51.100.20", rport)


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"jaK\0", b"\0\0\0\0"])
def test_keepalives_of_nat_are_dropped_silently(data: bytes) -> None:
    core = new_core()
    assert core.handle_datagram(0.0, FLOW, data) is None
    assert (core.counters.ignored, core.counters.malformed) == (1, 0)
    assert (events(core), sent(core), core.next_timeout()) == ([], [], None)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x80" * 500, wire(Via=""), wire(CSeq="x")])
def test_what_is_no_sip_is_dropped_and_counted(data: bytes) -> None:
    core = new_core()
    assert core.handle_datagram(0.0, FLOW, data) is None
    assert core.counters.malformed == 1
    assert (events(core), sent(core)) == ([], [])


@pytest.mark.parametrize("flow", [FLOW, TCP])
def test_what_is_ignored_takes_no_place(flow: Flow) -> None:
    core = new_core(servers=2)
    for number in range(10):
        core.handle_datagram(0.0, flow, wire(Call_ID=f"c{number}"))
        (event,) = received(core)
        core.transactions.ignore(0.0, event.transaction)
    core.transactions.ignore(0.0, event.transaction)
    assert core.transactions.sizes | {"timers": 0} == dict.fromkeys(core.transactions.sizes, 0)
    core.handle_datagram(1.0, flow, wire(Call_ID="c9"))
    assert len(received(core)) == 1, "sent again, it is a new one"
    core.handle_timeout(1000.0)
    assert sent(core) == []


def test_too_many_unanswered_requests_are_refused_without_a_trace() -> None:
    core = new_core(servers=2)
    for number in range(5):
        core.handle_datagram(0.0, FLOW, wire(Call_ID=f"c{number}"))
    assert len(received(core)) == 2
    refusals = sent(core)
    assert [response.status for response in refusals] == [503] * 3
    assert refusals[0].headers.get("Retry-After") == "5"
    assert core.transactions.counters.refused_overload == 3
    assert core.transactions.sizes["servers"] == 2


def test_remembered_answers_are_bounded() -> None:
    core = new_core(answered=10)
    for number in range(25):
        core.handle_datagram(0.0, FLOW, wire(Call_ID=f"c{number}"))
        core.respond(0.0, received(core)[0].transaction, 200)
    assert core.transactions.sizes["answered"] == 10
    assert core.transactions.counters.forgotten_early == 15


def test_requests_under_way_are_bounded() -> None:
    core = new_core(clients=2)
    for _ in range(2):
        core.request(0.0, FLOW, message("MESSAGE"))
    with pytest.raises(OverloadedError):
        core.request(0.0, FLOW, message("MESSAGE"))


def test_a_request_that_nobody_answers_is_forgotten() -> None:
    core = new_core()
    core.handle_datagram(0.0, FLOW, wire())
    core.handle_timeout(33.0)
    assert core.transactions.sizes["servers"] == core.transactions.sizes["unanswered"] == 0
    assert core.transactions.counters.never_answered == 1


def test_over_tcp_an_answered_request_leaves_nothing() -> None:
    core = new_core()
    core.handle_datagram(0.0, TCP, wire())
    core.respond(0.0, received(core)[0].transaction, 200)
    sizes = core.transactions.sizes
    assert (sizes["servers"], sizes["answered"], sizes["flows"]) == (0, 0, 0)


def test_a_second_final_response_is_our_bug() -> None:
    core = new_core()
    core.handle_datagram(0.0, FLOW, wire())
    (event,) = received(core)
    core.respond(0.0, event.transaction, 100)
    core.respond(0.0, event.transaction, 200)
    with pytest.raises(IllegalTransitionError):
        core.respond(0.0, event.transaction, 200)


def test_a_request_is_completed_with_what_it_lacks() -> None:
    core = Core(lambda: "fresh", user_agent="gateway/1", advertise=lambda _flow: Address("203.0.113.9", 5080))
    core.request(0.0, FLOW, message("REGISTER"))
    (request,) = sent(core)
    assert request.from_.tag == "fresh"
    assert (request.call_id, request.cseq.number, request.headers.max_forwards) == ("fresh", 1, 70)
    assert str(request.headers.contact) == "<sip:34020000002000000001@203.0.113.9:5080>"
    assert request.headers.get_all("User-Agent") == ["gateway/1"]
    assert (request.via.host, request.via.port) == ("203.0.113.9", 5080)
    assert "rport" in request.via.params
    assert request.via.has_cookie


def test_a_request_without_from_is_our_bug() -> None:
    with pytest.raises(ValueError, match="From"):
        new_core().request(0.0, FLOW, Request("MESSAGE", message("MESSAGE").uri))


@pytest.mark.parametrize("branch", ["z9hG4bKguess", ""])
def test_a_response_to_nothing_of_ours_is_stray(branch: str) -> None:
    core = new_core()
    core.request(0.0, FLOW, message("MESSAGE"))
    (request,) = sent(core)
    stray = answer(request, 200).replace((request.via.branch or "").encode(), branch.encode() or b"x")
    core.handle_datagram(0.1, FLOW, stray)
    assert events(core) == []
    assert core.transactions.counters.stray_responses == 1


def test_a_response_may_come_by_another_way() -> None:
    core = new_core()
    pending = core.request(0.0, FLOW, message("MESSAGE"))
    (request,) = sent(core)
    core.handle_datagram(0.1, OTHER, answer(request, 200))
    (event,) = events(core)
    assert isinstance(event, RequestAnswered)
    assert event.pending is pending


def test_an_abandoned_request_is_neither_repeated_nor_answered() -> None:
    core = new_core()
    pending = core.request(0.0, FLOW, message("MESSAGE"))
    (request,) = sent(core)
    core.abandon(pending)
    core.handle_timeout(100.0)
    core.handle_datagram(100.0, FLOW, answer(request, 200))
    assert (sent(core), events(core)) == ([], [])
    assert core.transactions.sizes["clients"] == 0


def test_a_bye_that_belongs_nowhere_gets_481() -> None:
    core = new_core()
    core.handle_datagram(0.0, FLOW, wire("BYE", To="<sip:34020000002000000001@3402000000>;tag=old"))
    assert [response.status for response in sent(core)] == [481]


def test_cancel_of_nothing_gets_481() -> None:
    core = new_core()
    core.handle_datagram(0.0, FLOW, wire("CANCEL"))
    assert [response.status for response in sent(core)] == [481]


def test_cancel_after_the_answer_changes_nothing() -> None:
    core = new_core()
    core.handle_datagram(0.0, FLOW, wire("INVITE"))
    (offered,) = events(core)
    assert isinstance(offered, CallOffered)
    core.calls.accept(0.1, offered.call)
    core.handle_datagram(0.2, FLOW, wire("CANCEL"))
    assert [response.status for response in sent(core)] == [100, 200, 200]
    assert not offered.call.over


def test_without_calls_a_stranger_gets_one_answer_to_an_invite() -> None:
    core = Core(lambda: "t", accepts_calls=False)
    for _ in range(2):
        core.handle_datagram(0.0, FLOW, wire("INVITE"))
    core.handle_timeout(100.0)
    first, second = sent(core)
    assert (first.status, first.to.tag) == (405, second.to.tag)
    assert (events(core), core.next_timeout()) == ([], None)


def established_call(core: Core) -> tuple[object, Request]:
    call = core.calls.invite(0.0, FLOW, core.complete(FLOW, message("INVITE", b"offer")))
    (invite,) = sent(core)
    core.handle_datagram(0.1, FLOW, answer(invite, 200, Contact="<sip:1@192.168.1.64>"))
    assert [message.method for message in sent(core)] == ["ACK"]
    assert isinstance(events(core)[0], CallEstablished)
    return call, invite


def test_a_repeated_200_gets_the_same_ack_again() -> None:
    core = new_core()
    _, invite = established_call(core)
    core.handle_datagram(0.6, FLOW, answer(invite, 200))
    core.handle_datagram(1.6, FLOW, answer(invite, 200))
    acks = sent(core)
    assert [ack.method for ack in acks] == ["ACK", "ACK"]
    assert acks[0] == acks[1]
    assert events(core) == []


def test_a_second_device_that_accepts_is_acknowledged_and_ended() -> None:
    core = new_core()
    call, invite = established_call(core)
    core.handle_datagram(0.2, FLOW, answer(invite, 200, to_tag="another"))
    ack, bye = sent(core)
    assert (ack.method, ack.to.tag, bye.method, bye.to.tag) == ("ACK", "another", "BYE", "another")
    assert not call.over


def test_a_reinvite_is_refused_and_the_call_goes_on() -> None:
    core = new_core()
    call, invite = established_call(core)
    tags = {"To": str(invite.from_), "From": "<sip:1@3402000000>;tag=theirs", "Call_ID": invite.call_id}
    core.handle_datagram(1.0, FLOW, wire("INVITE", **tags))
    assert [response.status for response in sent(core)] == [488]
    assert not call.over


def test_media_status_finds_its_call_by_call_id() -> None:
    core = new_core()
    call, invite = established_call(core)
    core.handle_datagram(1.0, FLOW, wire("MESSAGE", Call_ID=invite.call_id, From="<sip:any@thing>;tag=x"))
    (event,) = received(core)
    assert event.call is call


def test_a_moved_nat_mapping_is_followed_but_no_other_host() -> None:
    core = new_core()
    call, invite = established_call(core)
    tags = {"To": str(invite.from_), "From": "<sip:1@3402000000>;tag=theirs", "Call_ID": invite.call_id}
    core.handle_datagram(1.0, OTHER, wire("INFO", **tags))
    assert call.dialog.flow == OTHER
    foreign = Flow("UDP", FLOW.local, Address("203.0.113.66", 5060))
    core.handle_datagram(2.0, foreign, wire("INFO", CSeq="21 INFO", **tags))
    assert call.dialog.flow == OTHER


def test_a_restored_call_is_ended_with_the_next_cseq() -> None:
    core = new_core()
    call, invite = established_call(core)
    again = new_core()
    restored = again.calls.adopt(call.snapshot(), TCP)
    again.calls.hang_up(0.0, restored)
    (bye,) = sent(again)
    assert (bye.method, bye.cseq.number, bye.call_id) == ("BYE", 2, invite.call_id)
    again.handle_datagram(0.1, TCP, answer(bye, 481))
    assert isinstance(events(again)[0], CallOver)
    assert len(again.calls) == 0


def test_a_restored_call_acknowledges_a_200_that_comes_again() -> None:
    core = new_core()
    call, invite = established_call(core)
    again = new_core()
    again.calls.adopt(call.snapshot())
    again.handle_datagram(0.6, FLOW, answer(invite, 200))
    (ack,) = sent(again)
    assert (ack.method, ack.cseq.number) == ("ACK", invite.cseq.number)


def test_a_bye_is_sent_however_busy_we_are() -> None:
    core = new_core(clients=1)
    call, _ = established_call(core)
    assert core.transactions.sizes["clients"] == 1
    core.calls.hang_up(1.0, call)
    assert [message.method for message in sent(core)] == ["BYE"]


def test_late_200s_are_all_acknowledged_but_ended_once() -> None:
    core = new_core()
    call = core.calls.invite(0.0, FLOW, core.complete(FLOW, message("INVITE")))
    (invite,) = sent(core)
    core.handle_timeout(32.0)
    assert call.over
    sent(core)
    for now in (40.0, 40.5, 41.5):
        core.handle_datagram(now, FLOW, answer(invite, 200))
    assert [message.method for message in sent(core)] == ["ACK", "BYE", "ACK", "ACK"]
    assert len([event for event in events(core) if isinstance(event, CallOver)]) == 1


def test_a_refused_invite_is_acknowledged_on_its_own_branch() -> None:
    core = new_core()
    core.calls.invite(0.0, FLOW, core.complete(FLOW, message("INVITE")))
    (invite,) = sent(core)
    core.handle_datagram(0.1, FLOW, answer(invite, 486, to_tag="busy"))
    core.handle_datagram(0.6, FLOW, answer(invite, 486, to_tag="busy"))
    acks = sent(core)
    assert [ack.method for ack in acks] == ["ACK", "ACK"]
    assert {ack.via.branch for ack in acks} == {invite.via.branch}
    assert {ack.to.tag for ack in acks} == {"busy"}
    (over,) = events(core)
    assert over.ended.status == 486


def test_a_flow_that_refuses_datagrams_fails_what_waits_on_it_alone() -> None:
    core = new_core()
    pending = core.request(0.0, FLOW, message("MESSAGE"))
    core.request(0.0, OTHER, message("MESSAGE"))
    core.handle_flow_closed(0.1, FLOW)
    (event,) = events(core)
    assert isinstance(event, RequestFailed)
    assert event.pending is pending
    assert core.transactions.sizes["clients"] == 1


def test_a_notify_may_overtake_the_answer_to_subscribe() -> None:
    core = new_core()
    subscriber = core.subscriptions.subscribe(0.0, FLOW, core.complete(FLOW, message("SUBSCRIBE", Expires="600")))
    (subscribe,) = sent(core)
    tags = {"To": str(subscribe.from_), "From": "<sip:1@3402000000>;tag=theirs", "Call_ID": subscribe.call_id}
    core.handle_datagram(0.1, FLOW, wire("NOTIFY", **tags))
    (event,) = received(core)
    assert event.subscriber is subscriber
    assert subscriber.dialog.remote_tag == "theirs"
    core.handle_datagram(0.2, FLOW, answer(subscribe, 200, Expires="90"))
    assert subscriber.granted == 90
    assert subscriber.next_timeout() == pytest.approx(60.2)


def test_a_notify_outside_any_subscription_goes_to_the_user() -> None:
    core = new_core()
    core.handle_datagram(0.0, FLOW, wire("NOTIFY"))
    (event,) = received(core)
    assert event.subscriber is None


def test_a_refused_refresh_ends_a_subscription() -> None:
    core = new_core()
    wanted = core.complete(FLOW, message("SUBSCRIBE", Expires="600", Event="Catalog;id=7"))
    core.subscriptions.subscribe(0.0, FLOW, wanted)
    (first,) = sent(core)
    core.handle_datagram(0.1, FLOW, answer(first, 200, Expires="600"))
    events(core)
    core.handle_timeout(401.0)
    (refresh,) = sent(core)
    assert (refresh.call_id, refresh.cseq.number, refresh.headers.get("Event")) == (first.call_id, 2, "Catalog;id=7")
    assert refresh.to.tag == "theirs"
    core.handle_datagram(401.1, FLOW, answer(refresh, 481))
    (over,) = events(core)
    assert "481" in over.reason
    assert len(core.subscriptions) == 0


def test_no_deadline_is_left_behind_while_an_end_is_under_way() -> None:
    core = new_core()
    subscriber = core.subscriptions.subscribe(0.0, FLOW, core.complete(FLOW, message("SUBSCRIBE", Expires="60")))
    (first,) = sent(core)
    core.handle_datagram(0.1, FLOW, answer(first, 200, Expires="60"))
    core.subscriptions.unsubscribe(50.0, subscriber)
    core.handle_timeout(61.0)  # it expires before anybody answers
    due = core.next_timeout()
    assert due is not None
    assert due > 61.0
