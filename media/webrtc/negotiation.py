"""What of an offer is taken: one coding for each medium, chosen by what the stream is. Text in, text out.

aiortc knows H.264 by the two Baseline profiles alone and compares them. Browsers decode whatever profile comes,
whatever was agreed. So the payload type is chosen here, by the stream's profile if that is offered; aiortc is shown a
Baseline profile in its place, and the answer says again what was offered.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription

if TYPE_CHECKING:
    from media._core import AudioCodec

OFFER_MAX: Final = 65_536
MEDIA_MAX: Final = 8
SHOWN: Final = "42e01f"
"""Constrained Baseline, which aiortc knows."""
_PROFILE: Final = "profile-level-id"
_SOUND: Final[dict[str, "AudioCodec"]] = {"pcma": "PCMA", "pcmu": "PCMU", "opus": "OPUS"}


class OfferError(Exception):
    """The offer cannot be read: 400."""


class NotAcceptableError(Exception):
    """The offer holds nothing that the stream could be sent as: 406."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The offer as aiortc is to see it, and what the answer must say of H.264 in place of what aiortc says."""

    offer: str
    video: bool
    audio: "AudioCodec | None"
    profile: str | None

    def answer(self, sdp: str) -> str:
        """aiortc's answer, with the profile that was offered."""
        return sdp if self.profile is None else sdp.replace(f"{_PROFILE}={SHOWN}", f"{_PROFILE}={self.profile}")


def choose(offer: str, *, h264: bool, sps: bytes = b"", sound: Sequence["AudioCodec"] = ()) -> Chosen:
    """Reduces an offer to what is wanted: H.264, if `h264`, and the first of `sound` that is offered.

    `sps` is the stream's sequence parameter set. OfferError; NotAcceptableError if H.264 is wanted and not offered.
    """
    session = parse(offer)
    video, audio, profile = False, None, None
    for media in session.media:
        if media.kind == "video":
            codec = _h264(media, sps)
            if codec is None:
                raise NotAcceptableError("no H.264 with packetization-mode 1 is offered")
            if h264 and not video:
                video, profile = True, str(codec.parameters.get(_PROFILE, "42001f"))
            codec.parameters[_PROFILE] = SHOWN
            _keep(media, codec)
        elif media.kind == "audio":
            wanted = next(((codec, name) for name in sound for codec in _named(media, name)), None)
            if wanted is not None and audio is None:
                audio = wanted[1]
            codec = wanted[0] if wanted else next(iter(_carried(media)), None)
            if codec is None:
                raise NotAcceptableError("neither Opus nor G.711 is offered")
            _keep(media, codec)
        else:
            raise NotAcceptableError(f"{media.kind} is offered, and cannot be refused alone")
    if h264 and not video:
        raise NotAcceptableError("no video is offered, and the stream has some")
    return Chosen(str(session), video, audio, profile)


def parse(offer: str) -> SessionDescription:
    """Reads an offer; OfferError."""
    if len(offer) > OFFER_MAX:
        raise OfferError(f"the offer is longer than {OFFER_MAX} characters")
    try:
        session = SessionDescription.parse(offer)
    except Exception as error:  # aiortc's reader says neither what it raises nor where
        raise OfferError("the offer is no session description that can be read") from error
    if not 0 < len(session.media) <= MEDIA_MAX:
        raise OfferError(f"the offer describes no media, or more than {MEDIA_MAX}")
    if not all(media.dtls and media.ice and media.ice.usernameFragment for media in session.media):
        raise OfferError("the offer lacks ICE credentials or a DTLS fingerprint")
    return session


def _h264(media: MediaDescription, sps: bytes) -> RTCRtpCodecParameters | None:
    """The payload of the stream's own profile, else of the nearest: browsers take any."""
    offered = [
        codec
        for codec in media.rtp.codecs
        if codec.name.lower() == "h264" and str(codec.parameters.get("packetization-mode", "0")) == "1"
    ]
    profile = f"{sps[1]:02x}" if len(sps) > 3 else "42"
    constraints = f"{sps[2]:02x}" if len(sps) > 3 else "e0"

    def distance(codec: RTCRtpCodecParameters) -> tuple[bool, bool]:
        stated = str(codec.parameters.get(_PROFILE, "42001f")).lower()
        return stated[:2] != profile, stated[2:4] != constraints

    return min(offered, key=distance, default=None)


def _named(media: MediaDescription, name: "AudioCodec") -> list[RTCRtpCodecParameters]:
    return [codec for codec in _carried(media) if _SOUND[codec.name.lower()] == name]


def _carried(media: MediaDescription) -> list[RTCRtpCodecParameters]:
    return [codec for codec in media.rtp.codecs if codec.name.lower() in _SOUND]


def _keep(media: MediaDescription, codec: RTCRtpCodecParameters) -> None:
    """Leaves one coding, and its retransmission."""
    again = [
        other
        for other in media.rtp.codecs
        if other.name.lower() == "rtx" and str(other.parameters.get("apt")) == str(codec.payloadType)
    ]
    media.rtp.codecs = [codec, *again]
    media.fmt = [each.payloadType for each in media.rtp.codecs]


def with_public_address(sdp: str, address: str) -> str:
    """The answer with `address` in its host candidates: we are behind a router that forwards our ports to us."""
    return re.sub(
        r"^(a=candidate:\S+ \d+ udp \d+ )\S+( \d+ typ host)", rf"\g<1>{address}\g<2>", sdp, flags=re.MULTILINE
    )
