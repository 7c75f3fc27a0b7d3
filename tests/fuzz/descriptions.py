"""Mutates session descriptions: what browsers offer for WebRTC, and what devices answer to an INVITE.

`python -m tests.fuzz.descriptions --seconds 60`. The same `--seed` makes the same inputs. A failing input is kept under
tests/.artifacts/ and ends the run with 1.
"""

import random
import sys
from typing import Final

from gateway.devices.model import MediaTransport
from gateway.gb28181.call import Attempt
from gateway.gb28181.offer import AnswerError, read_answer
from media.webrtc.negotiation import NotAcceptableError, OfferError, VideoCoding, choose, parse
from tests.fuzz._driver import Target, main, with_words
from tests.fuzz.sip_syntax import mutate

VIDEO: Final[tuple[VideoCoding | None, ...]] = ("H264", "H264", "H265", None)
SPS: Final = bytes.fromhex("6764001facd9405005bb011000000300100000030320f1831960")
WORDS: Final = [
    *(b"a=rtpmap:96 H264/90000\r\n", b"a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n", b"a=mid:0\r\n"),
    *(b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", b"m=audio 9 UDP/TLS/RTP/SAVPF 0 8 111\r\n", b"m=application 9 x y\r\n"),
    *(b"a=ice-ufrag:abcd\r\n", b"a=fingerprint:sha-256 00:11\r\n", b"a=setup:actpass\r\n", b"a=ssrc:1 cname:x\r\n"),
    *(b"a=candidate:1 1 UDP 1 127.0.0.1 9 typ host\r\n", b"a=group:BUNDLE 0 1\r\n", b"a=rtcp-fb:* nack\r\n"),
    *(b"y=0115000001\r\n", b"f=v/2/6/25/1/1a/1/8/1\r\n", b"c=IN IP4 224.0.0.1\r\n", b"c=IN IP6 ::1\r\n"),
    *(b"a=rtpmap:98 H265/90000\r\n", b"a=fmtp:98 profile-id=1;tier-flag=0;level-id=93;tx-mode=SRST\r\n"),
    *(b"a=setup:passive\r\n", b"a=connection:new\r\n", b"TCP/RTP/AVP", b"65536", b"-1", b"\xef\xbb\xbf", b"\0"),
]
SECRETS: Final = (
    "a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=setup:actpass\r\na=fingerprint:sha-256 "
    + ":".join(["7B"] * 32)
    + "\r\n"
)
OFFER: Final = (
    "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n"
    f"{SECRETS}a=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
    "a=fmtp:111 minptime=10;useinbandfec=1\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n"
    f"{SECRETS}a=mid:1\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\n"
    "a=fmtp:97 apt=96\r\n"
    "a=rtpmap:102 H264/90000\r\na=rtcp-fb:102 nack pli\r\n"
    "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n"
)
ANSWER: Final = (
    "v=0\r\no=34020000001320000001 0 0 IN IP4 192.0.2.7\r\ns=Play\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
    "m=video 15060 TCP/RTP/AVP 96 98\r\na=sendonly\r\na=rtpmap:96 PS/90000\r\na=rtpmap:98 H264/90000\r\n"
    "a=setup:active\r\na=connection:new\r\ny=0115000001\r\nf=v/2/6/25/1/1a/1/8/1\r\n"
)


def check_offer(text: str, video: VideoCoding | None) -> None:
    """An offer is refused by a documented error, or what is left of it can be read again and holds what was chosen."""
    try:
        chosen = choose(text, video=video, sps=SPS, sound=("OPUS", "PCMA", "PCMU"))
    except (OfferError, NotAcceptableError):
        return
    assert chosen.video == video
    reduced = parse(chosen.offer)
    assert all(len(media.rtp.codecs) == 1 for media in reduced.media)
    assert chosen.answer(chosen.offer)


def check_answer(data: bytes, transport: MediaTransport) -> None:
    """An answer is refused by its error, or its port can be used and its address is one of the trusted."""
    try:
        answer = read_answer(data, Attempt(transport), lambda address: address == "192.0.2.7")
    except AnswerError as error:
        assert str(error)
        return
    assert answer.address in {None, "192.0.2.7"}
    assert 0 <= answer.port < 1 << 16
    assert transport is not MediaTransport.TCP_ACTIVE or answer.port >= 1024


def make(rng: random.Random) -> bytes:
    """An offer, an answer, or something of both."""
    corpus = (OFFER.encode(), ANSWER.encode())
    return with_words(rng, mutate(rng, rng.choice(corpus), rng.choice(corpus)), WORDS)


TARGET: Final = Target(
    "descriptions",
    make,
    (
        lambda rng, data: check_offer(data.decode("utf-8", "replace"), rng.choice(VIDEO)),
        lambda rng, data: check_answer(data, rng.choice(list(MediaTransport))),
    ),
)


if __name__ == "__main__":
    sys.exit(main(TARGET, __doc__))
