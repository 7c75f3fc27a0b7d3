"""`sip.sdp`: descriptions as the standards write them and as devices do."""

import pytest

from sip import SipParseError
from sip.sdp import (
    AudioCodec,
    Direction,
    Media,
    MediaFormat,
    Origin,
    RtpMap,
    SessionDescription,
    Setup,
    VideoCodec,
    parse,
)

LIVE_OFFER = (
    b"v=0\r\n"
    b"o=31011500002000000001 0 0 IN IP4 192.0.2.20\r\n"
    b"s=Play\r\n"
    b"c=IN IP4 192.0.2.20\r\n"
    b"t=0 0\r\n"
    b"m=video 30000 TCP/RTP/AVP 96 98\r\n"
    b"a=recvonly\r\n"
    b"a=rtpmap:96 PS/90000\r\n"
    b"a=rtpmap:98 H264/90000\r\n"
    b"a=setup:passive\r\n"
    b"a=connection:new\r\n"
    b"y=0115000001\r\n"
    b"f=v/2/6/25/1/4096a/1/8/1\r\n"
)


def test_a_live_offer_is_read_whole() -> None:
    offer = parse(LIVE_OFFER)
    assert offer.origin == Origin("31011500002000000001", "192.0.2.20")
    assert (offer.name, offer.address, offer.start, offer.stop) == ("Play", "192.0.2.20", 0, 0)
    assert (offer.ssrc, offer.ssrc_number) == ("0115000001", 0x06DAC2C1)
    assert offer.ignored == ()
    video = offer.first("video")
    assert video is not None
    assert (video.port, video.proto, video.is_tcp, video.payload_types) == (30000, "TCP/RTP/AVP", True, (96, 98))
    assert video.rtpmap == {96: RtpMap("PS", 90000), 98: RtpMap("H264", 90000)}
    assert (video.setup, video.connection) == (Setup.PASSIVE, "new")
    assert offer.direction_of(video) is Direction.RECVONLY
    assert offer.address_of(video) == "192.0.2.20"
    assert offer.first("audio") is None


def test_what_is_written_is_what_was_read() -> None:
    assert bytes(parse(LIVE_OFFER)) == LIVE_OFFER


def test_a_playback_offer_in_the_order_that_strict_devices_want() -> None:
    offer = SessionDescription(
        Origin("31011500001310000101", "2001:db8::5"),
        "Playback",
        "2001:db8::5",
        1772668800,
        1772672400,
        (
            Media(
                "video",
                6000,
                "RTP/AVP",
                (96,),
                {96: RtpMap("PS", 90000)},
                direction=Direction.RECVONLY,
                attributes=(("downloadspeed", "4"), ("flag", None)),
            ),
        ),
        uri="31011500001310000101:3",
        ssrc="1115000002",
        format=MediaFormat(video_codec=VideoCodec.H264, video_resolution="1920x1080"),
    )
    assert bytes(offer).decode().split("\r\n") == [
        "v=0",
        "o=31011500001310000101 0 0 IN IP6 2001:db8::5",
        "s=Playback",
        "u=31011500001310000101:3",
        "c=IN IP6 2001:db8::5",
        "t=1772668800 1772672400",
        "m=video 6000 RTP/AVP 96",
        "a=recvonly",
        "a=rtpmap:96 PS/90000",
        "a=downloadspeed:4",
        "a=flag",
        "y=1115000002",
        "f=v/2/1920x1080///a///",
        "",
    ]
    assert parse(bytes(offer)) == offer
    assert offer.media[0].attribute("downloadspeed") == "4"
    assert offer.media[0].attribute("flag") == ""
    assert offer.media[0].attribute("none") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v/2/6/25/1/2048a///", MediaFormat(2, "6", 25, 1, 2048)),
        ("v/////a/1/8/1", MediaFormat(audio_codec=AudioCodec.G711, audio_rate=8, audio_sampling=1)),
        ("v/5/1920x1080/25/2/4096a/6/13/9", MediaFormat(5, "1920x1080", 25, 2, 4096, 6, 13, 9)),
        ("v/2/4/// a/1//", MediaFormat(2, "4", audio_codec=1)),
        ("v/2/6/25", MediaFormat(2, "6", 25)),
        ("v/x/y/z/-1/1e3a/?//", MediaFormat()),
        ("/", MediaFormat()),
    ],
)
def test_media_parameters_with_missing_and_strange_fields(text: str, expected: MediaFormat) -> None:
    assert MediaFormat.parse(text) == expected
    assert MediaFormat.parse(str(expected)) == expected


def test_lf_any_order_unknown_lines_and_padding() -> None:
    answer = parse(
        b"s=Embedded IPC \nv=0\nz=what\nnonsense\nb=AS:4096\nm=VIDEO 15060  TCP/RTP/AVP 96 x 8\n"
        b"a=rtpmap: 96 PS/90000 \na=RecvOnly\na=setup: ACTIVE\na=username:34020000\na=filesize:0\n"
        b"a=rtpmap:8 PCMA/8000/1\n"
        b"y=0\nf=\nc=IN IP4 198.51.100.20/127\nt=x y\ny=0115000001\0\0"
    )
    assert answer.name == "Embedded IPC"
    assert answer.ignored == ("z=what", "nonsense", "b=AS:4096", "y=0", "t=x y")
    assert (answer.ssrc, answer.format, answer.address) == ("0115000001", None, None)
    video = answer.media[0]
    assert (video.kind, video.port, video.payload_types) == ("video", 15060, (96, 8))
    assert video.rtpmap == {96: RtpMap("PS", 90000), 8: RtpMap("PCMA", 8000, 1)}
    assert (video.direction, video.setup) == (Direction.RECVONLY, Setup.ACTIVE)
    assert answer.address_of(video) == "198.51.100.20"
    assert video.attributes == (("username", "34020000"), ("filesize", "0"))


def test_what_stands_at_session_level_counts_for_each_medium() -> None:
    description = parse(
        b"v=0\r\na=setup:active\r\na=connection:new\r\na=sendonly\r\na=rtpmap:96 PS/90000\r\na=fmtp:8 x\r\n"
        b"m=video 1 RTP/AVP 96\r\nm=audio 2 RTP/AVP 8\r\na=setup:passive\r\n"
    )
    video, audio = description.media
    assert (video.setup, video.connection, audio.setup) == (Setup.ACTIVE, "new", Setup.PASSIVE)
    assert description.direction_of(audio) is Direction.SENDONLY
    assert (dict(video.rtpmap), dict(audio.rtpmap)) == ({96: RtpMap("PS", 90000)}, {})
    assert dict(audio.fmtp) == {8: "x"}


@pytest.mark.parametrize("ssrc", [b"0000000000", b"4294967295"])
def test_an_ssrc_is_ten_digits_that_fit_32_bits(ssrc: bytes) -> None:
    assert parse(b"v=0\r\ny=" + ssrc).ssrc_number == int(ssrc)


@pytest.mark.parametrize("ssrc", [b"4294967296", b"115000001", b"01150000011", b"", b"+115000001"])
def test_another_ssrc_is_ignored(ssrc: bytes) -> None:
    description = parse(b"v=0\r\ny=" + ssrc)
    assert description.ssrc is None
    assert description.ignored == (f"y={ssrc.decode()}",)


def test_gbk_text_is_read() -> None:
    assert parse("v=0\r\ns=大门\r\n".encode("gbk")).name == "大门"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello\r\n",
        b"\xff\xfe\x00",
        b"v=0\r\nm=video\r\n",
        b"v=0\r\nm=video 70000 RTP/AVP 96\r\n",
        b"v=0\r\nm=video x RTP/AVP 96\r\n",
        b"v=0\r\n" + b"m=video 1 RTP/AVP 96\r\n" * 17,
        b"v=0\r\nm=video 1 RTP/AVP" + b" 96" * 65,
        b"v=0\r\n" + b"a=x\r\n" * 513,
        b"v=0\r\na=" + b"x" * 70000,
    ],
)
def test_what_is_no_description_or_too_much_of_it_is_refused(data: bytes) -> None:
    with pytest.raises(SipParseError):
        parse(data)


def test_nothing_can_be_smuggled_into_a_description() -> None:
    with pytest.raises(ValueError, match="control character"):
        bytes(SessionDescription(name="Play\r\nm=video 1 RTP/AVP 96"))
