"""Offers are anybody's text: what is taken of them, and that nothing of them does harm."""

import asyncio

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from hypothesis import given, settings
from hypothesis import strategies as st

from media.webrtc.engine import H265
from media.webrtc.h265 import MAIN, MAIN_10, PAYLOAD_MAX, Profile, payloads, units
from media.webrtc.negotiation import (
    CANDIDATES_MAX,
    MEDIA_MAX,
    OFFER_MAX,
    NotAcceptableError,
    OfferError,
    VideoCoding,
    choose,
    parse,
)

SPS = bytes.fromhex("420101016000000300b0000003000003005da00280802d165b")


async def _made() -> str:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        for kind in ("video", "audio"):
            connection.addTransceiver(kind, direction="recvonly")
        await connection.setLocalDescription(await connection.createOffer())
        return str(connection.localDescription.sdp)
    finally:
        await connection.close()


GOOD = asyncio.run(_made())
LINES = GOOD.splitlines(keepends=True)
PLAIN = f"a=rtpmap:{H265.payloadType} H265/90000\r\n"


def tried(offer: str) -> str | None:
    """What is taken of it, or None if it is refused in one of the two ways that have an answer."""
    codings: tuple[VideoCoding | None, ...] = ("H264", "H265", None)
    made = None
    for video in codings:
        try:
            made = choose(offer, video=video, sps=SPS, sound=("OPUS", "PCMA")).offer
        except (OfferError, NotAcceptableError):
            continue
    return made


@given(st.text(max_size=2000))
def test_any_text_is_refused_or_taken(text: str) -> None:
    assert tried(text) is None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_so_is_an_offer_that_was_tampered_with(data: st.DataObject) -> None:
    lines = list(LINES)
    junk = st.text(max_size=60)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "double", "swap", "junk", "cut"])):
            case "drop":
                lines[at] = ""
            case "double":
                lines[at] *= data.draw(st.integers(2, 40))
            case "swap":
                other = data.draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
            case "cut":
                lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
            case _:
                name = lines[at].partition(":")[0]
                lines[at] = f"{name}:{data.draw(junk)}\r\n"
    tried("".join(lines))


def test_what_is_too_much_is_refused() -> None:
    assert tried(GOOD) is not None
    with pytest.raises(OfferError, match="longer"):
        parse(GOOD + "a=x\r\n" * OFFER_MAX)
    with pytest.raises(OfferError, match="candidates"):
        parse(GOOD + "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n" * (CANDIDATES_MAX + 1))
    parse(GOOD + "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n" * 50)
    head, *media = GOOD.split("m=")
    with pytest.raises(OfferError, match="media"):
        parse(head + "".join(f"m={media[0]}" for _ in range(MEDIA_MAX + 1)))


@pytest.mark.parametrize(
    ("stated", "taken"),
    [
        ("", True),
        ("profile-id=1;tier-flag=0;level-id=30", True),
        ("profile-id=2", True),
        ("profile-id=4", False),
        ("profile-id=x", False),
        ("profile-id=1;tx-mode=MRST", False),
    ],
)
def test_h265_is_taken_by_its_profile(stated: str, taken: bool) -> None:
    offer = GOOD.replace(PLAIN, f"{PLAIN}a=fmtp:{H265.payloadType} {stated}\r\n" if stated else PLAIN)
    if taken:
        assert choose(offer, video="H265", sps=SPS).stated == stated
    else:
        with pytest.raises(NotAcceptableError, match=r"H\.265 \(profile 1\).*http_fmp4"):
            choose(offer, video="H265", sps=SPS)


def test_profiles_of_parameter_sets() -> None:
    assert Profile.of_sps(SPS) == Profile(MAIN, 0, 93)
    assert Profile.of_sps(b"\x42") == Profile()
    assert not Profile(MAIN).decodes(Profile(MAIN_10)) and not Profile(MAIN).decodes(Profile(MAIN, 1))


@given(st.binary(max_size=3 * PAYLOAD_MAX), st.integers(0, 47), st.integers(1, 7))
def test_a_unit_comes_out_of_its_payloads(body: bytes, kind: int, layer: int) -> None:
    unit = bytes([kind << 1, layer]) + body.replace(b"\0", b"\1") + b"\x80"
    made = payloads(b"\0\0\0\1" + unit)
    assert all(len(payload) <= PAYLOAD_MAX for payload in made)
    assert list(units(b"\0\0\1" + unit)) == [unit]
    if len(unit) <= PAYLOAD_MAX:
        assert made == [unit]
    else:
        assert [payload[2] >> 6 for payload in made] == [2, *[0] * (len(made) - 2), 1]
        assert {payload[2] & 0x3F for payload in made} == {kind}
        assert unit[:2] + b"".join(payload[3:] for payload in made) == unit
