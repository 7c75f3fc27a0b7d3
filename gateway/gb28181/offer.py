"""What we offer in an INVITE for live video, and what an answer may say (GB/T 28181-2016 §9.2, Annex F). Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from gateway.devices.model import MediaTransport
from gateway.gb28181.call import Attempt
from gateway.gb28181.ssrc import Ssrc, from_y, to_y
from sip.errors import SipParseError
from sip.sdp import Direction, Media, Origin, RtpMap, SessionDescription, Setup, parse

PAYLOADS: Final = {96: RtpMap("PS", 90_000), 98: RtpMap("H264", 90_000), 99: RtpMap("H265", 90_000)}
_SETUPS: Final = {MediaTransport.TCP_PASSIVE: Setup.PASSIVE, MediaTransport.TCP_ACTIVE: Setup.ACTIVE}
_LOWEST_PORT: Final = 1024


class AnswerError(Exception):
    """The answer cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class MediaAnswer:
    """What matters of an answer: the SSRC that the device will use (None: the offered one), where its media may come
    from or be fetched from, and its payload types with encoding names."""

    ssrc: Ssrc | None
    address: str | None
    port: int
    payloads: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class TransportPolicy:
    """Which media transports to offer: `prefer` to all, `tcp_order` to those who prefer TCP."""

    prefer: MediaTransport = MediaTransport.UDP
    tcp_order: tuple[MediaTransport, ...] = (MediaTransport.TCP_PASSIVE,)

    def attempts(self, tcp_priority: bool) -> list[Attempt]:
        """The offers to make, in order. A refused UDP offer is made once more with PS alone."""
        udp = [Attempt(MediaTransport.UDP), Attempt(MediaTransport.UDP, minimal=True)]
        if self.prefer is MediaTransport.UDP and not tcp_priority:
            return udp
        first = [] if self.prefer is MediaTransport.UDP else [self.prefer]
        tcp = first + [transport for transport in self.tcp_order if transport not in first]
        return [*map(Attempt, tcp), udp[0]]


def live_offer(server_id: str, address: str, port: int, ssrc: Ssrc, attempt: Attempt) -> SessionDescription:
    """An offer to receive live video at `address`:`port`; a minimal one names PS alone."""
    payloads = {96: PAYLOADS[96]} if attempt.minimal else PAYLOADS
    tcp = attempt.transport is not MediaTransport.UDP
    media = Media(
        "video",
        port,
        "TCP/RTP/AVP" if tcp else "RTP/AVP",
        tuple(payloads),
        payloads,
        direction=Direction.RECVONLY,
        setup=_SETUPS.get(attempt.transport),
        connection="new" if tcp else None,
    )
    return SessionDescription(
        origin=Origin(server_id, address), name="Play", address=address, media=(media,), ssrc=to_y(ssrc)
    )


def subject(channel_id: str, ssrc: Ssrc, server_id: str) -> str:
    """`Subject` of a live INVITE: a fresh sender sequence, so that no older session is replaced (§9.2, Annex K)."""
    return f"{channel_id}:{to_y(ssrc)},{server_id}:0"


def read_answer(body: bytes, attempt: Attempt, trusted: Callable[[str], bool]) -> MediaAnswer:
    """Reads the SDP of a 200. Devices write much nonsense into it: only the protocol must match, and, for TCP active,
    the port must be usable. `trusted` says whether media may be fetched from an address (reference §10, 18).

    AnswerError if it cannot be used.
    """
    try:
        description = parse(body)
    except SipParseError as error:
        raise AnswerError(str(error)) from error
    media = description.first("video") or description.first("audio")
    if media is None:
        raise AnswerError("the answer has no medium")
    active = attempt.transport is MediaTransport.TCP_ACTIVE
    if media.is_tcp != (attempt.transport is not MediaTransport.UDP):
        raise AnswerError(f"{media.proto} was answered to an offer of {attempt.transport}")
    if media.port == 0 and not media.is_tcp:
        raise AnswerError("the medium was refused with port 0")
    if active and media.port < _LOWEST_PORT:
        raise AnswerError(f"port {media.port} cannot be connected to")
    address = _address(description.address_of(media))
    return MediaAnswer(
        ssrc=from_y(description.ssrc) if description.ssrc else None,
        address=address if address is not None and trusted(address) else None,
        port=media.port,
        payloads=tuple((number, rtpmap.encoding) for number, rtpmap in media.rtpmap.items()),
    )


def _address(text: str | None) -> str | None:
    """A numeric unicast address as text, or None: names are never resolved."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    return None if address.is_multicast or address.is_unspecified else str(address)
