"""Messages as devices send them: each vector shows one oddity, and what becomes of it."""

from pathlib import Path

import pytest

from sip import Auth, Deviation, Message, NameAddr, Request, Response, SipParseError, Uri, is_keepalive, parse, sdp

VECTORS = Path(__file__).parents[1] / "vectors" / "sip" / "devices"
NVR = "31011500001180000002"

D = Deviation
TOLERATED: dict[str, set[Deviation]] = {
    "answer_format_empty": set(),
    "answer_line_ends_lf": set(),
    "answer_origin_of_the_asker": set(),
    "answer_own_ssrc": set(),
    "answer_password_and_filesize": set(),
    "answer_plain_rtp_although_tcp_was_agreed": set(),
    "answer_setup_active_on_udp": set(),
    "answer_setup_copied": set(),
    "answer_setup_missing": set(),
    "answer_ssrc_missing": set(),
    "answer_ssrc_zero": set(),
    "answer_y_before_media_end": set(),
    "authorization_capability": set(),
    "authorization_garbled": {D.MALFORMED_HEADER},
    "authorization_of_another_user": set(),
    "authorization_quotes_needless": set(),
    "blank_lines_first": {D.LEADING_LINES},
    "branch_missing": {D.NO_COOKIE},
    "branch_without_cookie": {D.NO_COOKIE},
    "compact_forms": set(),
    "contact_display_name": set(),
    "contact_missing": set(),
    "contact_wildcard": set(),
    "content_length_missing": {D.NO_CONTENT_LENGTH},
    "content_length_missing_and_nuls": {D.NO_CONTENT_LENGTH, D.TRAILING_NULS},
    "content_length_padded": set(),
    "content_length_too_large": {D.CONTENT_LENGTH_TOO_LARGE},
    "content_length_too_small": {D.SURPLUS_BYTES},
    "content_length_twice_the_same": {D.DUPLICATE_HEADER},
    "content_type_capitals": set(),
    "display_name_gbk": {D.NOT_UTF8},
    "display_name_gbk_unquoted": {D.NOT_UTF8, D.UNQUOTED_DISPLAY_NAME},
    "display_name_utf8": set(),
    "domain_left_empty": {D.EMPTY_HOST},
    "domain_with_suffix": set(),
    "event_catalog_with_id": set(),
    "event_id_only": set(),
    "event_missing": set(),
    "expires_huge": set(),
    "expires_in_contact_only": set(),
    "expires_not_a_number": {D.MALFORMED_HEADER},
    "expires_without_blank": set(),
    "folded_authorization": {D.FOLDED_LINE},
    "from_host_is_own_address": set(),
    "from_twice": {D.DUPLICATE_HEADER},
    "from_without_tag": {D.NO_FROM_TAG},
    "header_names_in_any_case": set(),
    "line_ends_lf": {D.BARE_LF},
    "line_ends_mixed": {D.BARE_LF},
    "max_forwards_missing": {D.NO_MAX_FORWARDS},
    "method_lower_case": {D.METHOD_CASE},
    "method_lower_case_in_both": {D.METHOD_CASE},
    "no_blank_line_after_the_head": {D.NO_BLANK_LINE},
    "nuls_after_the_body": {D.TRAILING_NULS},
    "request_uri_numeric_domain": set(),
    "request_uri_without_user": set(),
    "response_101": set(),
    "response_date_without_zone": set(),
    "response_without_reason": set(),
    "route_to_the_server": set(),
    "start_line_spacing": {D.START_LINE_SPACING},
    "stray_line": {D.STRAY_LINE},
    "subject": set(),
    "to_without_brackets": set(),
    "user_agent_twice": {D.DUPLICATE_HEADER},
    "version_mark": set(),
    "via_after_call_id": set(),
    "via_with_blanks": set(),
}
REFUSED = {
    "refused_too_many_fields": "more than 64 header fields",
    "refused_binary": "no blank line",
    "refused_call_id_endless": "Call-ID empty, too long or with blanks",
    "refused_call_id_missing": "Call-ID missing",
    "refused_carriage_return_inside_a_line": "carriage return inside a line",
    "refused_content_length_differs": "Content-Length differs from itself",
    "refused_content_length_negative": "not a number",
    "refused_cseq_of_another_method": "CSeq of MESSAGE in a REGISTER",
    "refused_cut_inside_a_header": "no blank line",
    "refused_http": "version 'HTTP/1.1'",
    "refused_line_of_9000": "line longer than 8192",
    "refused_nul_in_a_header": "control character 0x00",
}


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.dat").read_bytes()


def request(name: str) -> Request:
    message = parse(vector(name))
    assert isinstance(message, Request)
    return message


def answer(name: str) -> sdp.SessionDescription:
    message = parse(vector(f"answer_{name}"))
    assert isinstance(message, Response)
    assert message.headers.content_type == "application/sdp"
    return sdp.parse(message.body)


def authorization(name: str) -> Auth:
    auth = request(name).headers.authorization
    assert auth is not None
    return auth


def read_all(message: Message) -> None:
    headers = message.headers
    _ = headers.vias, headers.contacts, headers.expires, headers.max_forwards, headers.content_type
    _ = headers.authorization, headers.event, headers.subscription_state, headers.routes


def test_no_vector_is_forgotten() -> None:
    assert sorted([*TOLERATED, *REFUSED]) == sorted(path.stem for path in VECTORS.glob("*.dat"))


@pytest.mark.parametrize(("name", "deviations"), TOLERATED.items())
def test_what_is_understood_is_accepted_and_named(name: str, deviations: set[Deviation]) -> None:
    message = parse(vector(name))
    read_all(message)
    assert message.deviations == deviations


@pytest.mark.parametrize("name", TOLERATED)
def test_what_goes_on_is_strict(name: str) -> None:
    """Written again, a message keeps only the deviations of its content, none of its form."""
    again = parse(bytes(parse(vector(name))))
    read_all(again)
    content = {D.NO_COOKIE, D.NO_MAX_FORWARDS, D.NO_FROM_TAG, D.EMPTY_HOST, D.DUPLICATE_HEADER, D.MALFORMED_HEADER}
    assert again.deviations <= content | {D.UNQUOTED_DISPLAY_NAME}


@pytest.mark.parametrize(("name", "what"), REFUSED.items())
def test_what_cannot_be_trusted_is_refused(name: str, what: str) -> None:
    with pytest.raises(SipParseError, match=what):
        parse(vector(name))


@pytest.mark.parametrize(
    "name", [name for name in TOLERATED if not name.startswith(("answer", "response", "subject", "event"))]
)
def test_the_sender_is_known_by_the_user_part_alone(name: str) -> None:
    assert request(name).from_.uri.user == NVR


@pytest.mark.parametrize("datagram", [b"", b"jaK\0", b"\r\n\r\n", b"\r\n", b"\0\0\0\0", b"\0" * 9, b" \r\n"])
def test_what_keeps_a_mapping_open_is_no_message(datagram: bytes) -> None:
    assert is_keepalive(datagram)
    with pytest.raises(SipParseError):
        parse(datagram)


def test_a_message_is_no_keepalive() -> None:
    assert not any(is_keepalive(path.read_bytes()) for path in VECTORS.glob("*.dat"))


@pytest.mark.parametrize(
    ("name", "expires"),
    [
        ("expires_without_blank", 300),
        ("expires_in_contact_only", 7200),
        ("expires_not_a_number", None),
        ("expires_huge", 2**31 - 1),
        ("contact_wildcard", 0),
    ],
)
def test_expires(name: str, expires: int | None) -> None:
    assert request(name).headers.expires == expires


def test_bodies_are_cut_to_what_came_or_was_promised() -> None:
    whole = request("content_length_padded").body
    assert request("content_length_too_large").body == whole
    assert request("content_length_missing").body == whole
    assert request("content_length_missing_and_nuls").body == whole
    assert request("nuls_after_the_body").body == whole
    assert request("content_length_too_small").body == whole[:-2]


def test_names_in_chinese() -> None:
    assert request("display_name_gbk").from_.display_name == "大门"
    assert request("display_name_utf8").from_.display_name == "大门"
    assert request("display_name_gbk_unquoted").headers.user_agent == "萬號"


def test_hosts_are_advice() -> None:
    assert request("request_uri_numeric_domain").uri == Uri("31011500002000000001", "3101150000")
    assert request("request_uri_without_user").uri == Uri(None, "192.0.2.10", 5060)
    assert request("domain_left_empty").to == NameAddr(Uri(NVR, ""))


def test_contacts() -> None:
    wildcard = request("contact_wildcard").headers
    assert (wildcard.contact_is_wildcard, wildcard.contacts, wildcard.contact) == (True, (), None)
    assert request("contact_missing").headers.contact is None
    contact = request("contact_display_name").headers.contact
    assert contact is not None
    assert (contact.display_name, contact.uri) == (NVR, Uri(NVR, "0.0.0.0", 5060))


def test_credentials() -> None:
    assert authorization("folded_authorization").params["response"] == "06085d89f3c17edbf552a454f26ac248"
    assert authorization("authorization_of_another_user").params["username"] == "admin"
    assert authorization("authorization_quotes_needless").params["nc"] == "00000001"
    capability = authorization("authorization_capability")
    assert (capability.scheme, capability.is_digest) == ("Capability", False)
    assert capability.params["algorithm"].startswith("A:SM2;H:SM3")
    assert request("authorization_garbled").headers.authorization is None


def test_the_first_of_two_counts() -> None:
    assert request("user_agent_twice").headers.user_agent == "SimNVR/1.0"
    assert request("from_twice").from_.tag == "714482"


def test_methods_are_written_in_capitals() -> None:
    for name in ("method_lower_case", "method_lower_case_in_both"):
        assert (request(name).method, request(name).cseq.method) == ("REGISTER", "REGISTER")


def test_events() -> None:
    id_only, catalogue = request("event_id_only").headers, request("event_catalog_with_id").headers
    assert id_only.event is not None
    assert (id_only.event.package, id_only.event.id) == ("", "1984")
    assert catalogue.event is not None
    assert catalogue.subscription_state is not None
    assert (catalogue.event.package, catalogue.event.id) == ("catalog", "1894")
    assert (catalogue.subscription_state.state, catalogue.subscription_state.expires) == ("active", 90)
    assert request("event_missing").headers.event is None


def test_what_this_library_hands_on_as_text() -> None:
    assert parse(vector("response_date_without_zone")).headers.date == "2026-03-05T08:00:00.000"
    assert request("version_mark").headers.get("x-gb-ver") == "2.0"
    assert (parse(vector("subject")).headers.get("Subject") or "").startswith("31011500001310000101:0115000001,")


@pytest.mark.parametrize(
    ("name", "ssrc"),
    [
        ("own_ssrc", "0200000007"),
        ("ssrc_zero", "0000000000"),
        ("ssrc_missing", None),
        ("format_empty", "0115000001"),
        ("y_before_media_end", "0115000001"),
        ("line_ends_lf", "0115000001"),
    ],
)
def test_ssrc_of_an_answer(name: str, ssrc: str | None) -> None:
    assert answer(name).ssrc == ssrc


@pytest.mark.parametrize(
    ("name", "is_tcp", "setup"),
    [
        ("setup_active_on_udp", False, sdp.Setup.ACTIVE),
        ("plain_rtp_although_tcp_was_agreed", False, sdp.Setup.ACTIVE),
        ("setup_copied", True, sdp.Setup.PASSIVE),
        ("setup_missing", True, None),
    ],
)
def test_transport_of_an_answer(name: str, is_tcp: bool, setup: sdp.Setup | None) -> None:
    video = answer(name).first("video")
    assert video is not None
    assert (video.port, video.is_tcp, video.setup) == (15060, is_tcp, setup)


def test_answers_that_say_too_much() -> None:
    origin = answer("origin_of_the_asker")
    assert (origin.name, origin.address, origin.origin.address) == ("Embedded IPC", "198.51.100.20", "192.0.2.20")
    video = answer("password_and_filesize").media[0]
    assert (video.attribute("filesize"), video.direction) == ("0", sdp.Direction.SENDONLY)
