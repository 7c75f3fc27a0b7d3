import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.dialog import TRANSITIONS, Dialog, DialogCause
from sip.failures import IllegalTransitionError
from sip.flow import Address, Flow
from sip.headers import Headers
from sip.message import parse

FLOW = Flow("UDP", Address("192.0.2.10", 5060), Address("198.51.100.20", 61002))


def received(text: str) -> object:
    return parse(text.replace("\n", "\r\n").encode() + b"\r\n\r\n")


OUR_INVITE = received(
    """INVITE sip:34020000001320000001@3402000000 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bK1
From: <sip:34020000002000000001@3402000000>;tag=ours
To: <sip:34020000001320000001@3402000000>
Call-ID: call-1
CSeq: 7 INVITE
Contact: <sip:34020000002000000001@192.0.2.10:5060>"""
)
THEIR_200 = received(
    """SIP/2.0 200 OK
Via: SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bK1
Record-Route: <sip:203.0.113.3;lr>, <sip:203.0.113.2;lr>
Record-Route: <sip:192.0.2.10;lr>
From: <sip:34020000002000000001@3402000000>;tag=ours
To: <sip:34020000001320000001@3402000000>;tag=theirs
Call-ID: call-1
CSeq: 7 INVITE
Contact: <sip:34020000001320000001@192.168.1.64:5060>"""
)


def established() -> Dialog:
    dialog = Dialog.of_sent_request(OUR_INVITE, FLOW)
    dialog.learn(THEIR_200)
    dialog.handle(DialogCause.ESTABLISH)
    return dialog


@given(st.lists(st.sampled_from(DialogCause)))
def test_any_history_is_a_path_through_the_table(history: list[DialogCause]) -> None:
    dialog = Dialog.of_sent_request(OUR_INVITE, FLOW)
    for cause in history:
        before = dialog.state
        after = TRANSITIONS.get((before, cause))
        if after is None:
            with pytest.raises(IllegalTransitionError):
                dialog.handle(cause)
            assert dialog.state is before
        else:
            dialog.handle(cause)
            assert dialog.state is after


def test_requests_name_the_contact_but_go_down_the_flow() -> None:
    dialog = established()
    bye = dialog.request("BYE")
    assert str(bye.uri) == "sip:34020000001320000001@192.168.1.64:5060"
    assert dialog.flow.remote == Address("198.51.100.20", 61002)
    assert (bye.cseq.number, bye.cseq.method) == (8, "BYE")
    assert (bye.from_.tag, bye.to.tag, bye.call_id) == ("ours", "theirs", "call-1")
    assert bye.headers.get("Max-Forwards") == "70"
    assert dialog.request("INFO").cseq.number == 9


def test_the_route_set_is_reversed_and_leaves_ourselves_out() -> None:
    routes = [str(route) for route in established().request("BYE").headers.routes]
    assert routes == ["<sip:203.0.113.2;lr>", "<sip:203.0.113.3;lr>"]


def test_ack_repeats_the_number_of_its_invite() -> None:
    dialog = established()
    dialog.request("INFO")
    ack = dialog.ack(7)
    assert (ack.cseq.number, ack.cseq.method) == (7, "ACK")
    assert dialog.sequence == 8


def test_a_peer_that_asks_gets_a_dialog_with_its_record_route_in_order() -> None:
    request = received(
        """INVITE sip:34020000002000000001@192.0.2.10 SIP/2.0
Via: SIP/2.0/UDP 192.168.1.64:5060;branch=z9hG4bK2
Record-Route: <sip:203.0.113.1;lr>, <sip:203.0.113.2;lr>
From: <sip:34020000001320000001@3402000000>;tag=theirs
To: <sip:34020000002000000001@3402000000>
Call-ID: call-2
CSeq: 1 INVITE
Contact: <sip:34020000001320000001@192.168.1.64:5060>"""
    )
    dialog = Dialog.of_received_request(request, FLOW, "ours", None)
    bye = dialog.request("BYE")
    assert (bye.from_.tag, bye.to.tag) == ("ours", "theirs")
    assert [str(route) for route in bye.headers.routes] == ["<sip:203.0.113.1;lr>", "<sip:203.0.113.2;lr>"]
    assert bye.cseq.number == 1


@pytest.mark.parametrize(
    ("to_tag", "from_user", "belongs"),
    [
        (";tag=ours", "34020000001320000001", True),
        (";tag=ours", "34020000001180000009", True),  # MediaStatus with a From that is not the channel (Hikvision)
        ("", "34020000001320000001", True),  # and one without a To tag
        (";tag=other", "34020000001320000001", False),
    ],
)
def test_a_request_belongs_by_our_tag_alone(to_tag: str, from_user: str, belongs: bool) -> None:
    request = received(
        f"""MESSAGE sip:34020000002000000001@192.0.2.10 SIP/2.0
Via: SIP/2.0/UDP 192.168.1.64:5060;branch=z9hG4bK3
From: <sip:{from_user}@3402000000>;tag=whatever
To: <sip:34020000002000000001@3402000000>{to_tag}
Call-ID: call-1
CSeq: 20 MESSAGE"""
    )
    assert established().belongs(request) is belongs


def test_a_snapshot_is_plain_json_and_makes_the_same_dialog_again() -> None:
    dialog = established()
    snapshot = json.loads(json.dumps(dialog.snapshot()))
    again = Dialog.restore(snapshot)
    assert again.snapshot() == dialog.snapshot()
    assert again.flow == dialog.flow
    assert bytes(again.request("BYE")) == bytes(dialog.request("BYE"))


def test_a_restored_dialog_can_be_given_another_flow() -> None:
    elsewhere = Flow("TCP", Address("192.0.2.10", 5060), Address("198.51.100.20", 40001), 3)
    assert Dialog.restore(established().snapshot(), elsewhere).flow == elsewhere


@pytest.mark.parametrize("broken", [{}, {"flow": []}, {"flow": ["UDP", "a", 1, "b", 2, 0], "call_id": "x"}])
def test_a_broken_snapshot_is_refused_with_a_documented_error(broken: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Dialog.restore(broken)


def test_a_notify_completes_a_half_made_dialog() -> None:
    dialog = Dialog.of_sent_request(OUR_INVITE, FLOW)
    assert dialog.remote_tag is None
    notify = received(
        """NOTIFY sip:34020000002000000001@192.0.2.10 SIP/2.0
Via: SIP/2.0/UDP 192.168.1.64:5060;branch=z9hG4bK4
From: <sip:34020000001320000001@3402000000>;tag=theirs
To: <sip:34020000002000000001@3402000000>;tag=ours
Call-ID: call-1
CSeq: 3 NOTIFY
Contact: <sip:34020000001320000001@192.168.1.65:5060>"""
    )
    dialog.note_request(notify)
    assert dialog.remote_tag == "theirs"
    assert dialog.target.host == "192.168.1.65"
    assert dialog.remote_sequence == 3


def test_headers_and_body_of_a_request_are_taken() -> None:
    info = established().request("INFO", Headers([("Content-Type", "Application/MANSRTSP")]), b"PAUSE")
    assert info.headers.content_type == "application/mansrtsp"
    assert info.body == b"PAUSE"
