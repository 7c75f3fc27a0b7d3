"""`gateway.gb28181.offer`."""

import pytest

from gateway.devices.model import MediaTransport
from gateway.gb28181.call import Attempt
from gateway.gb28181.offer import AnswerError, TransportPolicy, live_offer, read_answer, subject
from gateway.gb28181.ssrc import Ssrc

SERVER = "31011500002000000001"
UDP, PASSIVE, ACTIVE = (Attempt(transport) for transport in MediaTransport)


def answer(*lines: str, proto: str = "RTP/AVP", port: int = 15060, address: str = "198.51.100.20") -> bytes:
    head = ["v=0", f"o=31011500001310000101 0 0 IN IP4 {address}", "s=Play", f"c=IN IP4 {address}", "t=0 0"]
    return "\r\n".join([*head, f"m=video {port} {proto} 96", "a=sendonly", "a=rtpmap:96 PS/90000", *lines, ""]).encode()


def test_an_offer_has_the_lines_in_the_order_devices_insist_on() -> None:
    assert bytes(live_offer(SERVER, "192.0.2.20", 30000, Ssrc(115000001), PASSIVE)).decode().split("\r\n") == [
        "v=0",
        "o=31011500002000000001 0 0 IN IP4 192.0.2.20",
        "s=Play",
        "c=IN IP4 192.0.2.20",
        "t=0 0",
        "m=video 30000 TCP/RTP/AVP 96 98 99",
        "a=recvonly",
        "a=rtpmap:96 PS/90000",
        "a=rtpmap:98 H264/90000",
        "a=rtpmap:99 H265/90000",
        "a=setup:passive",
        "a=connection:new",
        "y=0115000001",
        "",
    ]


def test_a_minimal_offer_names_ps_alone() -> None:
    text = bytes(live_offer(SERVER, "2001:db8::1", 30000, Ssrc(1), Attempt(MediaTransport.UDP, minimal=True))).decode()
    assert "m=video 30000 RTP/AVP 96\r\n" in text
    assert "c=IN IP6 2001:db8::1\r\n" in text


def test_the_subject_names_the_stream_anew_each_time() -> None:
    assert subject("31011500001310000101", Ssrc(115000001), SERVER) == f"31011500001310000101:0115000001,{SERVER}:0"


def test_the_answers_own_ssrc_counts() -> None:
    read = read_answer(answer("y=0200001234"), UDP, lambda _: True)
    assert (read.ssrc, read.address, read.port, read.payloads) == (200001234, "198.51.100.20", 15060, ((96, "PS"),))


@pytest.mark.parametrize("line", ["y=0000000000", "y=12", "f=v/2/6/25/1/4096a///", "a=setup:active", "y="])
def test_what_devices_leave_out_or_add_does_no_harm(line: str) -> None:
    assert read_answer(answer(line), UDP, lambda _: True).ssrc is None


def test_an_address_that_is_not_trusted_is_not_used() -> None:
    assert read_answer(answer(proto="TCP/RTP/AVP"), ACTIVE, lambda _: False).address is None
    assert read_answer(answer(proto="TCP/RTP/AVP", address="239.1.1.1"), ACTIVE, lambda _: True).address is None


@pytest.mark.parametrize(
    ("body", "attempt"),
    [
        (b"", UDP),
        (b"v=0\r\ns=Play\r\n", UDP),
        (answer(port=0), UDP),
        (answer(proto="TCP/RTP/AVP"), UDP),
        (answer(), PASSIVE),
        (answer(proto="TCP/RTP/AVP", port=80), ACTIVE),
    ],
)
def test_unusable_answers_are_refused(body: bytes, attempt: Attempt) -> None:
    with pytest.raises(AnswerError):
        read_answer(body, attempt, lambda _: True)


def test_a_passive_offer_does_not_care_for_the_answers_port() -> None:
    assert read_answer(answer(proto="TCP/RTP/AVP", port=0), PASSIVE, lambda _: True).port == 0


@pytest.mark.parametrize(
    ("policy", "tcp_priority", "attempts"),
    [
        (TransportPolicy(), False, [UDP, Attempt(MediaTransport.UDP, minimal=True)]),
        (TransportPolicy(), True, [PASSIVE, UDP]),
        (
            TransportPolicy(tcp_order=(MediaTransport.TCP_ACTIVE, MediaTransport.TCP_PASSIVE)),
            True,
            [ACTIVE, PASSIVE, UDP],
        ),
        (TransportPolicy(prefer=MediaTransport.TCP_ACTIVE), False, [ACTIVE, PASSIVE, UDP]),
    ],
)
def test_which_offers_are_made(policy: TransportPolicy, tcp_priority: bool, attempts: list[Attempt]) -> None:
    assert policy.attempts(tcp_priority) == attempts
