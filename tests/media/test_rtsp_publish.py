"""RTSP publishers: what FFmpeg announces and records reaches players unchanged, on connections and in datagrams."""

import asyncio
import signal
from pathlib import Path

import pytest

from media._core import Event
from tests.media.house import HOST, House, ffmpeg, play, same_times
from tests.media.rtsp_client import Client

TRANSPORTS = ["tcp", "udp"]


async def record(
    house: House, clip: Path, name: str, transport: str, *options: str, query: str = ""
) -> asyncio.subprocess.Process:
    """FFmpeg publishes in real time."""
    coding = options or ("-c", "copy")
    target = ("-f", "rtsp", "-rtsp_transport", transport, house.rtsp_url(name, query))
    return await ffmpeg("-re", "-i", str(clip), *coding, *target)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
async def test_what_ffmpeg_records_is_played_unchanged(
    house: House, clips: dict[str, Path], group_clips: dict[str, Path], codec: str, transport: str
) -> None:
    source = (clips if transport == "tcp" else group_clips)[codec]
    publisher = await record(house, source, "cam", transport, query="?token=x")
    asked = await house.event("publish")
    assert (asked.app, asked.name, asked.detail["protocol"]) == ("live", "cam", "rtsp")
    assert (asked.detail["query"], asked.detail["peer"].split(":")[0]) == ("token=x", HOST)
    await house.event("first_key_frame")
    # Three seconds may pass before a busy machine's player is there: the publisher waits for it.
    publisher.send_signal(signal.SIGSTOP)
    try:
        stream = house.stream("cam")
        assert (stream.transport, stream.payload, stream.audio_codec) == ("rtsp", "rtp", "AAC")
        url = house.url("cam") if codec == "libx264" else house.flv("cam")
        playing = asyncio.create_task(asyncio.to_thread(play, url))
        await house.watched("cam")
    finally:
        publisher.send_signal(signal.SIGCONT)
    played = await playing
    sent = play(str(source))
    assert played.codecs == {"video": {"libx264": "h264", "libx265": "hevc"}[codec], "audio": "aac"}
    if transport == "tcp":
        assert played.pictures == sent.pictures
        assert same_times(played.times["video"], sent.times["video"]), "though RTP tells no order of decoding"
        # The clip's sound begins a frame before its pictures, which is left out. FFmpeg collects frames for a packet
        # and drops those that wait when it ends.
        begin = sent.sound.index(played.sound[0])
        assert begin <= 1 and played.sound == sent.sound[begin : begin + len(played.sound)]
        assert len(played.sound) >= len(sent.sound) - 5
    else:
        # Nothing is lost; but the player may come after the next key frame.
        missed = len(sent.pictures) - len(played.pictures)
        assert missed in (0, 25, 50) and played.pictures == sent.pictures[missed:]
        assert " ".join(played.sound) in " ".join(sent.sound)
        assert len(played.sound) >= len(sent.sound) * (1 - missed / len(sent.pictures)) - 20
    _, errors = await publisher.communicate()
    assert (publisher.returncode, errors) == (0, b"")
    assert (await house.event("disconnected")).detail["reason"] == "the publisher ended the stream"
    await house.event("ended")
    assert house.relay.stream("live", "cam") is None


@pytest.mark.parametrize(("coding", "wanted"), [("pcm_alaw", "PCMA"), ("pcm_mulaw", "PCMU")])
async def test_g711_in_step_with_pictures_in_order(
    house: House, clips: dict[str, Path], coding: str, wanted: str
) -> None:
    options = ("-c:v", "libx264", "-bf", "0", "-g", "12", "-pix_fmt", "yuv420p")
    publisher = await record(house, clips["libx264"], "cam", "udp", *options, "-c:a", coding, "-ar", "8000", "-ac", "1")
    await house.event("first_key_frame")
    played = await asyncio.to_thread(play, house.flv("cam"))
    stream_codecs = {"video": "h264", "audio": coding}
    assert played.codecs == stream_codecs
    assert same_times(played.times["video"], [40 * n for n in range(len(played.pictures))])
    assert len(played.pictures) == 75
    assert (await house.event("tracks")).detail["audio"] == wanted
    await publisher.wait()


async def test_sound_alone_and_nothing_that_can_be_read(house: House, clips: dict[str, Path]) -> None:
    publisher = await record(house, clips["libx264"], "radio", "tcp", "-vn", "-c:a", "copy")
    await house.event("tracks")
    played = await asyncio.to_thread(play, house.url("radio"))
    assert (played.codecs, len(played.sound) > 30) == ({"audio": "aac"}, True)
    await publisher.wait()
    publisher = await record(house, clips["libx264"], "odd", "tcp", "-an", "-c:v", "mpeg4")
    _, errors = await publisher.communicate()
    assert b"415" in errors
    assert house.relay.stream("live", "odd") is None


async def test_who_is_refused_is_told(house: House, clips: dict[str, Path]) -> None:
    def refuse(house: House, event: Event) -> None:
        house.relay.refuse_publish(int(event.detail["ticket"]), "no")

    house.decide = refuse
    publisher = await record(house, clips["libx264"], "cam", "tcp")
    _, errors = await publisher.communicate()
    assert b"403" in errors


async def test_a_stream_has_one_source_and_what_is_out_of_turn_is_refused(house: House) -> None:
    body = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n"
    url = house.rtsp_url("cam")
    first = await Client.open(HOST, house.rtsp)
    assert (await first.ask("ANNOUNCE", url, body=body)).status == 200
    assert (await first.ask("RECORD", url)).status == 455
    assert (await first.ask("SETUP", f"{url}/streamid=7", Transport="RTP/AVP/TCP;mode=record")).status in {200, 404}
    assert (await first.ask("SETUP", f"{url}/streamid=0", Transport="RTP/AVP;multicast;mode=record")).status == 461
    answer = await first.ask(
        "SETUP", f"{url}/streamid=0", Transport="RTP/AVP;unicast;client_port=5000-5001;mode=record"
    )
    assert (answer.status, "server_port=23" in answer.headers["transport"]) == (200, True)
    assert (await first.ask("RECORD", url)).status == 200
    first.close()
    await house.event("ended")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_gstreamer_records_is_played(house: House, transport: str) -> None:
    known = await asyncio.create_subprocess_exec("gst-inspect-1.0", "--exists", "rtspclientsink")
    if await known.wait() != 0:
        pytest.skip("GStreamer's rtspclientsink is not installed")
    pictures = (
        "videotestsrc",
        "is-live=true",
        "!",
        "video/x-raw,format=I420,width=320,height=192,framerate=25/1",
    )
    coded = ("!", "x264enc", "key-int-max=25", "bframes=0", "tune=zerolatency", "!", "sink.sink_0")
    sound = (
        "audiotestsrc",
        "is-live=true",
        "samplesperbuffer=160",
        "!",
        "audio/x-raw,rate=8000,channels=1",
    )
    publisher = await asyncio.create_subprocess_exec(
        "gst-launch-1.0", "-q", "rtspclientsink", "name=sink", f"location={house.rtsp_url('cam')}",
        f"protocols={transport}", *pictures, *coded, *sound, "!", "alawenc", "!", "sink.sink_1",
    )  # fmt: skip
    try:
        await house.event("first_key_frame")
        await house.event("tracks")
        stream = house.stream("cam")
        assert (stream.video_codec, stream.audio_codec) == ("H264", "PCMA")
        playing = asyncio.create_task(asyncio.to_thread(play, house.flv("cam")))
        # On a busy machine its sink may wait for ever for the end of the stream to come through: it is stopped.
        async with asyncio.timeout(20):
            while not house.stream("cam").viewers["http-flv"]:  # noqa: ASYNC110  (a thread of Rust)
                await asyncio.sleep(0.02)
            enough = house.stream("cam").received + 300
            while house.stream("cam").received < enough:  # noqa: ASYNC110  (a thread of Rust)
                await asyncio.sleep(0.02)
        publisher.send_signal(signal.SIGINT)
        played = await playing
        assert len(played.pictures) >= 25
        assert len(played.sound) >= 25
        await asyncio.wait_for(publisher.wait(), 10)
    finally:
        if publisher.returncode is None:
            publisher.kill()
            await publisher.wait()
    # It does not always say TEARDOWN before it closes the connection.
    ends = {"closed by the peer", "the publisher ended the stream"}
    assert (await house.event("disconnected")).detail["reason"] in ends


async def test_a_publisher_that_vanishes_ends_its_stream(house: House, clips: dict[str, Path]) -> None:
    publisher = await record(house, clips["libx264"], "cam", "tcp")
    await house.event("first_key_frame")
    publisher.kill()
    await publisher.wait()
    assert (await house.event("disconnected")).detail["reason"] == "closed by the peer"
    await house.event("ended")
