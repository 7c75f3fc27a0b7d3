"""Offers that no browser makes."""

import pytest

from media.webrtc.negotiation import NotAcceptableError, OfferError, choose
from tests.fuzz.descriptions import OFFER


@pytest.mark.parametrize("line", ["a=rtcp:9 IN IP4", "c=IN IP4"])
def test_an_address_that_is_none_is_an_error_of_the_offer(line: str) -> None:
    """The reader takes any text for an address, and fails when it is written again."""
    choose(OFFER, video="H264", sound=("OPUS",))
    with pytest.raises(OfferError):
        choose(OFFER.replace(f"{line} 0.0.0.0", f"{line} 0.0a=setup:passive"), video="H264", sound=("OPUS",))


@pytest.mark.parametrize("number", [300, 200, 103])
def test_a_coding_that_its_medium_does_not_list_is_not_chosen(number: int) -> None:
    """What counts is the list of the `m=` line; the answer could not name another number."""
    stray = OFFER.replace("a=rtpmap:102 H264", f"a=rtpmap:{number} H264").replace("a=fmtp:102", f"a=fmtp:{number}")
    with pytest.raises(NotAcceptableError):
        choose(stray, video="H264", sound=("OPUS",))
    listed = stray.replace("RTP/SAVPF 96 97 102", f"RTP/SAVPF 96 97 {number}")
    if number < 128:
        assert choose(listed, video="H264", sound=("OPUS",)).video == "H264"
    else:
        with pytest.raises((NotAcceptableError, OfferError)):
            choose(listed, video="H264", sound=("OPUS",))
