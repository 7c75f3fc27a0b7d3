"""`sip.values`: typed values of headers."""

import pytest

from sip import Auth, CSeq, Deviation, Event, NameAddr, SipParseError, SubscriptionState, Uri, Via


def test_a_hop_tells_where_the_request_came_from() -> None:
    asked = Via.parse("SIP/2.0/UDP 198.51.100.20:5060;rport;branch=z9hG4bK1")
    assert str(asked.stamped("198.51.100.20", 5060)) == (
        "SIP/2.0/UDP 198.51.100.20:5060;rport=5060;branch=z9hG4bK1;received=198.51.100.20"
    )
    silent = Via.parse("SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1")
    assert str(silent.stamped("2001:db8::1", 61000)) == (
        "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1;received=2001:db8::1"
    )
    assert silent.stamped("10.0.0.1", 61000) == silent


@pytest.mark.parametrize(
    ("text", "sent_by"),
    [
        ("SIP/2.0/UDP Host.Example", "host.example:5060"),
        ("SIP/2.0/TLS h", "h:5061"),
        ("sip/2.0/tcp [2001:DB8::1]:5080", "[2001:db8::1]:5080"),
    ],
)
def test_sent_by_is_a_key(text: str, sent_by: str) -> None:
    assert Via.parse(text).sent_by == sent_by


@pytest.mark.parametrize("rport", ["", "0x10", "70000", "-1", "\u0665", "999999"])
def test_an_rport_that_is_no_port_is_none(rport: str) -> None:
    assert Via.parse(f"SIP/2.0/UDP h;rport={rport}").rport is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "SIP/2.0/UDP", "SIP/2.0 h", "HTTP/1.1/TCP h", "SIP/3.0/UDP h", "SIP/2.0/UDP h:99999", "SIP/2.0/UDP h:x"),
        *("SIP/2.0/UDP h;branch=" + "a" * 257, "SIP/2.0/UDP h i", "SIP/2.0/UDP [::1", 'SIP/2.0/UDP h;x="'),
    ],
)
def test_what_is_no_hop_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        Via.parse(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("<sip:a@b>", NameAddr(Uri("a", "b"))),
        ("sip:a@b;tag=1", NameAddr(Uri("a", "b"), "", {"tag": "1"})),
        ("<sip:a@b;tag=1>", NameAddr(Uri("a", "b", params={"tag": "1"}))),
        ('"A \\"b\\" <c>" <sip:a@b>;tag=1', NameAddr(Uri("a", "b"), 'A "b" <c>', {"tag": "1"})),
        ("Front Gate <sip:a@b>;expires=60", NameAddr(Uri("a", "b"), "Front Gate", {"expires": "60"})),
        ('<sip:a@b>;x="1;2,3";tag=t', NameAddr(Uri("a", "b"), "", {"x": "1;2,3", "tag": "t"})),
    ],
)
def test_addresses_are_read_and_written(text: str, address: NameAddr) -> None:
    assert NameAddr.parse(text) == address
    assert NameAddr.parse(str(address)) == address


def test_addresses_with_parameters_of_their_own() -> None:
    address = NameAddr.parse("<sip:a@b>;expires=99999999999")
    assert address.expires == 2**31 - 1
    assert str(address.with_tag("t")) == "<sip:a@b>;expires=99999999999;tag=t"
    assert str(address.with_params(expires="60", flag=None)) == "<sip:a@b>;expires=60;flag"
    assert NameAddr.parse("<sip:a@b>;expires=soon").expires is None


def test_what_had_to_be_tolerated_is_named() -> None:
    deviations: set[Deviation] = set()
    assert NameAddr.parse("Gate, Front < sip:a@b >", deviations).display_name == "Gate, Front"
    assert deviations == {Deviation.UNQUOTED_DISPLAY_NAME, Deviation.ADDRESS_FORM}


@pytest.mark.parametrize(
    "text", ["", "<>", "a <b>", '"a <sip:a@b>', "<sip:a@b", "<sip:a@b> x", "sip:a@b>", "<<sip:a@b>>"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        NameAddr.parse(text)


def test_sequence_numbers() -> None:
    assert CSeq.parse("2147483647\tINVITE") == CSeq(2**31 - 1, "INVITE")
    for text in ("", "1", "INVITE 1", "-1 INVITE", "2147483648 INVITE", "1 IN VITE", "\u0661 INVITE", "1_0 INVITE"):
        with pytest.raises(SipParseError):
            CSeq.parse(text)


def test_events_and_states() -> None:
    assert Event.parse("Catalog;id=7") == Event("catalog", {"id": "7"})
    assert str(Event.parse("id=1984")) == "id=1984"
    assert str(Event("presence")) == "presence"
    state = SubscriptionState.parse("Terminated ; reason=timeout;expires=x")
    assert (state.state, state.reason, state.expires) == ("terminated", "timeout", None)
    for text in ("", ";id=1", "a b"):
        with pytest.raises(SipParseError):
            Event.parse(text)
        with pytest.raises(SipParseError):
            SubscriptionState.parse(text)


def test_challenges_and_credentials() -> None:
    challenge = Auth.parse('Digest realm="a, b", nonce=abc ,QOP="auth" , , algorithm=MD5')
    assert challenge.params == {"realm": "a, b", "nonce": "abc", "qop": "auth", "algorithm": "MD5"}
    assert str(challenge) == 'Digest realm="a, b", nonce="abc", qop="auth", algorithm=MD5'
    for text in ("", 'Digest realm="a', "Digest realm", "Digest <x>=1", "Dig\u00e9st a=b"):
        with pytest.raises(SipParseError):
            Auth.parse(text)
