"""`sip.message`: whole messages in and out."""

import time

import pytest

from sip import CSeq, Deviation, Headers, NameAddr, Request, Response, SipParseError, Uri, Via, parse

KEEPALIVE = (
    b"MESSAGE sip:31011500002000000001@3101150000 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 198.51.100.20:5060;rport;branch=z9hG4bK7c1f55\r\n"
    b"From: <sip:31011500001180000002@3101150000>;tag=ka-43\r\n"
    b"To: <sip:31011500002000000001@3101150000>\r\n"
    b"Call-ID: ka-43-9d1e@198.51.100.20\r\n"
    b"CSeq: 43 MESSAGE\r\n"
    b"Max-Forwards: 70\r\n"
    b"Content-Type: Application/MANSCDP+xml\r\n"
    b"Content-Length: 9\r\n"
    b"\r\n"
    b"<Notify/>"
)


def read_request(data: bytes) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    return message


def test_a_keepalive_is_read_whole() -> None:
    request = read_request(KEEPALIVE)
    assert (request.method, request.uri) == ("MESSAGE", Uri("31011500002000000001", "3101150000"))
    assert (request.via.transport, request.via.host, request.via.port) == ("UDP", "198.51.100.20", 5060)
    assert request.via.branch == "z9hG4bK7c1f55"
    assert "rport" in request.via.params
    assert request.via.rport is None
    assert (request.from_.uri.user, request.from_.tag) == ("31011500001180000002", "ka-43")
    assert request.to == NameAddr(Uri("31011500002000000001", "3101150000"))
    assert (request.call_id, request.cseq) == ("ka-43-9d1e@198.51.100.20", CSeq(43, "MESSAGE"))
    assert request.headers.content_type == "application/manscdp+xml"
    assert request.body == b"<Notify/>"
    assert request.deviations == set()


def test_what_is_written_is_what_was_read() -> None:
    assert bytes(parse(KEEPALIVE)) == KEEPALIVE


def test_a_response_repeats_what_ties_it_to_its_request() -> None:
    request = read_request(KEEPALIVE)
    stamped = Request(
        request.method,
        request.uri,
        request.headers.with_top_via(request.via.stamped("203.0.113.9", 61000)),
        request.body,
    )
    response = parse(bytes(stamped.response(200, to_tag="p-1", headers=[("Expires", 60)])))
    assert isinstance(response, Response)
    assert (response.status, response.reason) == (200, "OK")
    assert (response.via.received, response.via.rport) == ("203.0.113.9", 61000)
    assert response.via.branch == request.via.branch
    assert response.from_ == request.from_
    assert response.to == request.to.with_tag("p-1")
    assert (response.call_id, response.cseq) == (request.call_id, request.cseq)
    assert response.headers.expires == 60
    assert response.body == b""


def test_a_request_of_our_own_is_written_strictly() -> None:
    request = Request(
        "OPTIONS",
        Uri("a", "2001:db8::1", 5080),
        Headers(
            [
                ("Via", Via("TCP", "2001:db8::2", None, {"branch": "z9hG4bKx", "rport": None})),
                ("f", NameAddr(Uri("b", "h"), 'B "b"', {"tag": "1"})),
                ("Content-Length", 99),
                ("CSeq", CSeq(1, "OPTIONS")),
            ]
        ),
        b"xy",
    )
    assert bytes(request) == (
        b"OPTIONS sip:a@[2001:db8::1]:5080 SIP/2.0\r\n"
        b"Via: SIP/2.0/TCP [2001:db8::2];branch=z9hG4bKx;rport\r\n"
        b'From: "B \\"b\\"" <sip:b@h>;tag=1\r\n'
        b"CSeq: 1 OPTIONS\r\n"
        b"Content-Length: 2\r\n"
        b"\r\n"
        b"xy"
    )


@pytest.mark.parametrize("name", [b"Via", b"From", b"To", b"Call-ID", b"CSeq"])
def test_a_message_without_a_mandatory_header_is_refused(name: bytes) -> None:
    lines = [line for line in KEEPALIVE.split(b"\r\n") if not line.startswith(name + b":")]
    with pytest.raises(SipParseError, match="missing"):
        parse(b"\r\n".join(lines))


def test_missing_max_forwards_is_a_deviation() -> None:
    request = read_request(KEEPALIVE.replace(b"Max-Forwards: 70\r\n", b""))
    assert request.deviations == {Deviation.NO_MAX_FORWARDS}


def test_nothing_can_be_smuggled_into_a_start_line() -> None:
    with pytest.raises(ValueError, match="control character"):
        bytes(Response(200, "OK\r\nVia: x"))
    with pytest.raises(ValueError, match="control character"):
        bytes(Request("OPTIONS", Uri("a", "b SIP/2.0\r\nX:")))


def test_several_deviations_are_all_named() -> None:
    data = KEEPALIVE.replace(b"MESSAGE", b"message").replace(b"Max-Forwards: 70\r\n", b"").replace(b"z9hG4bK", b"")
    assert parse(data).deviations == {Deviation.METHOD_CASE, Deviation.NO_MAX_FORWARDS, Deviation.NO_COOKIE}


@pytest.mark.parametrize(
    "value",
    [
        *(b" " * 7000, b"\r\n " * 15000 + b"x", (b" " * 8000 + b"\r\n ") * 8, b'"' * 7000, b"<" * 7000, b"<," * 3500),
        *(
            b'"\\' * 3500,
            b";" * 7000,
            b"a=" * 3500,
            b'a="b",' * 1100,
            b"sip:" + b"a:" * 3400,
            b"SIP/2.0/UDP h" + b" " * 7000,
        ),
        *(b"[" * 7000, b"0" * 7000, b"1 " + b"A" * 7000, b'"' + b"\\" * 7000, b"<sip:a@b>" + b";x" * 3400),
    ],
)
@pytest.mark.parametrize(
    "name", [b"Via", b"From", b"CSeq", b"Contact", b"Authorization", b"Event", b"Content-Length", b"X"]
)
def test_the_cost_of_a_message_does_not_explode(name: bytes, value: bytes) -> None:
    data = b"OPTIONS sip:a@b SIP/2.0\r\n" + name + b": " + value + b"\r\n" + KEEPALIVE.partition(b"\r\n")[2]
    began = time.process_time()
    try:
        headers = parse(data).headers
        _ = headers.vias, headers.contacts, headers.authorization, headers.event, headers.routes
    except SipParseError:
        pass
    assert time.process_time() - began < 0.5


def test_a_body_has_a_bound() -> None:
    with pytest.raises(SipParseError, match="body longer"):
        parse(KEEPALIVE, max_body=8)


def test_an_error_tells_where() -> None:
    data = KEEPALIVE.replace(b"CSeq: 43 MESSAGE", b"CSeq: forty-three MESSAGE")
    with pytest.raises(SipParseError) as caught:
        parse(data)
    assert data[caught.value.offset :].startswith(b"forty-three")
    assert caught.value.clause == "RFC 3261 §8.1.1.5"
    data = KEEPALIVE.replace(b"Max-Forwards", b"Max Forwards")
    with pytest.raises(SipParseError, match="header name") as caught:
        parse(data)
    assert data[caught.value.offset :].startswith(b"Max Forwards")
