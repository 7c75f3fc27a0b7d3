"""`sip.uri`: URIs read and written."""

import pytest

from sip import SipParseError, Uri


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:31011500002000000001@3101150000", Uri("31011500002000000001", "3101150000")),
        ("sip:192.0.2.10:5060", Uri(None, "192.0.2.10", 5060)),
        ("SIP:a@B.example", Uri("a", "B.example")),
        ("sips:a:secret@b", Uri("a", "b", scheme="sips", password="secret")),
        (
            "sip:a@[2001:db8::1]:5061;transport=tcp;lr",
            Uri("a", "2001:db8::1", 5061, params={"transport": "tcp", "lr": None}),
        ),
        ("sip:a@b?Subject=x&Route=%3Csip:c%3E", Uri("a", "b", headers={"Subject": "x", "Route": "%3Csip:c%3E"})),
        ("sip:a@", Uri("a", "")),
        ("sip:a;b=c@d", Uri("a;b=c", "d")),
        ("sip:@host", Uri(None, "host")),
        ("sip:under_score.local:", Uri(None, "under_score.local")),
        ("sip:a@b;X=1;x=2;;", Uri("a", "b", params={"x": "1"})),
        (
            "tel:+1-201-555-0123;phone-context=a",
            Uri("+1-201-555-0123", "", scheme="tel", params={"phone-context": "a"}),
        ),
        ("http://example.com/a?b", Uri(None, "", scheme="http", opaque="//example.com/a?b")),
    ],
)
def test_uris_are_read_and_written(text: str, uri: Uri) -> None:
    assert Uri.parse(text) == uri
    assert Uri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    "text", ["sip:@null;rport00-null@example.com;tag]839923423", "sip:@h:5060;a@b", "sips:@h?a=b@c", "sip:h;a"]
)
def test_what_stands_behind_the_host_never_becomes_a_user(text: str) -> None:
    uri = Uri.parse(text)
    assert uri.user is None
    assert str(uri) == text
    assert Uri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "sip",
            "sip:",
            "sip:@",
            ":a@b",
            "31011500002000000001@3101150000",
            "sip:a@b c",
            "sip:a@b:65536",
            "sip:a@b:x",
        ),
        *(
            "sip:a@2001:db8::1",
            "sip:a@[2001:db8::1",
            "sip:a@[g]",
            "sip:a@b@c",
            "<sip:a@b>",
            'sip:"a"@b',
            "sip:a@b\u2003",
        ),
        *("tel:", "tel:;x", "sip:a@b:\u0665", "1sip:x", "sip:a@b:-1"),
    ],
)
def test_what_is_no_uri_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        Uri.parse(text)


def test_endless_text_is_read_in_no_time() -> None:
    for text in ("sip:" + "a" * 8000, "sip:" + "a:" * 4000, "sip:" + ";" * 8000, "sip:a@b" + ";x" * 4000, "[" * 8000):
        try:
            Uri.parse(text)
        except SipParseError:
            continue
