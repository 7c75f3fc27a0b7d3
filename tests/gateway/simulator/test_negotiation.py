"""Answers to offers: roles, numbers, refusals."""

import pytest

from gateway.simulator.misbehaviour import Misbehaviour, parse_misbehaviour
from gateway.simulator.negotiation import Agreement, RefusedError, agree
from gateway.simulator.rtp_sender import MediaTransport
from sip.sdp import SessionDescription, Setup, parse

ALL = frozenset(MediaTransport)
OFFER = """v=0
o=31011500002000000001 0 0 IN IP4 192.0.2.20
s=Play
c=IN IP4 192.0.2.20
t=0 0
m=video 30000 RTP/AVP 96 98
a=recvonly
a=rtpmap:96 PS/90000
a=rtpmap:98 H264/90000
y=0115000001
"""


def settle(offer: str, misbehave: str = "", allowed: frozenset[MediaTransport] = ALL) -> Agreement:
    return agree(parse(offer.encode()), allowed, parse_misbehaviour(misbehave), 42)


def tcp(setup: str) -> str:
    return OFFER.replace("RTP/AVP", "TCP/RTP/AVP").replace("a=recvonly", f"a=recvonly\na=setup:{setup}")


@pytest.mark.parametrize(
    ("offer", "transport", "setup"),
    [
        (OFFER, MediaTransport.UDP, None),
        (tcp("passive"), MediaTransport.TCP_ACTIVE, Setup.ACTIVE),
        (tcp("active"), MediaTransport.TCP_PASSIVE, Setup.PASSIVE),
        (OFFER.replace("RTP/AVP", "TCP/RTP/AVP"), MediaTransport.TCP_ACTIVE, Setup.ACTIVE),
    ],
)
def test_roles(offer: str, transport: MediaTransport, setup: Setup | None) -> None:
    agreement = settle(offer)
    assert (agreement.transport, agreement.host, agreement.port) == (transport, "192.0.2.20", 30_000)
    answer = parse(bytes(agreement.answer("31011500001310000101", "198.51.100.20", 15_060, Misbehaviour())))
    assert answer.media[0].setup is setup
    assert answer.media[0].is_tcp == (setup is not None)
    assert (answer.address, answer.media[0].port, answer.ssrc) == ("198.51.100.20", 15_060, "0115000001")


def answered(misbehave: str, offer: str = OFFER) -> SessionDescription:
    wrong = parse_misbehaviour(misbehave)
    return settle(offer, misbehave).answer("1", "198.51.100.20", 9, wrong)


def test_numbers() -> None:
    assert answered("").ssrc == "0115000001"
    assert answered("y=other").ssrc == "1115000001"
    assert answered("y=other", OFFER.replace("y=0", "y=1")).ssrc == "0115000001"
    assert answered("y=none").ssrc is None
    assert settle(OFFER.replace("y=0115000001\n", "")).ssrc == 42
    assert answered("no_setup", tcp("passive")).media[0].setup is None


@pytest.mark.parametrize(
    ("offer", "misbehave", "allowed", "status"),
    [
        (OFFER, "refuse=486", ALL, 486),
        (OFFER, "", frozenset({MediaTransport.TCP_ACTIVE}), 488),
        (OFFER.replace("m=video", "m=audio"), "", ALL, 488),
        (OFFER.replace("m=video 30000", "m=video 0"), "", ALL, 488),
        (OFFER.replace("PS/90000", "MP2T/90000"), "", ALL, 488),
        (OFFER.replace("IP4 192.0.2.20", "IP4 media.example"), "", ALL, 488),
    ],
)
def test_refusals(offer: str, misbehave: str, allowed: frozenset[MediaTransport], status: int) -> None:
    with pytest.raises(RefusedError) as caught:
        settle(offer, misbehave, allowed)
    assert caught.value.status == status
