"""Where aiortc runs, and the few places where it is taken by its inner parts. Nothing else knows them.

aiortc decodes what it receives and encodes what it sends. Sent frames may be given ready-coded (a track that returns
packets); for received ones there is no such way, so the queue to its decoder is replaced. Ports of one range come from
the event loop, the addresses from the function that aioice asks.
"""

import asyncio
import queue
import socket
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Final

import aioice.ice
import av
from aiortc import RTCRtpReceiver, RTCRtpSender
from aiortc.clock import current_ntp_time
from aiortc.codecs import CODECS
from aiortc.codecs.base import Encoder
from aiortc.mediastreams import convert_timebase
from aiortc.rtcrtpparameters import RTCRtcpFeedback, RTCRtpCodecParameters
from aiortc.rtp import RtcpSrPacket

from media.webrtc.clock import SentClock, SentTimes
from media.webrtc.h265 import payloads

PORT_TRIES: Final = 64
VIDEO_TIME: Final = Fraction(1, 90_000)
H265: Final = RTCRtpCodecParameters(
    mimeType="video/H265",
    clockRate=90_000,
    payloadType=110,
    rtcpFeedback=[RTCRtcpFeedback("nack"), RTCRtcpFeedback("nack", "pli"), RTCRtcpFeedback("goog-remb")],
)
"""aiortc agrees on what stands in its list alone; it need not be able to encode it."""
CODECS["video"].append(H265)


class EngineLoop(asyncio.SelectorEventLoop):
    """Opens datagram sockets whose port may be anything on a port of the range."""

    def __init__(self, port_min: int, port_max: int) -> None:
        super().__init__()
        self._ports = range(port_min, port_max + 1)
        self._next = 0

    async def create_datagram_endpoint(  # type: ignore[override]  # the same arguments, less spelt out
        self, protocol_factory: Any, local_addr: Any = None, **named: Any
    ) -> Any:
        """As ever, but for ports; OSError if none of the range is free."""
        if local_addr is None or local_addr[1] != 0 or not self._ports.start:
            return await super().create_datagram_endpoint(protocol_factory, local_addr=local_addr, **named)
        error: OSError = OSError(f"no free port between {self._ports.start} and {self._ports.stop - 1}")
        for _ in range(min(PORT_TRIES, len(self._ports))):
            port = self._ports[self._next % len(self._ports)]
            self._next += 1
            try:
                return await super().create_datagram_endpoint(
                    protocol_factory, local_addr=(local_addr[0], port), **named
                )
            except OSError as failed:
                error = failed
        raise error


def set_addresses(addresses: Sequence[str]) -> None:
    """The addresses that are offered to peers; empty: all of this machine but loopback."""
    if addresses:
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [
            address for address in addresses if (use_ipv6 if ":" in address else use_ipv4)
        ]


def is_local(address: str) -> bool:
    """Whether a socket can be bound to this address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


class _H265Packer(Encoder):
    """Stands where aiortc's encoder would: it has none for H.265."""

    def encode(self, frame: Any, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        raise TypeError("H.265 is sent ready-coded")

    def pack(self, packet: "av.Packet[Any]") -> tuple[list[bytes], int]:
        assert packet.pts is not None and packet.time_base is not None
        return payloads(bytes(packet)), convert_timebase(packet.pts, packet.time_base, VIDEO_TIME)


def send_h265(sender: RTCRtpSender) -> None:
    """The sender's track gives H.265. Call before it sends."""
    inner: Any = sender
    if not hasattr(inner, "_RTCRtpSender__encoder"):
        raise RuntimeError("this aiortc has no _RTCRtpSender__encoder")
    inner._RTCRtpSender__encoder = _H265Packer()  # noqa: SLF001 RUF100 - see the module


def report_by(sender: RTCRtpSender, clock: SentClock) -> None:
    """Has the sender's reports tell what time of the stream a packet has, not when it was sent. Sound that came late,
    or is coded anew, is longer on its way than its picture, and a player would show them as far apart. All senders of a
    session share the clock. Call before it sends."""
    inner: Any = sender
    for name in ("_next_encoded_frame", "_send_rtcp", "_RTCRtpSender__rtp_timestamp", "_RTCRtpSender__lsr"):
        if not hasattr(inner, name):
            raise RuntimeError(f"this aiortc has no {name}")
    next_frame, send = inner._next_encoded_frame, inner._send_rtcp  # noqa: SLF001 RUF100 - see the module
    times = SentTimes()

    async def next_encoded_frame(codec: RTCRtpCodecParameters) -> Any:
        times.handle_sent(inner._RTCRtpSender__rtp_timestamp)  # noqa: SLF001 RUF100
        frame = await next_frame(codec)
        if frame is not None:
            times.handle_frame(frame.timestamp, codec.clockRate)
            clock.begin(frame.timestamp / codec.clockRate, current_ntp_time())
        return frame

    async def send_rtcp(packets: list[Any]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                seconds = times.seconds(packet.sender_info.rtp_timestamp)
                # A sender without a clock says zero (RFC 3550 §6.4.1).
                ntp = clock.ntp(seconds) if seconds is not None else 0
                packet.sender_info.ntp_timestamp = ntp
                inner._RTCRtpSender__lsr = ntp >> 16 & 0xFFFF_FFFF  # noqa: SLF001 RUF100
        await send(packets)

    inner._next_encoded_frame, inner._send_rtcp = next_encoded_frame, send_rtcp  # noqa: SLF001 RUF100


class _Bypass(queue.Queue[Any]):
    """Stands where frames wait for aiortc's decoder: they go to us, and the decoder waits for the end."""

    def __init__(self, handle: Callable[[str, int, bytes], None]) -> None:
        super().__init__()
        self._handle = handle

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is None:
            super().put(item, block, timeout)
        else:
            codec, frame = item
            self._handle(codec.name, frame.timestamp, frame.data)


class _Unmapped:
    """Leaves RTP timestamps as they are: both tracks of a peer are put together by us."""

    def map(self, timestamp: int) -> int:
        return timestamp


def take_frames(receiver: RTCRtpReceiver, handle: Callable[[str, int, bytes], None]) -> None:
    """Gives the receiver's whole coded frames to `handle`: coding, RTP timestamp, bytes (H.264 with start codes). Call
    before it receives."""
    inner: Any = receiver
    for name in ("_RTCRtpReceiver__decoder_queue", "_RTCRtpReceiver__timestamp_mapper"):
        if not hasattr(inner, name):
            raise RuntimeError(f"this aiortc has no {name}")
    inner._RTCRtpReceiver__decoder_queue = _Bypass(handle)  # noqa: SLF001 RUF100 - see the module
    inner._RTCRtpReceiver__timestamp_mapper = _Unmapped()  # noqa: SLF001 RUF100


def take_reports(receiver: RTCRtpReceiver, handle: Callable[[int, int], None]) -> None:
    """Gives what sender reports say of the receiver's medium to `handle`: RTP timestamp, and the peer's clock then, as
    NTP writes it."""
    inner: Any = receiver
    for name in ("_handle_rtcp_packet", "_RTCRtpReceiver__rtx_ssrc"):
        if not hasattr(inner, name):
            raise RuntimeError(f"this aiortc has no {name}")
    pass_on = inner._handle_rtcp_packet  # noqa: SLF001 RUF100 - see the module

    async def handle_packet(packet: Any) -> None:
        again = inner._RTCRtpReceiver__rtx_ssrc  # noqa: SLF001 RUF100
        if isinstance(packet, RtcpSrPacket) and packet.sender_info.ntp_timestamp and packet.ssrc not in again:
            handle(packet.sender_info.rtp_timestamp, packet.sender_info.ntp_timestamp)
        await pass_on(packet)

    inner._handle_rtcp_packet = handle_packet  # noqa: SLF001 RUF100


def ask_for_key_frame(receiver: RTCRtpReceiver) -> None:
    """Lets the receiver ask its peer for a key frame with the next packet."""
    inner: Any = receiver
    inner._RTCRtpReceiver__decoder_error.set()  # noqa: SLF001 RUF100
