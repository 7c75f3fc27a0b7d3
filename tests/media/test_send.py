"""Streams sent as RTP: what a second stream of ours, the declarations and foreign programs make of them."""

import asyncio
import contextlib
import io
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import av
import pytest

from gateway.simulator.clip import Clip, ClipSpec, clip
from gateway.simulator.model import AudioCodec, VideoCodec
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import RtpStream, StreamFaults
from media._core import Event, Receiver
from media.formats.ps import STREAM_TYPES
from media.formats.walk import Kind, PsWalker
from media.relay import Relay
from tests.media.ports import receiving
from tests.media.test_play_forms import decode, sent_pictures, until
from tests.media.test_play_forms import http as flv
from tests.ports import free_port

core = pytest.importorskip("media._core", reason="the relay's core is not built")

HOST = "127.0.0.1"
SSRC = 115_000_003
SPEC = ClipSpec(width=320, height=192, fps=25, gop=25, seconds=4, bitrate_bps=400_000)
NAMES = {VideoCodec.H264: "H264/90000", VideoCodec.H265: "H265/90000"}
SOUNDS = {None: [], AudioCodec.G711A: [(8, "PCMA/8000")], AudioCodec.AAC: [(97, "MPEG4-GENERIC/16000/1")]}
SINKS: dict[str, Literal["udp", "tcp_passive", "tcp_active"]] = {
    "udp": "udp",
    "tcp_active": "tcp_passive",
    "tcp_passive": "tcp_active",
}


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=23000, rtp_port_max=23599, threads=1) as relay:
        yield relay


async def feed(port: int, source: Clip, *, from_unit: int = 0) -> None:
    """Sends the clip as a camera does, five times as fast as it was taken."""
    stream = RtpStream(PsWriter(source.spec.video, source.spec.audio), SSRC, StreamFaults())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        for unit in source.units[from_unit:]:
            for packet in stream.packetise(unit):
                device.sendto(packet, (HOST, port))
            await asyncio.sleep(0.004)
    await asyncio.sleep(1.5)  # what may still come is waited for


def send_to(relay: Relay, source: int, transport: Any, payload: Any, sink: Receiver) -> None:
    sender = relay.open_sender(
        source,
        transport=transport,
        host=HOST,
        port=sink.port,
        ssrc=SSRC + 1,
        payload=payload,
        payload_type=99 if payload == "es" else 96,
    )
    if transport == "tcp_passive":
        relay.connect(sink.id, HOST, sender.port)


@pytest.mark.parametrize(
    ("video", "audio", "b_frames"),
    [
        (VideoCodec.H264, AudioCodec.G711A, 0),
        (VideoCodec.H264, AudioCodec.AAC, 2),
        (VideoCodec.H264, None, 2),
        (VideoCodec.H265, AudioCodec.AAC, 2),
        (VideoCodec.H265, AudioCodec.G711A, 0),
    ],
)
async def test_a_second_stream_shows_the_same_pictures(
    relay: Relay, tmp_path: Path, video: VideoCodec, audio: AudioCodec | None, b_frames: int
) -> None:
    """Over every transport, as PS and, where no picture is out of order, as it is: RTP tells one time of each."""
    source = await asyncio.to_thread(clip, replace(SPEC, video=video, audio=audio, b_frames=b_frames))
    sent = await asyncio.to_thread(sent_pictures, source)
    http = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
    receiver = relay.open_receiver("test", "source", transport="udp", ssrc=SSRC, peer=HOST, private=False)
    players: dict[str, asyncio.Task[bytes]] = {}
    for transport, taken in SINKS.items():
        for payload in ("ps",) if b_frames else ("ps", "es"):
            name = f"{transport}-{payload}"
            sink = relay.open_receiver("test", name, transport=taken, ssrc=SSRC + 1, peer=HOST, private=False)
            if payload == "es":
                relay.expect(sink.id, ssrc=SSRC + 1, payloads=[(99, NAMES[video]), *SOUNDS[audio]])
            send_to(relay, receiver.id, transport, payload, sink)
            players[name] = asyncio.create_task(flv(f"http://{HOST}:{http}/test/{name}.live.flv"))
    await until(lambda: sum(sum(one.viewers.values()) for one in relay.streams()) >= 2 * len(players))
    await feed(receiver.port, source)
    for stream in relay.streams():
        relay.close_receiver(stream.receiver)
    for name, player in players.items():
        played = await asyncio.to_thread(decode, await asyncio.wait_for(player, 10), "flv")
        assert len(played.pictures) >= len(sent) - 2, name
        assert played.pictures == sent[: len(played.pictures)], name
        assert ("audio" in played.codecs) == (audio is not None), name


class Target:
    """What a foreign receiver of datagrams would get."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((HOST, 0))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]

    def __enter__(self) -> "Target":
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.packets.append(self._socket.recv(2000))


async def program_of(relay: Relay, source: Clip) -> bytes:
    """The program stream that a target is sent of the clip."""
    receiver = relay.open_receiver("test", "source", transport="udp", ssrc=SSRC, peer=HOST)
    with Target() as target:
        relay.open_sender(receiver.id, transport="udp", host=HOST, port=target.port, ssrc=7)
        await feed(receiver.port, source)
        read = [core.parse_rtp(packet) for packet in target.packets]
    assert {(packet.ssrc, packet.payload_type) for packet in read} == {(7, 96)}
    assert [packet.seq for packet in read] == [(read[0].seq + number) % 65_536 for number in range(len(read))]
    return b"".join(packet.payload for packet in read)


@pytest.mark.parametrize(("video", "audio"), [(VideoCodec.H264, AudioCodec.G711A), (VideoCodec.H265, AudioCodec.AAC)])
async def test_the_declarations_and_ffmpeg_read_the_program_stream(
    relay: Relay, video: VideoCodec, audio: AudioCodec
) -> None:
    source = await asyncio.to_thread(clip, replace(SPEC, video=video, audio=audio, b_frames=2))
    data = await program_of(relay, source)
    walker = PsWalker()
    found = [*walker.handle(data), *walker.finish()]
    assert not [one for one in found if one.fault is not None]
    kinds = [one.kind for one in found]
    keys = sum(1 for unit in source.units if unit.is_video and unit.is_key)
    assert kinds[:4] == [Kind.PACK, Kind.SYSTEM_HEADER, Kind.STREAM_MAP, Kind.PES]
    assert kinds.count(Kind.STREAM_MAP) == kinds.count(Kind.SYSTEM_HEADER) == keys
    (mapped,) = {
        tuple((STREAM_TYPES[entry.stream_type], entry.stream_id) for entry in one.fields.streams)
        for one in found
        if one.kind is Kind.STREAM_MAP and one.fields is not None
    }
    sound = "G.711A" if audio is AudioCodec.G711A else "AAC"
    assert mapped == (("H.264" if video is VideoCodec.H264 else "H.265", 0xE0), (sound, 0xC0))
    sent = await asyncio.to_thread(sent_pictures, source)
    played = await asyncio.to_thread(decode, data, "mpeg")
    assert played.pictures[: len(sent) - 3] == sent[: len(sent) - 3]


async def test_ffmpeg_reads_h264_from_datagrams(relay: Relay, tmp_path: Path) -> None:
    source = await asyncio.to_thread(clip, SPEC)
    sent = await asyncio.to_thread(sent_pictures, source)
    port = free_port()
    sdp = tmp_path / "es.sdp"
    sdp.write_text(
        f"v=0\no=- 0 0 IN IP4 {HOST}\ns=-\nc=IN IP4 {HOST}\nt=0 0\nm=video {port} RTP/AVP 98\na=rtpmap:98 H264/90000\n"
    )
    out = tmp_path / "out.h264"
    player = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-v", "error", "-protocol_whitelist", "file,udp,rtp", "-buffer_size", "4000000", "-i", str(sdp)),
        *("-c", "copy", "-f", "h264", "-y", str(out)),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await receiving(port)
    receiver = relay.open_receiver("test", "source", transport="udp", ssrc=SSRC, peer=HOST)
    relay.open_sender(
        receiver.id, transport="udp", host=HOST, port=port, ssrc=7, payload="es", payload_type=98, audio=False
    )
    await feed(receiver.port, source)
    await asyncio.wait_for(player.communicate(b"q"), 30)
    with av.open(io.BytesIO(out.read_bytes()), format="h264") as container:
        pictures = sum(1 for _ in container.decode(video=0))
    assert pictures >= len(sent) - 3


async def test_events_and_figures_tell_what_becomes_of_a_sender(relay: Relay) -> None:
    events: list[Event] = []
    relay.listen(events.append)
    receiver = relay.open_receiver("test", "told", transport="udp", ssrc=SSRC, peer=HOST)
    with Target() as target:
        sender = relay.open_sender(receiver.id, transport="udp", host=HOST, port=target.port, ssrc=7)
        (told,) = relay.senders()
        assert (told.id, told.app, told.name, told.state, told.peer) == (
            sender.id,
            "test",
            "told",
            "waiting",
            f"{HOST}:{target.port}",
        )
        await until(lambda: any(event.kind == "sender_connected" for event in events))
        relay.close_receiver(receiver.id)
        await until(lambda: any(event.kind == "sender_ended" for event in events))
    (ended,) = [event for event in events if event.kind == "sender_ended"]
    assert ended.detail == {
        "sender": str(sender.id),
        "ssrc": "7",
        "peer": f"{HOST}:{target.port}",
        "reason": "the stream is over",
        "cause": "stream_over",
    }
    with pytest.raises(core.UnknownReceiverError):
        relay.open_sender(receiver.id, transport="udp", host=HOST, port=9, ssrc=7)
    with pytest.raises(ValueError, match="transport"):
        relay.open_sender(receiver.id, transport="sctp", host=HOST, port=9, ssrc=7)  # type: ignore[arg-type]
