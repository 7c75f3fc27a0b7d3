"""`sip.headers`: the multi-dictionary and its typed readings."""

import pytest

from sip import CSeq, Deviation, Headers, NameAddr, SipParseError, Uri, Via

TWO_HOPS = Headers([("Via", "SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b;branch=z9hG4bK2"), ("v", "SIP/2.0/UDP c")])


def test_names_are_known_in_any_form() -> None:
    headers = Headers([("call-id", "1"), ("m", "<sip:a@b>"), ("X-GB-ver", "3.0")])
    assert [name for name, _ in headers] == ["Call-ID", "Contact", "X-GB-ver"]
    for name in ("Call-ID", "CALL-ID", "call-id", "i", "I", "cAlL-iD"):
        assert headers.get(name) == "1"
        assert name in headers
    assert headers.get("x-gb-VER") == "3.0"
    assert headers.get("Subject") is None
    assert "Subject" not in headers
    assert len(headers) == 3


def test_lists_may_be_joined_or_repeated() -> None:
    headers = Headers([("Allow", "INVITE, ACK"), ("Allow", "BYE,,"), ("Contact", '"a, b" <sip:c,d@e>, <sip:f@g>')])
    assert headers.get_list("Allow") == ["INVITE", "ACK", "BYE"]
    assert headers.get_all("Allow") == ["INVITE, ACK", "BYE,,"]
    assert [contact.display_name for contact in headers.contacts] == ["a, b", ""]
    assert headers.get_list("Require") == []
    with pytest.raises(SipParseError):
        Headers([("Accept", 'a, "b')]).get_list("Accept")


def test_changed_copies_leave_the_original_alone() -> None:
    headers = Headers([("X-A", "1"), ("X-B", "2"), ("x-a", "3")])
    a, b, c = ("X-A", "1"), ("X-B", "2"), ("x-a", "3")
    assert list(headers.adding("X-C", 4, 5)) == [a, b, c, ("X-C", "4"), ("X-C", "5")]
    assert list(headers.prepending("X-C", 4)) == [("X-C", "4"), a, b, c]
    assert list(headers.removing("X-a", "X-D")) == [b]
    assert list(headers.replacing("X-A", "x", "y")) == [("X-A", "x"), ("X-A", "y"), b]
    assert list(headers.replacing("X-D", "x")) == [a, b, c, ("X-D", "x")]
    assert list(headers.replacing("X-A")) == [b]
    assert list(headers) == [a, b, c]


def test_the_top_hop_is_replaced_even_when_joined() -> None:
    changed = TWO_HOPS.with_top_via(Via("TCP", "x"))
    assert changed.get_all("Via") == ["SIP/2.0/TCP x, SIP/2.0/UDP b;branch=z9hG4bK2", "SIP/2.0/UDP c"]
    assert [via.host for via in TWO_HOPS.vias] == ["a", "b", "c"]
    assert [via.host for via in changed.vias] == ["x", "b", "c"]
    assert changed.via == Via("TCP", "x")


def test_mandatory_headers_raise_and_optional_ones_count() -> None:
    headers = Headers(
        [("To", "nobody"), ("Expires", "never"), ("Event", ";"), ("Max-Forwards", "x"), ("Content-Type", "xml")]
    )
    with pytest.raises(SipParseError, match="Via missing"):
        _ = headers.via
    with pytest.raises(SipParseError, match="not a URI"):
        _ = headers.to
    assert headers.deviations == set()
    assert (headers.expires, headers.event, headers.max_forwards, headers.content_type) == (None, None, None, None)
    assert headers.deviations == {Deviation.MALFORMED_HEADER}


def test_one_bad_item_does_not_hide_the_others() -> None:
    headers = Headers([("Contact", "<sip:a@b>, nonsense, <sip:c@d>")])
    assert [contact.uri.user for contact in headers.contacts] == ["a", "c"]
    assert headers.deviations == {Deviation.MALFORMED_HEADER}


@pytest.mark.parametrize(
    ("name", "value"), [("To", "<sip:a@b>;tag={}"), ("Call-ID", "{}"), ("Via", "SIP/2.0/UDP h;branch={}")]
)
def test_identifiers_that_become_keys_are_bounded(name: str, value: str) -> None:
    attribute = name.lower().replace("-", "_")
    assert getattr(Headers([(name, value.format("a" * 256))]), attribute)
    with pytest.raises(SipParseError, match="too long"):
        getattr(Headers([(name, value.format("a" * 257))]), attribute)


def test_what_was_read_is_kept() -> None:
    headers = Headers([("From", NameAddr(Uri("a", "b"), "", {"tag": "1"})), ("CSeq", CSeq(1, "BYE"))])
    assert headers.from_ is headers.from_
    assert headers.cseq == CSeq(1, "BYE")


def test_names_that_are_no_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="header name"):
        Headers([("a b", "c")])
