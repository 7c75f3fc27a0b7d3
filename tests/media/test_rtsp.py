"""RTSP with foreign players: what encoders and devices send reaches them unchanged, on connections and in datagrams."""

import asyncio
import io
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import pytest

from gateway.simulator.clip import ClipSpec, clip
from gateway.simulator.model import AudioCodec, VideoCodec
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import RtpStream, StreamFaults
from media.relay import Relay
from tests.media.house import FAR, HOST, REMUX, House, Played, digest, play, push, run
from tests.media.rtsp_client import Client

TRANSPORTS = ["tcp", "udp"]


@pytest.fixture(scope="session")
def long_clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Five seconds with a key frame a second and pictures out of order, by their coding."""
    folder = tmp_path_factory.mktemp("long_clips")
    made = {}
    for codec, options in (("libx264", []), ("libx265", ["-x265-params", "log-level=none:keyint=25:min-keyint=25"])):
        made[codec] = folder / f"{codec}.mp4"
        run(
            "-f", "lavfi", "-i", "testsrc=s=320x192:r=25:d=5", "-f", "lavfi", "-i", "sine=r=44100:d=5", "-c:v", codec,
            *options, "-g", "25", "-bf", "2", "-pix_fmt", "yuv420p", "-c:a", "aac", str(made[codec]),
        )  # fmt: skip
    return made


def played(house: House, name: str, transport: str = "tcp", query: str = "", **options: str) -> Played:
    return play(house.rtsp_url(name, query), rtsp_transport=transport, timeout="5000000", **options)


async def until(good: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not good():  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.01)


def viewers(house: House, name: str = "cam") -> int:
    return house.stream(name).viewers["rtsp"]


def ends_like(part: list[str], whole: list[str], least: int) -> bool:
    """Whether `part` is the end of `whole` from some key frame on."""
    return len(part) >= least and part == whole[-len(part) :]


def is_run(part: list[str], whole: list[str], least: int) -> bool:
    """Whether `part` stands in `whole`, nothing missing and nothing between.

    A player of datagrams that hears the end may drop the sound it has not looked at yet.
    """
    starts = range(len(whole) - len(part) + 1)
    return len(part) >= least and any(part == whole[start : start + len(part)] for start in starts)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
async def test_what_is_published_is_played_unchanged(
    house: House, long_clips: dict[str, Path], codec: str, transport: str
) -> None:
    source = long_clips[codec]
    sent = play(str(source))
    publisher = await ENCODERS[codec](house, source)
    await house.event("first_key_frame")
    got = await asyncio.to_thread(played, house, "cam", transport)
    assert got.codecs == {"video": {"libx264": "h264", "libx265": "hevc"}[codec], "audio": "aac"}
    assert ends_like(got.pictures, sent.pictures, 100 if transport == "tcp" else 50)
    complete = ends_like if transport == "tcp" else is_run
    assert complete(got.sound[-50:], sent.sound, 50)
    steps = [after - before for before, after in zip(got.times["audio"], got.times["audio"][1:], strict=False)]
    assert all(22 <= step <= 25 for step in steps), "sound without gaps"
    assert await publisher.wait() == 0


async def push_h265(house: House, source: Path) -> asyncio.subprocess.Process:
    """By a program of its own: FFmpeg's command here may be older than H.265 in FLV."""
    return await asyncio.create_subprocess_exec(sys.executable, "-c", REMUX, str(source), house.url("cam"))


ENCODERS = {"libx264": lambda house, source: push(house, source, "cam"), "libx265": push_h265}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("coding", ["pcm_alaw", "pcm_mulaw"])
async def test_g711_beside_video(house: House, long_clips: dict[str, Path], coding: str, transport: str) -> None:
    options = ("-c:v", "copy", "-c:a", coding, "-ar", "8000", "-ac", "1")
    publisher = await push(house, long_clips["libx264"], "cam", *options)
    await house.event("first_key_frame")
    got = await asyncio.to_thread(played, house, "cam", transport)
    assert got.codecs == {"video": "h264", "audio": coding}
    assert ends_like(got.pictures, play(str(long_clips["libx264"])).pictures, 50)
    assert len(got.sound) > 20
    await publisher.wait()


@pytest.mark.parametrize(("wanted", "codecs"), [("video", {"video": "h264"}), ("audio", {"audio": "aac"})])
async def test_one_track_alone(house: House, long_clips: dict[str, Path], wanted: str, codecs: dict[str, str]) -> None:
    publisher = await push(house, long_clips["libx264"], "cam")
    await house.event("first_key_frame")
    got = await asyncio.to_thread(played, house, "cam", allowed_media_types=wanted)
    sent = play(str(long_clips["libx264"]))
    assert got.codecs == codecs
    if wanted == "video":
        assert ends_like(got.pictures, sent.pictures, 100)
    else:
        assert ends_like(got.sound, sent.sound, 100)
    await publisher.wait()


async def test_sound_without_pictures(house: House, long_clips: dict[str, Path]) -> None:
    publisher = await push(house, long_clips["libx264"], "radio", "-vn", "-c:a", "copy")
    await house.event("tracks")
    got = await asyncio.to_thread(played, house, "radio", "udp")
    assert got.codecs == {"audio": "aac"}
    assert len(got.sound) > 50
    await publisher.wait()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_gstreamer_plays(house: House, long_clips: dict[str, Path], tmp_path: Path, transport: str) -> None:
    publisher = await push(house, long_clips["libx264"], "cam")
    await house.event("first_key_frame")
    file = tmp_path / "played.h264"
    player = await asyncio.create_subprocess_exec(
        "gst-launch-1.0", "-q", "rtspsrc", f"location={house.rtsp_url('cam')}", f"protocols={transport}", "!",
        "rtph264depay", "!", "h264parse", "!", "video/x-h264,stream-format=byte-stream,alignment=au", "!",
        "filesink", f"location={file}",
    )  # fmt: skip
    try:
        assert await publisher.wait() == 0
        async with asyncio.timeout(15):
            await player.wait()
    finally:
        if player.returncode is None:
            player.kill()
    assert ends_like(play(str(file)).pictures, play(str(long_clips["libx264"])).pictures, 25)


@pytest.mark.parametrize("video", [VideoCodec.H264, VideoCodec.H265])
async def test_what_a_device_sends_is_played(video: VideoCodec) -> None:
    spec = ClipSpec(video=video, audio=AudioCodec.G711A, width=320, height=192, fps=25, gop=25, seconds=4, b_frames=2)
    source = await asyncio.to_thread(clip, replace(spec, bitrate_bps=400_000))
    stream = b"".join(unit.data for unit in source.units if unit.is_video)
    with av.open(io.BytesIO(stream), mode="r", format={"H264": "h264", "H265": "hevc"}[video.name]) as container:
        sent = [digest(frame) for frame in container.decode(video=0)]
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=23100, rtp_port_max=23199, threads=1) as relay:
        rtsp = relay.listen_rtsp(HOST, 0)
        receiver = relay.open_receiver("test", "cam", transport="udp", ssrc=7, peer=HOST, private=False)
        # It is there before the device, and waits to be told what will come.
        url = f"rtsp://{HOST}:{rtsp}/test/cam"
        player = asyncio.create_task(asyncio.to_thread(play, url, rtsp_transport="tcp", timeout="5000000"))
        await until(lambda: relay.metrics()["relay_rtsp_accepted_total"] == 1)
        packets = RtpStream(PsWriter(spec.video, spec.audio), 7, StreamFaults())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            for unit in source.units:
                for packet in packets.packetise(unit):
                    device.sendto(packet, (HOST, receiver.port))
                await asyncio.sleep(0.005)
        await asyncio.sleep(1.5)  # the relay waits for what may still come before it lets the last units go
        relay.close_receiver(receiver.id)
        got = await player
    assert got.codecs == {"video": {"H264": "h264", "H265": "hevc"}[video.name], "audio": "pcm_alaw"}
    assert len(got.pictures) >= len(sent) - 1
    assert got.pictures == sent[: len(got.pictures)]


async def test_players_of_private_streams_show_a_signature(house: House, long_clips: dict[str, Path]) -> None:
    house.decide = lambda house, event: house.accept(event, private=True)
    publisher = await push(house, long_clips["libx264"], "cam")
    await house.event("first_key_frame")
    client = await Client.open(HOST, house.rtsp)
    for query, status in (
        ("", 403),
        (f"?{house.relay.sign('live', 'cam', 1)}", 403),
        (f"?{house.relay.sign('live', 'other', FAR)}", 403),
        (f"?{house.relay.sign('live', 'cam', FAR)}", 200),
    ):
        assert (await client.ask("DESCRIBE", house.rtsp_url("cam", query))).status == status
    client.close()
    undescribed = await Client.open(HOST, house.rtsp)
    assert (await undescribed.set_up(house.rtsp_url("cam"))).status == 403
    undescribed.close()
    got = await asyncio.to_thread(played, house, "cam", "udp", f"?{house.relay.sign('live', 'cam', FAR)}")
    assert got.codecs == {"video": "h264", "audio": "aac"}
    assert house.relay.metrics()["relay_rtsp_denied_total"] == 4
    await publisher.wait()


async def test_what_is_not_there_is_not_found(house: House) -> None:
    client = await Client.open(HOST, house.rtsp)
    for name in ("cam", "a/b", "%00", "x" * 5000):
        assert (await client.ask("DESCRIBE", house.rtsp_url(name))).status == 404
    assert (await client.ask("SETUP", house.rtsp_url("cam"), Transport="RTP/SAVP")).status == 461
    assert (await client.ask("PLAY", house.rtsp_url("cam"))).status == 455
    assert (await client.ask("DANCE", house.rtsp_url("cam"))).status == 501
    assert (await client.ask("ANNOUNCE", house.rtsp_url("cam"))).status in (400, 415)
    client.close()


async def test_places_are_counted_and_come_free(house: House, long_clips: dict[str, Path]) -> None:
    house.decide = lambda house, event: house.accept(event, viewers_max=1)
    publisher = await push(house, long_clips["libx264"], "cam")
    await house.event("first_key_frame")
    url = house.rtsp_url("cam")
    for leave in ("teardown", "close", "reset"):
        first, second = [await Client.open(HOST, house.rtsp) for _ in range(2)]
        assert (await first.play(url)).status == 200
        assert (await second.play(url)).status == 453
        await until(lambda: viewers(house) == 1)
        if leave == "teardown":
            assert (await first.ask("TEARDOWN", url)).status == 200
            await first.end()
        elif leave == "reset":
            first.writer.transport.abort()
        first.close()
        await until(lambda: viewers(house) == 0)
        assert (await second.ask("PLAY", url)).status == 200, "whoever was refused may ask again"
        second.close()
        await until(lambda: viewers(house) == 0)
    await publisher.wait()


async def test_questions_are_answered_while_it_plays(house: House, long_clips: dict[str, Path]) -> None:
    publisher = await push(house, long_clips["libx264"], "cam")
    await house.event("first_key_frame")
    url = house.rtsp_url("cam")
    client = await Client.open(HOST, house.rtsp)
    assert (await client.play(url)).status == 200
    for method, status in (
        ("GET_PARAMETER", 200), ("OPTIONS", 200), ("PAUSE", 200), ("PLAY", 200), ("DESCRIBE", 455), ("SETUP", 455),
    ):  # fmt: skip
        client.writer.write(b"$\x01\x00\x08\x80\xc9\x00\x01\0\0\0\0")  # a receiver report
        assert (await client.ask(method, url)).status == status
    number, packet = await client.packet()
    assert (number in (0, 1), packet[0] >> 6) == (True, 2)
    strange = client.session
    client.session = "another"
    assert (await client.ask("GET_PARAMETER", url)).status == 454
    assert strange != "another"
    client.close()
    await publisher.wait()


async def test_datagrams_come_from_the_told_port_and_stop_with_the_connection(
    house: House, long_clips: dict[str, Path]
) -> None:
    publisher = await push(house, long_clips["libx264"], "cam")
    await house.event("first_key_frame")
    url = house.rtsp_url("cam")
    client = await Client.open(HOST, house.rtsp)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taker:
        taker.bind((HOST, 0))
        taker.setblocking(False)
        port = taker.getsockname()[1]
        # A destination is not what decides where they go.
        transport = f"RTP/AVP;unicast;destination=192.0.2.1;client_port={port}-{port + 1}"
        answer = await client.set_up(url, transport=transport)
        assert f"client_port={port}-{port + 1}" in answer.headers["transport"]
        assert (await client.ask("PLAY", url)).status == 200
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            packet, source = await loop.sock_recvfrom(taker, 2048)
        assert f"server_port={source[1]}-{source[1] + 1}" in answer.headers["transport"]
        assert len(packet) <= 1472
        client.close()
        await until(lambda: viewers(house) == 0)
        with pytest.raises(BlockingIOError):
            for _ in range(10_000):
                taker.recv(2048)
        await asyncio.sleep(0.3)
        with pytest.raises(BlockingIOError):
            taker.recv(2048)
    await publisher.wait()


async def test_a_player_that_does_not_read_is_closed_and_holds_nobody_up(house: House, tmp_path: Path) -> None:
    file = tmp_path / "large.mp4"
    run(
        "-f", "lavfi", "-i", "nullsrc=s=640x360:r=25:d=16,geq=random(1)*255:128:128", "-c:v", "libx264", "-preset",
        "ultrafast", "-qp", "20", "-g", "25", "-pix_fmt", "yuv420p", str(file),
    )  # fmt: skip
    publisher = await push(house, file, "cam")
    await house.event("first_key_frame")
    slow = await Client.open(HOST, house.rtsp)
    assert (await slow.play(house.rtsp_url("cam"))).status == 200
    await until(lambda: viewers(house) == 1)
    slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
    got = await asyncio.to_thread(played, house, "cam")
    assert len(got.pictures) > 300
    await publisher.wait()
    assert house.relay.metrics()["relay_viewers_stalled_total"] == 1
    slow.close()


async def test_other_tracks_close_the_player(house: House) -> None:
    spec = ClipSpec(width=320, height=192, fps=25, gop=25, seconds=2, bitrate_bps=300_000, audio=None)
    sources = [
        await asyncio.to_thread(clip, replace(spec, video=video)) for video in (VideoCodec.H264, VideoCodec.H265)
    ]
    receiver = house.relay.open_receiver("live", "cam", transport="udp", ssrc=7, peer=HOST, private=False)
    client = await Client.open(HOST, house.rtsp)
    url = house.rtsp_url("cam")
    described = asyncio.create_task(client.ask("DESCRIBE", url))
    ended = None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        sent = 0
        for source in sources:
            stream = RtpStream(PsWriter(source.spec.video, None), 7, StreamFaults(), first_sequence_number=sent)
            for unit in source.units:
                for packet in stream.packetise(unit):
                    device.sendto(packet, (HOST, receiver.port))
                await asyncio.sleep(0.01)
                sent = stream.packets
                if described.done() and ended is None:
                    assert b"H264/90000" in described.result().body
                    await client.set_up(url)
                    assert (await client.ask("PLAY", url)).status == 200
                    ended = asyncio.create_task(client.end())
    assert ended is not None
    await ended
    client.close()
    again = await Client.open(HOST, house.rtsp)
    assert b"H265/90000" in (await again.ask("DESCRIBE", url)).body
    again.close()


async def raw(house: House, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, house.rtsp)
    writer.write(data)
    async with asyncio.timeout(20):
        try:
            got = await reader.read(-1)
        except ConnectionResetError:
            got = b""
    writer.close()
    return got


async def test_garbage_is_counted_and_closed(house: House) -> None:
    await raw(house, b"\xff" * 70_000)
    await raw(house, b"OPTIONS * RTSP/1.0\r\n" + b"a: b\r\n" * 100 + b"\r\n")
    await raw(house, b"ANNOUNCE rtsp://h/a/b RTSP/1.0\r\nContent-Length: 4000000000\r\n\r\n")
    await until(lambda: house.relay.metrics()["relay_rtsp_broken_total"] == 3)


async def test_who_says_nothing_is_closed(house: House) -> None:
    assert await raw(house, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n") != b"", "an answer, and 15 s later the end"
    # The connection closes a moment before it is counted.
    await until(lambda: house.relay.metrics()["relay_rtsp_broken_total"] == 1)
