"""Players of the matrix: each reads one form of output to its end and says what it got."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory
from typing import Final, Literal

import av
import httpx
from websockets.asyncio.client import connect

from tests.media.house import HOST, House, digest
from tests.media.matrix.material import FPS

POOL: Final = ThreadPoolExecutor(max_workers=128)
"""Players wait most of their time; the loop's own threads are too few for them."""


@dataclass
class Got:
    """What a demuxer and decoder made of an output."""

    codecs: dict[str, str] = field(default_factory=dict)
    pictures: list[str] = field(default_factory=list)
    sound: bytes = b""
    begun: float = 0.0
    """When its first bytes had come, by the loop's clock."""
    late: int = 0
    """Pictures before the key frame that was the newest then."""
    error: str = ""
    """Why the player stopped, if not at the end."""


def read(source: str | bytes, form: str | None, options: dict[str, str] | None, clock: Callable[[], float]) -> Got:
    """Plays a file or an address; whatever ends it, what it got until then counts."""
    got, sound = Got(), []
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with av.open(file, format=form, timeout=20, options=options or {}) as container:
            got.begun = clock()
            for stream in container.streams.video:
                stream.codec_context.thread_count = 1  # more cost as much again for such small pictures
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
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(POOL, read, source, form, options, loop.time)


def _address(pattern: str, form: str | None = None, **options: str) -> "Player":
    async def play(house: House, name: str) -> Got:
        return await _in_thread(pattern.format(house=house, host=HOST, name=name), form, options)

    return play


def _websocket(ending: str, form: str) -> "Player":
    async def play(house: House, name: str) -> Got:
        async with connect(f"ws://{HOST}:{house.http}/live/{name}.live.{ending}", max_size=None) as socket:
            begun, data = 0.0, []
            async for message in socket:
                begun = begun or asyncio.get_running_loop().time()
                data += [message] if isinstance(message, bytes) else []
        return replace(await _in_thread(b"".join(data), form), begun=begun)

    return play


async def _hls(house: House, name: str, playlist: str, form: str) -> Got:
    """Segments as they come, each once, behind one another."""
    base, seen, data, begun = f"http://{HOST}:{house.http}/live/{name}/", set[str](), b"", 0.0
    async with httpx.AsyncClient(base_url=base, timeout=20) as client:
        while (answer := await client.get(playlist)).status_code == 200:
            begun = begun or asyncio.get_running_loop().time()
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
    return replace(await _in_thread(data, form), begun=begun)


Transport = Literal["udp", "tcp_active", "tcp_passive"]
TAKEN: Final[dict[Transport, Transport]] = {"udp": "udp", "tcp_active": "tcp_passive", "tcp_passive": "tcp_active"}
"""How a target takes what is sent so."""


def _sent_on(payload: Literal["ps", "es"], transport: Transport) -> "Player":
    """Sent as RTP to a second stream, as another platform would take it, and played from there."""

    async def play(house: House, name: str) -> Got:
        relay, second = house.relay, f"{name}-{payload}-{transport}"
        receiver = relay.open_receiver("live", second, transport=TAKEN[transport], peer=HOST, private=False)
        if payload == "es":
            video, audio = name.split("-")
            coding = {"h264": "H264", "hevc": "H265"}[video]
            sound = {"aac": "MPEG4-GENERIC", "opus": "OPUS"}.get(audio)
            relay.expect(receiver.id, payloads=[(96, coding), *([(97, sound)] if sound else [])])
        sender = relay.open_sender(
            house.stream(name).receiver, transport=transport, host=HOST, port=receiver.port, ssrc=7, payload=payload
        )
        if transport == "tcp_passive":
            relay.connect(receiver.id, HOST, sender.port)
        playing = asyncio.create_task(_in_thread(house.flv(second), "flv"))
        while relay.stream("live", name) is not None:  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.7)  # the last pictures are handed on once nothing more comes
        relay.close_receiver(receiver.id)
        return await playing

    return play


async def _pushed(house: House, name: str) -> Got:
    """Pushed by RTMP to a second stream, as to another server, and played from there."""
    second = f"{name}-pushed"
    push = house.relay.open_push(house.stream(name).receiver, house.url(second), allow_private=True)
    async with asyncio.timeout(20):
        while house.relay.stream("live", second) is None:
            if house.relay.stream("live", name) is None:
                return Got(error=f"push {push} never came")
            await asyncio.sleep(0.01)
    return await _in_thread(house.flv(second), "flv")


async def _recorded(house: House, name: str) -> Got:
    """Recorded to the stream's end, and read from the disk."""
    receiver = house.stream(name).receiver
    with TemporaryDirectory() as folder:
        house.relay.record(receiver, directory=folder, slice_ms=86_400_000, utc_offset_ms=0, tag="")
        begun = asyncio.get_running_loop().time()
        told = await house.told(receiver, "record_ended")
        files = [event.detail["path"] for event in told if event.kind == "slice"]
        whole = Got(begun=begun, error="" if files else "nothing was recorded")
        for part in [await _in_thread(file) for file in files]:  # a source that breaks off ends a file
            whole.codecs |= part.codecs
            whole.pictures += part.pictures
            whole.sound += part.sound
            whole.error = whole.error or part.error
        return whole


Player = Callable[[House, str], Awaitable[Got]]


@dataclass(frozen=True)
class Output:
    """A way out: who plays it, and what it leaves out."""

    play: Player
    without: frozenset[str] = frozenset()
    """Sounds that it does not carry: its players get the pictures."""
    late: int = 0
    """Pictures that may be missing at the beginning beyond those that a player misses who comes late."""
    unfinished: int = 0
    """Pictures that its players may lose at the end."""
    why: str = ""
    """The reason of what is left out, for docs/media.md."""


_G711: Final = frozenset({"pcm_alaw", "pcm_mulaw"})
_NO_G711: Final = "players of TS wait for what they do not know"
_NO_OPUS: Final = "no stream type for Opus is agreed on"
_DATAGRAMS: Final = "datagrams begin with the next key frame"
OUTPUTS: Final[dict[str, Output]] = {
    "http-flv": Output(_address("http://{host}:{house.http}/live/{name}.live.flv", "flv")),
    "ws-flv": Output(_websocket("flv", "flv")),
    "http-ts": Output(
        _address("http://{host}:{house.http}/live/{name}.live.ts", "mpegts"), without=_G711, why=_NO_G711
    ),
    "ws-ts": Output(_websocket("ts", "mpegts"), without=_G711, why=_NO_G711),
    "http-fmp4": Output(_address("http://{host}:{house.http}/live/{name}.live.mp4", "mp4")),
    "ws-fmp4": Output(_websocket("mp4", "mp4")),
    "rtmp": Output(_address("rtmp://{host}:{house.rtmp}/live/{name}", "flv")),
    "push by RTMP": Output(_pushed),
    "rtsp, tcp": Output(_address("rtsp://{host}:{house.rtsp}/live/{name}", rtsp_transport="tcp")),
    "rtsp, udp": Output(
        _address("rtsp://{host}:{house.rtsp}/live/{name}", rtsp_transport="udp"),
        late=FPS,
        why=_DATAGRAMS,
    ),
    "PS, UDP": Output(_sent_on("ps", "udp"), without=frozenset({"opus"}), late=FPS, why=f"{_NO_OPUS}; {_DATAGRAMS}"),
    "PS, TCP": Output(_sent_on("ps", "tcp_active"), without=frozenset({"opus"}), why=_NO_OPUS),
    "PS, TCP, the target connects": Output(_sent_on("ps", "tcp_passive"), without=frozenset({"opus"}), why=_NO_OPUS),
    "RTP of NAL units": Output(_sent_on("es", "udp"), late=FPS, why=_DATAGRAMS),
    "RTP of NAL units, TCP": Output(_sent_on("es", "tcp_active")),
    "hls, ts": Output(lambda house, name: _hls(house, name, "hls.m3u8", "mpegts"), without=_G711, why=_NO_G711),
    "hls, fmp4": Output(lambda house, name: _hls(house, name, "hls.fmp4.m3u8", "mp4")),
    "hls, low latency": Output(lambda house, name: _hls(house, name, "hls.ll.m3u8", "mp4")),
    "recording": Output(_recorded),
}
