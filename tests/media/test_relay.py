"""The relay through its Python face: what a device sends comes out at viewers, and events say what happened."""

import asyncio
import json
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.simulator.clip import Clip, ClipSpec, clip
from gateway.simulator.link import Impairment, Link
from gateway.simulator.model import AudioCodec, VideoCodec
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import RtpStream, StreamFaults, frame
from media._core import CoreError, Event, Receiver, Stream, UnknownReceiverError
from media.relay import Relay

HOST = "127.0.0.1"
SSRC = 115_000_001
SMALL = ClipSpec(width=320, height=192, fps=25, gop=25, seconds=4, bitrate_bps=400_000)


class Listener:
    """Collects events and lets a test wait for one."""

    def __init__(self, relay: Relay) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()
        relay.listen(self._note)

    def _note(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def wait(self, kind: str) -> Event:
        async with asyncio.timeout(10):
            while True:
                for event in self.events:
                    if event.kind == kind:
                        return event
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    # The ports of this range are not those of the Rust tests, nor of the kernel's ephemeral range.
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=21000, rtp_port_max=21999, threads=1) as relay:
        yield relay


async def until(good: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not good():  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.01)


def snapshot(relay: Relay, name: str) -> Stream:
    stream = relay.stream("test", name)
    assert stream is not None
    return stream


def open_receiver(relay: Relay, name: str, transport: Any = "udp") -> Receiver:
    return relay.open_receiver("test", name, transport=transport, ssrc=SSRC, peer=HOST, private=False)


def packets(source: Clip, impairment: Impairment | None = None) -> list[list[bytes]]:
    """One list of packets for each unit."""
    stream = RtpStream(PsWriter(source.spec.video, source.spec.audio), SSRC, StreamFaults())
    bursts = [stream.packetise(unit) for unit in source.units]
    if impairment is None:
        return bursts
    link = Link(impairment)
    return [*(link.pass_on(burst) for burst in bursts), link.flush()]


async def send_udp(port: int, bursts: Sequence[list[bytes]]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        for burst in bursts:
            for packet in burst:
                device.sendto(packet, (HOST, port))
            await asyncio.sleep(0.004)


async def send_tcp(port: int, bursts: Sequence[list[bytes]]) -> None:
    _, writer = await asyncio.open_connection(HOST, port)
    await send_on(writer, bursts)


async def send_on(writer: asyncio.StreamWriter, bursts: Sequence[list[bytes]]) -> None:
    for burst in bursts:
        writer.writelines(frame(packet) for packet in burst)
        await writer.drain()
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.1)
    writer.close()
    await writer.wait_closed()


async def play(port: int, path: str) -> bytes:
    """Everything that a viewer of `path` gets until the stream ends."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head, head
    body = await reader.read(-1)
    writer.close()
    return body


def run(*command: str, data: bytes) -> bytes:
    return subprocess.run(command, input=data, capture_output=True, check=True, timeout=60).stdout


def probe(data: bytes, form: str) -> dict[str, Any]:
    answer = run("ffprobe", "-v", "error", "-show_streams", "-of", "json", "-f", form, "-i", "pipe:0", data=data)
    streams: list[dict[str, Any]] = json.loads(answer)["streams"]
    return {stream["codec_type"]: stream for stream in streams}


def pictures(data: bytes, form: str) -> list[str]:
    """The hash of each decoded picture, in order."""
    answer = run(
        "ffmpeg", "-v", "error", "-f", form, "-i", "pipe:0", "-map", "0:v", "-fps_mode", "passthrough",
        "-f", "framemd5", "pipe:1", data=data,
    )  # fmt: skip
    lines = answer.decode().splitlines()
    return [line.rsplit(",", 1)[1].strip() for line in lines if not line.startswith("#")]


def elementary(source: Clip) -> bytes:
    return b"".join(unit.data for unit in source.units if unit.is_video)


async def relayed(
    relay: Relay, http: int, receiver: Receiver, name: str, send: Callable[[], Awaitable[None]]
) -> tuple[bytes, Stream]:
    """What a viewer got that joined before the first packet, and the figures at the end."""
    playing = asyncio.create_task(play(http, f"/test/{name}.live.flv"))
    await until(lambda: snapshot(relay, name).viewers["http-flv"] == 1)
    await send()
    await asyncio.sleep(1.5)
    stream = snapshot(relay, name)
    relay.close_receiver(receiver.id)
    return await asyncio.wait_for(playing, 10), stream


@pytest.mark.peer
@pytest.mark.parametrize(
    ("video", "audio", "names"),
    [
        (VideoCodec.H264, AudioCodec.G711A, ("h264", "pcm_alaw")),
        (VideoCodec.H264, AudioCodec.AAC, ("h264", "aac")),
    ],
)
async def test_pictures_come_out_as_they_went_in(
    relay: Relay, tmp_path: Path, video: VideoCodec, audio: AudioCodec, names: tuple[str, str]
) -> None:
    listener = Listener(relay)
    http = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
    source = await asyncio.to_thread(clip, replace(SMALL, video=video, audio=audio))
    receiver = open_receiver(relay, "udp")
    bursts = packets(source)
    data, stream = await relayed(relay, http, receiver, "udp", lambda: send_udp(receiver.port, bursts))

    streams = probe(data, "flv")
    assert (streams["video"]["codec_name"], streams["audio"]["codec_name"]) == names
    assert (streams["video"]["width"], streams["video"]["height"]) == (320, 192)
    sent, seen = pictures(elementary(source), "h264"), pictures(data, "flv")
    # The last picture has no successor that would end it.
    assert len(seen) >= len(sent) - 1
    assert seen == sent[: len(seen)]

    total = sum(len(burst) for burst in bursts)
    assert (stream.expected, stream.received, stream.lost) == (total, total, 0)
    assert (stream.video_codec, stream.width, stream.height, stream.gop) == ("H264", 320, 192, 25)
    assert stream.payload == "ps"
    assert stream.fps == pytest.approx(25, abs=0.5)
    assert {"first_packet", "tracks", "first_key_frame"} <= {event.kind for event in listener.events}
    tracks = await listener.wait("tracks")
    assert tracks.detail["video"] == stream.video_codec
    assert tracks.detail["width"] == "320"


@pytest.mark.peer
@pytest.mark.parametrize(("playlist", "form"), [("hls.m3u8", "mpegts"), ("hls.fmp4.m3u8", "mp4")])
async def test_segments_hold_the_pictures(relay: Relay, tmp_path: Path, playlist: str, form: str) -> None:
    http = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
    source = await asyncio.to_thread(clip, replace(SMALL, video=VideoCodec.H265, audio=AudioCodec.AAC))
    receiver = open_receiver(relay, "cut")
    base = f"http://{HOST}:{http}/test/cut/"
    async with httpx.AsyncClient() as client:
        asking = asyncio.create_task(client.get(base + playlist))
        await asyncio.sleep(0.1)
        await send_udp(receiver.port, packets(source))
        assert (await asking).status_code == 200
        text = (await client.get(base + playlist)).text
        files = re.findall(r'URI="([^"]+)"', text) + [line for line in text.splitlines() if line and line[0] != "#"]
        data = b"".join([(await client.get(base + file)).content for file in files])
    assert snapshot(relay, "cut").viewers["hls"] == 1
    streams = probe(data, form)
    assert (streams["video"]["codec_name"], streams["audio"]["codec_name"]) == ("hevc", "aac")
    sent, seen = pictures(elementary(source), "hevc"), pictures(data, form)
    assert len(seen) >= 50
    assert seen == sent[: len(seen)]


@pytest.mark.peer
@pytest.mark.parametrize("transport", ["tcp_passive", "tcp_active"])
async def test_tcp_brings_the_same(relay: Relay, tmp_path: Path, transport: str) -> None:
    listener = Listener(relay)
    http = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
    source = await asyncio.to_thread(clip, SMALL)
    bursts = packets(source)
    receiver = open_receiver(relay, "tcp", transport)

    async def connect() -> None:
        if transport == "tcp_passive":
            return await send_tcp(receiver.port, bursts)
        done = asyncio.Event()

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await send_on(writer, bursts)
            done.set()

        async with await asyncio.start_server(serve, HOST, 0) as server:
            relay.connect(receiver.id, HOST, server.sockets[0].getsockname()[1])
            await done.wait()
        return None

    data, stream = await relayed(relay, http, receiver, "tcp", connect)
    sent, seen = pictures(elementary(source), "h264"), pictures(data, "flv")
    assert len(seen) >= len(sent) - 1
    assert seen == sent[: len(seen)]
    assert stream.lost == 0
    await listener.wait("connected")
    await listener.wait("disconnected")


@pytest.mark.peer
async def test_reordering_and_duplicates_do_no_harm(relay: Relay, tmp_path: Path) -> None:
    http = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
    source = await asyncio.to_thread(clip, SMALL)
    receiver = open_receiver(relay, "messy")
    impairment = Impairment(reorder=0.02, duplicate=0.01, seed=7)
    bursts = packets(source, impairment)
    data, stream = await relayed(relay, http, receiver, "messy", lambda: send_udp(receiver.port, bursts))
    sent, seen = pictures(elementary(source), "h264"), pictures(data, "flv")
    assert len(seen) >= len(sent) - 1
    assert seen == sent[: len(seen)]
    assert stream.lost == 0
    assert stream.duplicates == sum(map(len, bursts)) - stream.received > 0
    assert stream.reordered > 0


@pytest.mark.peer
async def test_after_loss_only_whole_pictures_come_out(relay: Relay, tmp_path: Path) -> None:
    http = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
    source = await asyncio.to_thread(clip, SMALL)
    receiver = open_receiver(relay, "lossy")
    whole, link = packets(source), Link(Impairment(loss=0.01, seed=3))
    # The ends arrive: what is lost before the first or after the last packet nobody can know of.
    bursts = [whole[0], *(link.pass_on(burst) for burst in whole[1:-1]), whole[-1]]
    data, stream = await relayed(relay, http, receiver, "lossy", lambda: send_udp(receiver.port, bursts))
    lost = sum(map(len, whole)) - sum(map(len, bursts))
    assert stream.lost == lost > 0
    assert stream.faults["sequence_gap"] > 0
    sent, seen = pictures(elementary(source), "h264"), pictures(data, "flv")
    known = iter(sent)
    assert all(picture in known for picture in seen), "a damaged picture, or one out of order"
    assert 25 <= len(seen) < len(sent)
    assert sum(sent[key] in seen for key in range(0, 100, 25)) >= 2, "it recovers at key frames"


async def test_a_late_viewer_begins_at_once_with_a_key_frame(relay: Relay, tmp_path: Path) -> None:
    http = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
    source = await asyncio.to_thread(clip, SMALL)
    receiver = open_receiver(relay, "late")
    await send_udp(receiver.port, packets(source))
    await until(lambda: snapshot(relay, "late").first_key_frame_ms is not None)
    reader, writer = await asyncio.open_connection(HOST, http)
    writer.write(b"GET /test/late.live.flv HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    # No packet comes any more: all this is from the cache.
    first = await asyncio.wait_for(reader.readexactly(20_000), 5)
    assert first.startswith(b"FLV\x01\x05")
    writer.close()
    await until(lambda: snapshot(relay, "late").viewers["http-flv"] == 0)


async def test_private_streams_want_a_signed_address(relay: Relay, tmp_path: Path) -> None:
    http = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
    relay.open_receiver("test", "private", transport="udp", ssrc=SSRC, peer=HOST)

    async def status(query: str) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, http)
        writer.write(f"GET /test/private.live.flv{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        line = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        return line.split()[1]

    assert await status("") in (b"401", b"403")
    assert await status("?" + relay.sign("test", "private", 4_000_000_000)) == b"200"
    relay.set_private("test", "private", False)
    assert await status("") == b"200"


async def test_rights_to_play_are_revoked_asked_for_and_bounded(relay: Relay, tmp_path: Path) -> None:
    http = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
    relay.open_receiver("test", "rights", transport="udp", ssrc=SSRC, peer=HOST, generation=1, viewers_max=1)
    writers = []

    async def status(query: str = "", headers: str = "") -> bytes:
        reader, writer = await asyncio.open_connection(HOST, http)
        writers.append(writer)
        writer.write(f"GET /test/rights.live.flv{query} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        line = await asyncio.wait_for(reader.readline(), 10)
        return line.split()[1]

    questions: list[Event] = []

    def judge(event: Event) -> None:
        if event.kind == "play":
            questions.append(event)
            relay.answer_play(int(event.detail["ticket"]), event.detail["token"] == "good")

    relay.listen(judge)
    assert await status(headers="X-Auth-Token: bad\r\n") == b"403"
    assert await status(headers="X-Auth-Token: good\r\n") == b"200"
    assert questions[1].detail["protocol"] == "http-flv"
    assert "good" not in repr(questions[1])
    signed = "?" + relay.sign("test", "rights", 4_000_000_000, 1)
    assert await status(signed) == b"503"
    relay.set_viewers_max("test", "rights", 2)
    assert await status(signed) == b"200"
    relay.set_generation("test", "rights", 2)
    assert await status(signed) == b"403"
    for writer in writers:
        writer.close()


async def test_a_relay_has_a_limit_of_viewers_for_receivers_without_their_own(tmp_path: Path) -> None:
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=21000, rtp_port_max=21999, viewers_max=1) as relay:
        http = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
        relay.open_receiver("test", "usual", transport="udp", ssrc=SSRC, peer=HOST, private=False)
        relay.open_receiver("test", "own", transport="udp", ssrc=SSRC, peer=HOST, private=False, viewers_max=2)
        statuses, writers = [], []
        for name in ("usual", "usual", "own", "own", "own"):
            reader, writer = await asyncio.open_connection(HOST, http)
            writer.write(f"GET /test/{name}.live.flv HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            statuses.append((await asyncio.wait_for(reader.readline(), 5)).split()[1])
            writers.append(writer)
        for writer in writers:
            writer.close()
    assert statuses == [b"200", b"503", b"200", b"200", b"503"]


async def test_a_tap_reads_what_arrives(relay: Relay) -> None:
    receiver = open_receiver(relay, "tapped")
    tap = relay.tap(receiver.id)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.sendto(b"\x80\x60\x00\x01" + bytes(8) + b"hello", (HOST, receiver.port))
    got: list[tuple[int, str, bytes]] = []

    def arrived() -> bool:
        got.extend(tap.read())
        return bool(got)

    await until(arrived)
    assert got[0][1:] == ("udp", b"\x80\x60\x00\x01" + bytes(8) + b"hello")
    assert tap.dropped == 0
    tap.close()


async def test_errors_have_types(relay: Relay) -> None:
    receiver = open_receiver(relay, "one")
    with pytest.raises(CoreError, match="has a receiver already"):
        open_receiver(relay, "one")
    with pytest.raises(UnknownReceiverError):
        relay.connect(receiver.id + 99, HOST, 5)
    with pytest.raises(ValueError, match="no IP address"):
        relay.open_receiver("test", "two", transport="udp", peer="camera.example")
    with pytest.raises(ValueError, match="no transport"):
        relay.open_receiver("test", "two", transport="sctp")  # type: ignore[arg-type]  # that is the point
    relay.close_receiver(receiver.id)
    relay.close_receiver(receiver.id)
    assert relay.stream_count() == 0
    assert relay.streams() == []


async def test_ports_and_descriptors_come_back(relay: Relay) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(300):
        receiver = open_receiver(relay, f"s{number}", "tcp_passive" if number % 2 else "udp")
        relay.close_receiver(receiver.id)
    await until(lambda: relay.metrics()["relay_streams"] == 0)
    await until(lambda: len(list(Path("/proc/self/fd").iterdir())) == before)
