"""Offers that no browser makes."""

import pytest

from media.webrtc.negotiation import OfferError, choose
from tests.fuzz.descriptions import OFFER


@pytest.mark.parametrize("line", ["a=rtcp:9 IN IP4", "c=IN IP4"])
def test_an_address_that_is_none_is_an_error_of_the_offer(line: str) -> None:
    """The reader takes any text for an address, and fails when it is written again."""
    choose(OFFER, video="H264", sound=("OPUS",))
    with pytest.raises(OfferError):
        choose(OFFER.replace(f"{line} 0.0.0.0", f"{line} 0.0a=setup:passive"), video="H264", sound=("OPUS",))
