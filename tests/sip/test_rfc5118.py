"""Every message of RFC 5118 §4 (IPv6)."""

from pathlib import Path

import pytest

from sip import Deviation, Request, SipParseError, Uri, parse, sdp

VECTORS = Path(__file__).parents[1] / "vectors" / "sip" / "rfc5118"


def request(name: str) -> Request:
    message = parse((VECTORS / f"{name}.dat").read_bytes())
    assert isinstance(message, Request)
    assert parse(bytes(message)).via == message.via
    return message


def test_4_1_a_valid_reference() -> None:
    register = request("ipv6-good")
    assert register.uri == Uri(None, "2001:db8::10")
    assert (register.via.host, register.via.port) == ("2001:db8::9:1", None)
    contact = register.headers.contact
    assert contact is not None
    assert str(contact) == '"Caller" <sip:caller@[2001:db8::1]>'
    assert register.deviations == set()


def test_4_2_a_reference_without_brackets_is_refused() -> None:
    with pytest.raises(SipParseError, match="not a URI"):
        parse((VECTORS / "ipv6-bad.dat").read_bytes())


def test_4_3_a_port_inside_the_brackets_is_none() -> None:
    assert request("port-ambiguous").uri == Uri(None, "2001:db8::10:5070")


def test_4_4_a_port_outside_the_brackets_is_one() -> None:
    assert request("port-unambiguous").uri == Uri(None, "2001:db8::10", 5070)


@pytest.mark.parametrize("name", ["via-received-param-with-delim", "via-received-param-no-delim"])
def test_4_5_received_with_and_without_brackets(name: str) -> None:
    assert request(name).via.received == "2001:db8::9:255"


def test_4_6_addresses_in_a_description() -> None:
    invite = request("ipv6-in-sdp")
    description = sdp.parse(invite.body)
    assert (description.origin.address, description.address) == ("2001:db8::20", "2001:db8::20")
    assert [media.port for media in description.media] == [6000, 6024]
    assert invite.deviations == {Deviation.CONTENT_LENGTH_TOO_LARGE}, "the RFC counts 17 bytes too many"


def test_4_7_several_addresses_in_headers() -> None:
    vias = request("mult-ip-in-header").headers.vias
    assert [(via.host, via.port) for via in vias] == [
        ("2001:db8::9:1", 6050),
        ("192.0.2.1", None),
        ("2001:db8::9:255", None),
    ]
    assert vias[2].received == "192.0.2.200"


def test_4_8_several_addresses_in_a_description() -> None:
    invite = request("mult-ip-in-sdp")
    description = sdp.parse(invite.body)
    assert [description.address_of(media) for media in description.media] == ["192.0.2.1", "2001:db8::1"]
    assert invite.deviations == {Deviation.SURPLUS_BYTES}, "the RFC counts 8 bytes too few"


def test_4_9_mapped_addresses() -> None:
    invite = request("ipv4-mapped-ipv6")
    assert [(via.host, via.port) for via in invite.headers.vias] == [
        ("::ffff:192.0.2.10", 19823),
        ("::ffff:192.0.2.2", None),
    ]
    assert sdp.parse(invite.body).address == "::ffff:192.0.2.2"


@pytest.mark.parametrize("name", ["ipv6-bug-abnf-3-colons", "ipv6-correct-abnf-2-colons"])
def test_4_10_a_third_colon_is_ignored(name: str) -> None:
    options = request(name)
    assert options.uri == Uri("user", "2001:db8::192.0.2.1")
    assert str(options.to.uri) == "sip:user@[2001:db8::192.0.2.1]"
