"""Every form of output of one stream: right codecs, the pictures that were sent, clean times, sound in step."""

import asyncio
import hashlib
import io
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import av
import httpx
import pytest
from websockets.asyncio.client import connect

from gateway.simulator.clip import Clip, ClipSpec, clip
from gateway.simulator.model import CLOCK_HZ, AudioCodec, VideoCodec
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import RtpStream, StreamFaults
from media.relay import Relay

HOST = "127.0.0.1"
SSRC = 115_000_002
SPEC = ClipSpec(width=320, height=192, fps=25, gop=25, seconds=4, bitrate_bps=400_000)
NAMES = {VideoCodec.H264: "h264", VideoCodec.H265: "hevc"}
SOUNDS = {AudioCodec.AAC: "aac", AudioCodec.G711A: "pcm_alaw", AudioCodec.G711U: "pcm_mulaw"}
SKEW_MAX_S = 0.08


@dataclass
class Played:
    """What a decoder made of one form of output; times are seconds, of packets in the order of the file."""

    codecs: dict[str, str | None] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    pictures: list[str] = field(default_factory=list)
    decoding_times: dict[str, list[float]] = field(default_factory=dict)
    first_shown: dict[str, float] = field(default_factory=dict)


def decode(source: bytes | str, form: str) -> Played:
    """What is in the bytes, or comes from the address until it ends."""
    played = Played()
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with av.open(file, mode="r", format=form, timeout=20) as container:
        for packet in container.demux():
            kind = packet.stream.type
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            played.decoding_times.setdefault(kind, []).append(float(packet.dts * packet.time_base))
            shown = float(packet.pts * packet.time_base)
            played.first_shown[kind] = min(shown, played.first_shown.get(kind, shown))
            if isinstance(packet.stream, av.VideoStream):
                played.pictures += [digest(frame) for frame in packet.stream.decode(packet)]
        # A track whose coding FFmpeg does not know is in neither list.
        for stream in (*container.streams.video, *container.streams.audio):
            played.codecs[stream.type] = stream.codec_context.name
        video = container.streams.video[0]
        played.size = (video.width, video.height)
        played.pictures += [digest(frame) for frame in video.decode(None)]
    return played


def digest(frame: av.VideoFrame) -> str:
    return hashlib.md5(frame.to_ndarray().tobytes(), usedforsecurity=False).hexdigest()


async def http(url: str, media_type: str = "video/x-flv") -> bytes:
    async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
        assert response.headers["content-type"] == media_type
        return b"".join([piece async for piece in response.aiter_raw()])


async def websocket(url: str) -> bytes:
    async with connect(url.replace("http", "ws", 1), max_size=None) as socket:
        return b"".join([message async for message in socket if isinstance(message, bytes)])


async def hls(base: str, playlist: str) -> bytes:
    async with httpx.AsyncClient(base_url=base) as client:
        text = (await client.get(playlist)).text
        files = re.findall(r'URI="([^"]+)"', text) + [line for line in text.splitlines() if line and line[0] != "#"]
        return b"".join([(await client.get(file)).content for file in files])


async def send(port: int, source: Clip) -> None:
    stream = RtpStream(PsWriter(source.spec.video, source.spec.audio), SSRC, StreamFaults())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        for unit in source.units:
            for packet in stream.packetise(unit):
                device.sendto(packet, (HOST, port))
            await asyncio.sleep(0.005)
    await asyncio.sleep(1.5)  # the relay waits for what may still come before it lets the last units go


async def played_in_all_forms(source: Clip, tmp_path: Path) -> dict[str, Played]:
    """Plays the clip once to a viewer of each form; all but HLS players are there before the first packet."""
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=22000, rtp_port_max=22999, threads=1) as relay:
        port = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
        receiver = relay.open_receiver("test", "forms", transport="udp", ssrc=SSRC, peer=HOST, private=False)
        base = f"http://{HOST}:{port}/test/forms"
        rtmp = f"rtmp://{HOST}:{relay.listen_rtmp(HOST, 0)}/test/forms"
        players = {
            form: asyncio.create_task(asyncio.to_thread(decode, address, "flv"))
            for form, address in (("rtmp", rtmp), ("rtmp, codec 12", f"{rtmp}?codec=12"))
        }
        live = {
            "flv": http(f"{base}.live.flv"),
            "flv, codec 12": http(f"{base}.live.flv?codec=12"),
            "flv, silent": http(f"{base}.live.flv?audio=0"),
            "ws-flv": websocket(f"{base}.live.flv"),
            "mpegts, live": http(f"{base}.live.ts", "video/mp2t"),
            "mpegts, live, with G.711": http(f"{base}.live.ts?g711=1", "video/mp2t"),
            "mpegts, live, silent": http(f"{base}.live.ts?audio=0", "video/mp2t"),
            "mpegts, ws": websocket(f"{base}.live.ts"),
            "mp4, live": http(f"{base}.live.mp4", "video/mp4"),
            "mp4, live, hev1": http(f"{base}.live.mp4?codec=hev1", "video/mp4"),
            "mp4, live, silent": http(f"{base}.live.mp4?audio=0", "video/mp4"),
            "mp4, ws": websocket(f"{base}.live.mp4"),
        }
        viewers = {form: asyncio.create_task(viewer) for form, viewer in live.items()}
        openers = [asyncio.create_task(hls(base + "/", name)) for name in ("hls.m3u8", "hls.fmp4.m3u8")]
        await until(lambda: sum(relay.streams()[0].viewers.values()) >= len(viewers) + len(players) + len(openers))
        await send(receiver.port, source)
        await asyncio.gather(*openers)
        cut = {"mpegts": await hls(base + "/", "hls.m3u8"), "mp4": await hls(base + "/", "hls.fmp4.m3u8")}
        relay.close_receiver(receiver.id)
        whole = {form: await asyncio.wait_for(viewer, 10) for form, viewer in viewers.items()}
        played = {form: await asyncio.wait_for(player, 10) for form, player in players.items()}
    formats = {form: "flv" if "flv" in form else form.partition(",")[0] for form in whole}
    played |= {form: await asyncio.to_thread(decode, data, formats[form]) for form, data in whole.items()}
    return played | {form: await asyncio.to_thread(decode, data, form) for form, data in cut.items()}


async def until(good: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not good():  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.01)


def sent_pictures(source: Clip) -> list[str]:
    spec = source.spec.video
    assert spec is not None
    stream = b"".join(unit.data for unit in source.units if unit.is_video)
    with av.open(io.BytesIO(stream), mode="r", format=NAMES[spec]) as container:
        return [digest(frame) for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("video", "audio", "b_frames"),
    [
        (VideoCodec.H264, None, 0),
        (VideoCodec.H264, AudioCodec.G711A, 0),
        (VideoCodec.H264, AudioCodec.G711U, 2),
        (VideoCodec.H264, AudioCodec.AAC, 2),
        (VideoCodec.H265, None, 2),
        (VideoCodec.H265, AudioCodec.AAC, 2),
        (VideoCodec.H265, AudioCodec.G711A, 0),
        (VideoCodec.H265, AudioCodec.G711U, 0),
    ],
)
async def test_every_form_plays_what_was_sent(
    tmp_path: Path, video: VideoCodec, audio: AudioCodec | None, b_frames: int
) -> None:
    source = await asyncio.to_thread(clip, replace(SPEC, video=video, audio=audio, b_frames=b_frames))
    sent = await asyncio.to_thread(sent_pictures, source)
    first = {
        is_video: min((unit.pts for unit in source.units if unit.is_video == is_video), default=0)
        for is_video in (True, False)
    }
    lead_s = (first[False] - first[True]) / CLOCK_HZ
    for form, played in (await played_in_all_forms(source, tmp_path)).items():
        assert played.codecs["video"] == NAMES[video], form
        assert played.size == (SPEC.width, SPEC.height), form
        # HLS holds whole segments only, and the last picture has no successor that would end it.
        assert len(played.pictures) >= (75 if form in ("mpegts", "mp4") else len(sent) - 1), form
        assert played.pictures == sent[: len(played.pictures)], form
        for kind, times in played.decoding_times.items():
            assert all(late > early for early, late in pairwise(times)), (form, kind)
        if "silent" in form or audio is None:
            assert set(played.codecs) == {"video"}, form
        elif "mpegts" in form and audio is not AudioCodec.AAC:
            assert "audio" not in played.codecs, "FFmpeg knows no stream type for G.711"
        else:
            assert played.codecs["audio"] == SOUNDS[audio], form
            lead = played.first_shown["audio"] - played.first_shown["video"]
            assert lead == pytest.approx(lead_s, abs=SKEW_MAX_S), form
