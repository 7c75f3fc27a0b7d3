"""Players of the matrix: each reads one form of output to its end and says what it got."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Literal

import av
import httpx
from websockets.asyncio.client import connect

from tests.media.house import HOST, House, digest

POOL: Final = ThreadPoolExecutor(max_workers=128)
"""Players wait most of their time; the loop's own threads are too few for them."""


@dataclass
class Got:
    """What a demuxer and decoder made of an output."""

    codecs: dict[str, str] = field(default_factory=dict)
    pictures: list[str] = field(default_factory=list)
    sound: bytes = b""
    error: str = ""
    """Why the player stopped, if not at the end."""


def read(source: str | bytes, form: str | None = None, options: dict[str, str] | None = None) -> Got:
    """Plays a file or an address; whatever ends it, what it got until then counts."""
    got, sound = Got(), []
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with av.open(file, format=form, timeout=20, options=options or {}) as container:
            try:
                for packet in container.demux():
                    if isinstance(packet.stream, av.VideoStream):
                        got.pictures += [digest(frame) for frame in packet.stream.decode(packet)]
                    elif packet.size:
                        sound.append(bare(bytes(packet), packet.stream.codec_context.name))
            except av.FFmpegError as error:
                got.error = str(error)
                for video in container.streams.video:
                    got.pictures += [digest(frame) for frame in video.decode(None)]
            for stream in (*container.streams.video, *container.streams.audio):
                got.codecs[stream.type] = stream.codec_context.name
    except av.FFmpegError as error:
        got.error = f"not opened: {error}"
    got.sound = b"".join(sound)
    return got


def bare(data: bytes, coding: str) -> bytes:
    """A frame of AAC without its ADTS header."""
    has_header = coding == "aac" and len(data) > 7 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0
    return data[7 if data[1] & 1 else 9 :] if has_header else data


async def _in_thread(source: str | bytes, form: str | None = None, options: dict[str, str] | None = None) -> Got:
    return await asyncio.get_running_loop().run_in_executor(POOL, read, source, form, options)


def _address(pattern: str, form: str | None = None, **options: str) -> "Player":
    async def play(house: House, name: str) -> Got:
        return await _in_thread(pattern.format(house=house, host=HOST, name=name), form, options)

    return play


def _websocket(ending: str, form: str) -> "Player":
    async def play(house: House, name: str) -> Got:
        async with connect(f"ws://{HOST}:{house.http}/live/{name}.live.{ending}", max_size=None) as socket:
            data = b"".join([message async for message in socket if isinstance(message, bytes)])
        return await _in_thread(data, form)

    return play


async def _hls(house: House, name: str, playlist: str, form: str) -> Got:
    """Segments as they come, each once, behind one another."""
    base, seen, data = f"http://{HOST}:{house.http}/live/{name}/", set[str](), b""
    async with httpx.AsyncClient(base_url=base, timeout=20) as client:
        while (answer := await client.get(playlist)).status_code == 200:
            lines = answer.text.splitlines()
            named = [line.split('URI="')[1].split('"')[0] for line in lines if line.startswith("#EXT-X-MAP")]
            for file in [*named, *(line for line in lines if line and line[0] != "#")]:
                if file not in seen:
                    seen.add(file)
                    found = await client.get(file)
                    data += found.content if found.status_code == 200 else b""
            if "#EXT-X-ENDLIST" in lines:
                break
            await asyncio.sleep(0.2)
    return await _in_thread(data, form)


def _sent_on(payload: Literal["ps", "es"], transport: Literal["udp", "tcp_active"]) -> "Player":
    """Sent as RTP to a second stream, as another platform would take it, and played from there."""

    async def play(house: House, name: str) -> Got:
        second = f"{name}-{payload}-{transport}"
        taken = "tcp_passive" if transport == "tcp_active" else "udp"
        receiver = house.relay.open_receiver("live", second, transport=taken, peer=HOST, private=False)
        if payload == "es":
            coding = {"h264": "H264", "hevc": "H265"}[name.split("-", maxsplit=1)[0]]
            house.relay.expect(receiver.id, payloads=[(96, coding), (97, "MPEG4-GENERIC")])
        house.relay.open_sender(
            house.stream(name).receiver, transport=transport, host=HOST, port=receiver.port, ssrc=7, payload=payload
        )
        playing = asyncio.create_task(_in_thread(house.flv(second), "flv"))
        while house.relay.stream("live", name) is not None:  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.7)  # the last pictures are handed on once nothing more comes
        house.relay.close_receiver(receiver.id)
        return await playing

    return play


Player = Callable[[House, str], Awaitable[Got]]
PLAYERS: Final[dict[str, Player]] = {
    "http-flv": _address("http://{host}:{house.http}/live/{name}.live.flv", "flv"),
    "ws-flv": _websocket("flv", "flv"),
    "http-ts": _address("http://{host}:{house.http}/live/{name}.live.ts", "mpegts"),
    "ws-ts": _websocket("ts", "mpegts"),
    "http-fmp4": _address("http://{host}:{house.http}/live/{name}.live.mp4", "mp4"),
    "ws-fmp4": _websocket("mp4", "mp4"),
    "rtmp": _address("rtmp://{host}:{house.rtmp}/live/{name}", "flv"),
    "rtsp, tcp": _address("rtsp://{host}:{house.rtsp}/live/{name}", rtsp_transport="tcp"),
    "PS, UDP": _sent_on("ps", "udp"),
    "PS, TCP": _sent_on("ps", "tcp_active"),
    "RTP of NAL units": _sent_on("es", "udp"),
    "hls, ts": lambda house, name: _hls(house, name, "hls.m3u8", "mpegts"),
    "hls, fmp4": lambda house, name: _hls(house, name, "hls.fmp4.m3u8", "mp4"),
    "hls, low latency": lambda house, name: _hls(house, name, "hls.ll.m3u8", "mp4"),
}
LATE: Final = {"PS, UDP": 50, "RTP of NAL units": 50}
"""Pictures that may be missing at the beginning, if more than a GOP: datagrams begin with the next key frame."""
NO_G711: Final = frozenset({"hls, ts", "http-ts", "ws-ts"})
"""Outputs whose players expect no G.711, and get none (docs/media.md)."""
