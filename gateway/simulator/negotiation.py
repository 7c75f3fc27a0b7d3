"""What a device answers to an INVITE's SDP (GB/T 28181-2016 §9.2, annex F, annex L). Pure."""

import ipaddress
from dataclasses import dataclass
from typing import Final

from gateway.simulator.misbehaviour import AnswerY, Misbehaviour
from gateway.simulator.rtp_sender import MediaTransport
from sip.sdp import Direction, Media, Origin, RtpMap, SessionDescription, Setup

OTHER_Y: Final = 1_000_000_000
"""Added to (or taken from) the offered number when a device answers with one of its own."""


class RefusedError(Exception):
    """The offer cannot be met; `status` is the response."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Agreement:
    """How the stream will travel: to `host`:`port`, or, if the device listens, to whoever connects."""

    transport: MediaTransport
    host: str
    port: int
    ssrc: int
    offer: SessionDescription

    def answer(self, channel_id: str, host: str, port: int, misbehaviour: Misbehaviour) -> SessionDescription:
        """The answer with the device's own media address."""
        setup = {MediaTransport.TCP_ACTIVE: Setup.ACTIVE, MediaTransport.TCP_PASSIVE: Setup.PASSIVE}.get(self.transport)
        media = Media(
            "video",
            port,
            "RTP/AVP" if setup is None else "TCP/RTP/AVP",
            (96,),
            {96: RtpMap("PS", 90_000)},
            direction=Direction.SENDONLY,
            setup=None if misbehaviour.no_setup else setup,
            connection=None if setup is None else "new",
        )
        y = None if misbehaviour.y is AnswerY.NONE else f"{self.ssrc:010}"
        return SessionDescription(Origin(channel_id, host), self.offer.name, host, media=(media,), ssrc=y)


def agree(
    offer: SessionDescription, allowed: frozenset[MediaTransport], misbehaviour: Misbehaviour, fallback_ssrc: int
) -> Agreement:
    """Raises RefusedError with 488 if there is no usable video in the offer, or only by a transport not `allowed`."""
    if misbehaviour.refuse:
        raise RefusedError(misbehaviour.refuse, "refused on purpose")
    media = offer.first("video")
    if media is None or not media.port:
        raise RefusedError(488, "no video in the offer")
    if not any(rtpmap.encoding.upper() == "PS" for rtpmap in media.rtpmap.values()):
        raise RefusedError(488, "no PS in the offer")
    transport = _transport(media)
    if transport not in allowed:
        raise RefusedError(488, f"{transport.value} is not offered by this device")
    host = offer.address_of(media)
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        raise RefusedError(488, f"no numeric address in c=: {host!r}") from None
    ssrc = offer.ssrc_number if offer.ssrc_number is not None else fallback_ssrc
    if misbehaviour.y is AnswerY.OTHER:
        ssrc = ssrc - OTHER_Y if ssrc >= OTHER_Y else ssrc + OTHER_Y
    return Agreement(transport, host or "", media.port, ssrc, offer)


def _transport(media: Media) -> MediaTransport:
    """From the device's view: an offer that is passive, or says nothing, makes the device connect."""
    if not media.is_tcp:
        return MediaTransport.UDP
    return MediaTransport.TCP_PASSIVE if media.setup is Setup.ACTIVE else MediaTransport.TCP_ACTIVE
