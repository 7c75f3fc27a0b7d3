"""Every torture message of RFC 4475 §3: accepted, tolerated for a reason, or refused."""

from pathlib import Path

import pytest

from sip import Deviation, Message, NameAddr, Request, Response, SipParseError, Uri, parse, sdp

VECTORS = Path(__file__).parents[1] / "vectors" / "sip" / "rfc4475"

D = Deviation
ACCEPTED: dict[str, set[Deviation]] = {
    # §3.1.1 valid
    "wsinv": {D.FOLDED_LINE, D.NO_COOKIE},
    "esc01": {D.FOLDED_LINE},
    "escnull": set(),
    "esc02": set(),
    "lwsdisp": set(),
    "longreq": {D.NO_COOKIE},
    "dblreq": {D.SURPLUS_BYTES},
    "semiuri": {D.FOLDED_LINE},
    "transports": set(),
    "mpart01": set(),
    "unreason": set(),
    "noreason": set(),
    # §3.3 sense, left to transactions and applications
    "unkscm": set(),
    "novelsc": set(),
    "unksm2": set(),
    "bext01": set(),
    "invut": set(),
    "regaut01": set(),
    "bcast": set(),
    "zeromf": set(),
    "cparam01": set(),
    "cparam02": set(),
    "regescrt": set(),
    "sdp01": set(),
    # §3.2.1, §3.4.1 older forms
    "badbranch": {D.NO_COOKIE},
    "inv2543": {D.NO_COOKIE, D.NO_FROM_TAG, D.NO_MAX_FORWARDS, D.NO_CONTENT_LENGTH},
}
TOLERATED: dict[str, tuple[set[Deviation], str]] = {
    "badinv01": ({D.NO_COOKIE}, "empty parameters say nothing that could be misread"),
    "clerr": ({D.CONTENT_LENGTH_TOO_LARGE}, "a datagram has an end of its own; devices miscount"),
    "ltgtruri": ({D.BRACKETED_REQUEST_URI, D.NO_COOKIE}, "the brackets can be ignored, says the RFC"),
    "lwsstart": ({D.START_LINE_SPACING}, "the three parts are plain, says the RFC"),
    "trws": ({D.START_LINE_SPACING}, "the three parts are plain, says the RFC"),
    "baddate": (set(), "Date is handed on as text: GB/T 28181 has a form of its own"),
    "regbadct": ({D.ADDRESS_FORM}, "what stands behind the ? cannot belong to the header"),
    "badaspec": ({D.ADDRESS_FORM}, "blanks inside <> can be ignored, says the RFC"),
    "baddn": ({D.UNQUOTED_DISPLAY_NAME}, "From and To hold one address each: the comma separates nothing"),
    "multi01": ({D.DUPLICATE_HEADER}, "devices repeat headers; the first one counts, for all of them alike"),
}
REFUSED: dict[str, tuple[str, str]] = {
    "intmeth": ("control character 0x07", "legal, but NUL and BEL in a name serve nobody but an attacker"),
    "ncl": ("not a number: '-999'", "§3.1.2.3"),
    "scalar02": ("number too large", "§3.1.2.4: CSeq beyond 2**31"),
    "scalarlg": ("number too large", "§3.1.2.5: CSeq beyond 2**31"),
    "quotbal": ("address not understood", "§3.1.2.6"),
    "lwsruri": ("start line not understood", "§3.1.2.8"),
    "escruri": ("Request-URI with headers", "§3.1.2.11"),
    "badvers": ("version 'SIP/7.0'", "§3.1.2.16"),
    "mismatch01": ("CSeq of INVITE in a OPTIONS", "§3.1.2.17"),
    "mismatch02": ("CSeq of INVITE in a NEWMETHOD", "§3.1.2.18"),
    "bigcode": ("status line not understood", "§3.1.2.19"),
    "insuf": ("From missing", "§3.3.1"),
    "mcl01": ("Content-Length differs from itself", "§3.3.9"),
}


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.dat").read_bytes()


def request(name: str) -> Request:
    message = parse(vector(name))
    assert isinstance(message, Request)
    return message


def read_all(message: Message) -> list[object]:
    """Every typed reading, so that lazy ones have their say in `deviations`."""
    headers = message.headers
    return [
        (message.via, message.from_, message.to, message.call_id, message.cseq, message.body),
        (headers.vias, headers.contacts, headers.routes, headers.record_routes, headers.expires, headers.max_forwards),
        (headers.content_type, headers.authorization, headers.event, headers.date, headers.user_agent),
    ]


def test_no_message_is_forgotten() -> None:
    judged = [*ACCEPTED, *TOLERATED, *REFUSED]
    assert sorted(judged) == sorted(path.stem for path in VECTORS.glob("*.dat"))
    assert len(judged) == 49


@pytest.mark.parametrize(("name", "deviations"), ACCEPTED.items())
def test_what_is_valid_is_accepted(name: str, deviations: set[Deviation]) -> None:
    message = parse(vector(name))
    read_all(message)
    assert message.deviations == deviations


@pytest.mark.parametrize("name", TOLERATED)
def test_what_is_tolerated_is_named(name: str) -> None:
    deviations, _reason = TOLERATED[name]
    message = parse(vector(name))
    read_all(message)
    assert message.deviations - {D.MALFORMED_HEADER} == deviations


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trusted_is_refused(name: str) -> None:
    what, _reason = REFUSED[name]
    with pytest.raises(SipParseError, match=what):
        parse(vector(name))


@pytest.mark.parametrize("name", [*ACCEPTED, *TOLERATED])
def test_what_is_read_can_be_written_and_read_again(name: str) -> None:
    message = parse(vector(name))
    again = parse(bytes(message))
    assert type(again) is type(message)
    assert read_all(again) == read_all(message)
    assert bytes(again) == bytes(message)


def test_wsinv_a_short_tortuous_invite() -> None:
    invite = request("wsinv")
    assert invite.uri == Uri("vivekg", "chair-dnrc.example.com", params={"unknownparam": None})
    assert (invite.to.uri.user, invite.to.tag) == ("vivekg", "1918181833n")
    assert (invite.from_.display_name, invite.from_.tag) == ('J Rosenberg \\"', "98asjd8")
    assert (invite.cseq.number, invite.headers.max_forwards) == (9, 68)
    assert [(via.transport, via.host, via.branch) for via in invite.headers.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    contact = invite.headers.contact
    assert contact is not None
    assert contact.display_name == 'Quoted string ""'
    assert contact.params == {"newparam": "newvalue", "secondparam": None, "q": "0.33"}
    assert invite.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert invite.headers.get("Subject") == ""
    assert invite.headers.routes[0].uri.params == {"lr": None, "unknownwith": "value", "unknown-no-value": None}
    assert len(sdp.parse(invite.body).media) == 2


def test_intmeth_without_its_control_characters() -> None:
    data = vector("intmeth")
    for code in (b"\\\x07", b"\\\x00", b"\\\x7f"):
        data = data.replace(code, b"")
    message = parse(data)
    assert isinstance(message, Request)
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert message.uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert message.from_.params["fromparam''~+*_!.-%"] == "работающий"
    assert message.from_.tag == "_token~1'+`*%!-."
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert message.headers.get("extensionHeader-!.%*+_`'~") == "\ufeff大停電"
    assert message.deviations == set()


def test_escapes_stay_as_written() -> None:
    assert request("esc01").uri.user == "sips%3Auser%40example.com"
    assert [contact.uri.user for contact in request("escnull").headers.contacts] == ["%00", "%00%00"]
    assert request("esc02").method == "RE%47IST%45R"
    assert len(request("esc02").headers.contacts) == 2
    assert request("semiuri").uri.user == "user;par=u%40example.net"


def test_longreq_keeps_everything() -> None:
    longreq = request("longreq")
    assert len(longreq.headers.vias) == 34
    assert longreq.headers.vias[-1].received == "192.0.2.5"
    assert len(longreq.to.display_name) == 103


def test_dblreq_gives_the_first_message_only() -> None:
    assert (request("dblreq").method, request("dblreq").body) == ("REGISTER", b"")


def test_transports_and_schemes_nobody_knows() -> None:
    assert [via.transport for via in request("transports").headers.vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]
    unknown = request("unkscm").uri
    assert (unknown.scheme, unknown.opaque) == ("nobodyknowsthisscheme", "totallyopaquecontent")
    assert request("novelsc").uri.opaque == "//192.0.2.103:3002"
    assert (request("unksm2").to.uri.scheme, request("unksm2").from_.uri.opaque) == ("isbn", "//www.example.com")


def test_mpart01_keeps_binary_bodies() -> None:
    body = request("mpart01").body
    assert len(body) == 553
    assert body.count(b"\0") == 2


def test_reason_phrases() -> None:
    unusual = parse(vector("unreason"))
    assert isinstance(unusual, Response)
    assert unusual.reason == "= 2**3 * 5**2 но сто девяносто девять - простое"
    empty = parse(vector("noreason"))
    assert isinstance(empty, Response)
    assert (empty.status, empty.reason) == (100, "")


def test_parameters_of_header_and_of_uri() -> None:
    assert request("cparam01").headers.contact == NameAddr(
        Uri("+19725552222", "gw1.example.net"), "", {"unknownparam": None}
    )
    assert request("cparam02").headers.contact == NameAddr(
        Uri("+19725552222", "gw1.example.net", params={"unknownparam": None})
    )
    contact = request("regescrt").headers.contact
    assert contact is not None
    assert contact.uri.headers == {"Route": "%3Csip:sip.example.com%3E"}


def test_values_that_matter_to_transactions() -> None:
    assert not request("badbranch").via.has_cookie
    assert request("zeromf").headers.max_forwards == 0
    assert request("multi01").cseq.number == 5
    assert request("multi01").to.uri == Uri("user", "example.com")
    assert request("bext01").headers.get_list("Require") == ["nothingSupportsThis", "nothingSupportsThisEither"]
    authorization = request("regaut01").headers.authorization
    assert authorization is not None
    assert (authorization.scheme, authorization.is_digest) == ("NoOneKnowsThisScheme", False)
