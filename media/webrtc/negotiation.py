"""What of an offer is taken: one coding for each medium, chosen by what the stream is. Text in, text out.

aiortc knows H.264 by the two Baseline profiles alone and compares them. Browsers decode whatever profile comes,
whatever was agreed. So the payload type is chosen here, by the stream's profile if that is offered; aiortc is shown a
Baseline profile in its place, and the answer says again what was offered.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription

from media.webrtc.h265 import Profile

if TYPE_CHECKING:
    from media._core import AudioCodec

VideoCoding: TypeAlias = Literal["H264", "H265"]

OFFER_MAX: Final = 65_536
MEDIA_MAX: Final = 8
CANDIDATES_MAX: Final = 128
"""Of all media of an offer: each is an address that we send checks to. A browser with ten interfaces, each with IPv4
and IPv6, UDP and TCP, names 80 for sound and picture."""
PAYLOAD_TYPE_MAX: Final = 127
SHOWN: Final = "42e01f"
"""Constrained Baseline, which aiortc knows."""
_PROFILE: Final = "profile-level-id"
_H265_LINE: Final = re.compile(r"^a=rtpmap:(\d+) H265/90000\r\n", re.MULTILINE | re.IGNORECASE)
_SOUND: Final[dict[str, "AudioCodec"]] = {"pcma": "PCMA", "pcmu": "PCMU", "opus": "OPUS"}


class OfferError(Exception):
    """The offer cannot be read: 400."""


class NotAcceptableError(Exception):
    """The offer holds nothing that the stream could be sent as: 406."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The offer as aiortc is to see it, and what the answer must say of the video in place of what aiortc says."""

    offer: str
    video: VideoCoding | None
    audio: "AudioCodec | None"
    stated: str
    """Of H.264 the profile-level-id, of H.265 all parameters, as they were offered."""

    def answer(self, sdp: str) -> str:
        """aiortc's answer, with what was offered."""
        if self.video == "H264":
            return sdp.replace(f"{_PROFILE}={SHOWN}", f"{_PROFILE}={self.stated}")
        if self.video == "H265" and self.stated:
            return _H265_LINE.sub(lambda found: f"{found[0]}a=fmtp:{found[1]} {self.stated}\r\n", sdp)
        return sdp


def choose(offer: str, *, video: VideoCoding | None, sps: bytes = b"", sound: Sequence["AudioCodec"] = ()) -> Chosen:
    """Reduces an offer to what is wanted: that video, if any, and the first of `sound` that is offered.

    `sps` is the stream's sequence parameter set. OfferError; NotAcceptableError if the video is wanted and not offered.
    """
    session = parse(offer)
    chosen: VideoCoding | None = None
    audio, stated = None, ""
    for media in session.media:
        if media.kind == "video":
            codec, said = _h265(media, sps) if video == "H265" else _h264(media, sps)
            if chosen is None:
                chosen, stated = video, said
            _keep(media, codec)
        elif media.kind == "audio":
            wanted = next(((codec, name) for name in sound for codec in _named(media, name)), None)
            if wanted is not None and audio is None:
                audio = wanted[1]
            heard = wanted[0] if wanted else next(iter(_carried(media)), None)
            if heard is None:
                raise NotAcceptableError("neither Opus nor G.711 is offered")
            _keep(media, heard)
        else:
            raise NotAcceptableError(f"{media.kind} is offered, and cannot be refused alone")
    if chosen is not video:
        raise NotAcceptableError("no video is offered, and the stream has some")
    return Chosen(str(session), chosen, audio, stated)


def parse(offer: str) -> SessionDescription:
    """Reads an offer; OfferError."""
    if len(offer) > OFFER_MAX:
        raise OfferError(f"the offer is longer than {OFFER_MAX} characters")
    try:
        session = SessionDescription.parse(offer)
        str(session)  # addresses are looked at only when it is written again
    except Exception as error:  # aiortc's reader says neither what it raises nor where
        raise OfferError("the offer is no session description that can be read") from error
    if not 0 < len(session.media) <= MEDIA_MAX:
        raise OfferError(f"the offer describes no media, or more than {MEDIA_MAX}")
    if sum(len(media.ice_candidates) for media in session.media) > CANDIDATES_MAX:
        raise OfferError(f"the offer names more than {CANDIDATES_MAX} candidates")
    if not all(media.dtls and media.ice and media.ice.usernameFragment for media in session.media):
        raise OfferError("the offer lacks ICE credentials or a DTLS fingerprint")
    for media in session.media:
        media.rtp.codecs = [codec for codec in media.rtp.codecs if _offered(media, codec)]
    return session


def _offered(media: MediaDescription, codec: RTCRtpCodecParameters) -> bool:
    """Whether it is in the list of its medium, which alone offers it (RFC 8866 §5.14, §6.6), by seven bits
    (RFC 3550 §5.1)."""
    number = codec.payloadType
    return number is not None and number in media.fmt and number <= PAYLOAD_TYPE_MAX


def _h265(media: MediaDescription, sps: bytes) -> tuple[RTCRtpCodecParameters, str]:
    """The payload whose profile decodes the stream, best its own, and what it states. NotAcceptableError."""
    wanted = Profile.of_sps(sps)
    fit = []
    for codec in media.rtp.codecs:
        offered = Profile.of_parameters(codec.parameters)
        single = str(codec.parameters.get("tx-mode", "SRST")).upper() == "SRST"
        if codec.name.lower() == "h265" and single and offered is not None and offered.decodes(wanted):
            fit.append(((offered.profile, offered.tier) != (wanted.profile, wanted.tier), -offered.level, codec))
    if not fit:
        raise NotAcceptableError(
            f"the stream is H.265 (profile {wanted.profile}), which is not offered to be played by WebRTC: its"
            " addresses http_fmp4, ws_fmp4, hls_fmp4, http_flv, rtsp and others play it"
        )
    codec = min(fit, key=lambda each: each[:2])[2]
    return codec, ";".join(f"{name}={value}" for name, value in codec.parameters.items())


def _h264(media: MediaDescription, sps: bytes) -> tuple[RTCRtpCodecParameters, str]:
    """The payload of the stream's own profile, else of the nearest, as browsers take any; and the profile it states.
    NotAcceptableError."""
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

    if not offered:
        raise NotAcceptableError("no H.264 with packetization-mode 1 is offered")
    codec = min(offered, key=distance)
    stated = str(codec.parameters.get(_PROFILE, "42001f"))
    codec.parameters[_PROFILE] = SHOWN
    return codec, stated


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
