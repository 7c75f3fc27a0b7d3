"""Sources of the matrix: each brings a film into the relay in real time, under a name, and ends its stream."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

from gateway.simulator.model import AccessUnit
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import RtpStream, StreamFaults, frame
from media.relay import Relay
from tests.media.house import HOST, House, ffmpeg
from tests.media.matrix.elementary import packets_of
from tests.media.matrix.material import AUDIOS, CODECS, FPS, IN_PROGRAM, VIDEOS, Film

LEAD_S: Final = 0.3
"""Players are there before the second picture."""

PUBLISH: Final = """
import sys, time
import av
begin = None
with av.open(sys.argv[1]) as given, av.open(sys.argv[2], "w", format="flv") as out:
    streams = {stream.index: out.add_stream_from_template(stream) for stream in given.streams}
    for packet in given.demux():
        if packet.dts is not None:
            at = float(packet.dts * packet.time_base)
            begin = time.monotonic() - at if begin is None else begin
            time.sleep(max(0, begin + at - time.monotonic()))
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
"""
"""Publishes a file in real time as a recent FFmpeg does it: H.265 and Opus in the enhanced form."""


@dataclass(frozen=True)
class Scene:
    """The relay that is looked at, and another one to pull from."""

    house: House
    far: House


@asynccontextmanager
async def far_house() -> AsyncIterator[House]:
    """Another relay with its ports open."""
    async with Relay(play_key=b"far", rtp_host=HOST, rtp_port_min=24000, rtp_port_max=24399, threads=1) as relay:
        rtmp, rtsp = relay.listen_rtmp(HOST, 0), relay.listen_rtsp(HOST, 0)
        far = House(relay, rtmp, rtsp, relay.listen_http(HOST, 0, "/nonexistent"))
        relay.listen(far.handle)
        yield far


async def paced(units: tuple[AccessUnit, ...], send: Callable[[AccessUnit], Awaitable[None]]) -> None:
    """Hands the units on at their times."""
    loop = asyncio.get_running_loop()
    begin = loop.time() - units[0].dts / 90_000
    for unit in units:
        await asyncio.sleep(begin + unit.dts / 90_000 - loop.time())
        await send(unit)


async def hurried(units: tuple[AccessUnit, ...], send: Callable[[AccessUnit], Awaitable[None]]) -> None:
    """Hands the units on faster than real time."""
    for unit in units:
        await send(unit)
        await asyncio.sleep(0.002)


Pace = Callable[[tuple[AccessUnit, ...], Callable[[AccessUnit], Awaitable[None]]], Awaitable[None]]
Packets = Callable[[AccessUnit], Iterable[bytes]]


def _program(film: Film) -> Packets:
    stream = RtpStream(PsWriter(VIDEOS[film.video], IN_PROGRAM[film.audio]), 115_000_002, StreamFaults())
    return stream.packetise


async def _by_udp(house: House, film: Film, name: str, packets: Packets, payloads: list[tuple[int, str]]) -> None:
    receiver = house.relay.open_receiver("live", name, transport="udp", peer=HOST, private=False)
    house.relay.expect(receiver.id, payloads=payloads)
    await asyncio.sleep(LEAD_S)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:

        async def send(unit: AccessUnit) -> None:
            for packet in packets(unit):
                device.sendto(packet, (HOST, receiver.port))

        await paced(film.program() if film.audio in IN_PROGRAM else film.units(), send)
    await asyncio.sleep(0.5)  # the last picture is handed on once nothing more comes
    house.relay.close_receiver(receiver.id)


async def ps_udp(scene: Scene, film: Film, name: str) -> None:
    await _by_udp(scene.house, film, name, _program(film), [(96, "PS")])


async def es_udp(scene: Scene, film: Film, name: str) -> None:
    packets, payloads = packets_of(film)
    await _by_udp(scene.house, film, name, packets, payloads)


async def _on_connection(writer: asyncio.StreamWriter, film: Film) -> None:
    packets = _program(film)

    async def send(unit: AccessUnit) -> None:
        writer.writelines(frame(packet) for packet in packets(unit))
        await writer.drain()

    await paced(film.program(), send)
    await asyncio.sleep(0.5)


async def ps_tcp(scene: Scene, film: Film, name: str) -> None:
    """The device connects."""
    house = scene.house
    receiver = house.relay.open_receiver("live", name, transport="tcp_passive", peer=HOST, private=False)
    await asyncio.sleep(LEAD_S)
    _, writer = await asyncio.open_connection(HOST, receiver.port)
    await _on_connection(writer, film)
    house.relay.close_receiver(receiver.id)
    writer.close()


async def ps_tcp_active(scene: Scene, film: Film, name: str) -> None:
    """We connect to the device."""
    house, done = scene.house, asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(LEAD_S)
        await _on_connection(writer, film)
        done.set()
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    receiver = house.relay.open_receiver("live", name, transport="tcp_active", peer=HOST, private=False)
    house.relay.connect(receiver.id, HOST, server.sockets[0].getsockname()[1])
    await done.wait()
    house.relay.close_receiver(receiver.id)
    server.close()


async def ts_rtp(scene: Scene, film: Film, name: str) -> None:
    house = scene.house
    receiver = house.relay.open_receiver("live", name, transport="udp", peer=HOST, private=False)
    await asyncio.sleep(LEAD_S)
    # FFmpeg's last datagram is not sent unless it is full: with one transport packet in each, all are.
    url = f"rtp://{HOST}:{receiver.port}?pkt_size=200"
    await _finish(await ffmpeg("-re", "-i", str(film.file), "-c", "copy", "-f", "rtp_mpegts", url))
    await asyncio.sleep(0.5)
    house.relay.close_receiver(receiver.id)


async def rtmp(scene: Scene, film: Film, name: str) -> None:
    await _finish(
        await asyncio.create_subprocess_exec(sys.executable, "-c", PUBLISH, str(film.file), scene.house.url(name))
    )


def rtsp(transport: Literal["tcp", "udp"]) -> "Bring":
    async def bring(scene: Scene, film: Film, name: str) -> None:
        given = ("-re", "-i", str(film.file), "-c", "copy", "-f", "rtsp", "-rtsp_transport", transport)
        await _finish(await ffmpeg(*given, scene.house.rtsp_url(name)))

    return bring


def pulled(address: Callable[[House, str], str], transport: Literal["tcp", "udp"] = "tcp") -> "Bring":
    """What another relay gives out is fetched from there."""

    async def bring(scene: Scene, film: Film, name: str) -> None:
        house, far = scene.house, scene.far
        # A process of its own, which keeps the pace whatever this one's players take.
        feeding = asyncio.create_task(_feed(far, film, name, paced))
        async with asyncio.timeout(20):
            while (stream := far.relay.stream("live", name)) is None or not stream.video_codec:
                assert not feeding.done(), await feeding
                await asyncio.sleep(0.01)
        url = address(far, name)
        pull = house.relay.open_pull("live", name, url, private=False, allow_private=True, transport=transport)
        await feeding
        await house.told(pull.id, "disconnected", "connect_failed")
        house.relay.close_receiver(pull.id)

    return bring


async def _feed(house: House, film: Film, name: str, pace: Pace) -> None:
    """The film becomes a stream of `house` without any protocol."""
    feed = house.relay.open_feed("live", name, transport="derived", private=False)
    if film.audio != "none":
        feed.announce_audio(CODECS[film.audio], config=film.sound_config)

    async def push(unit: AccessUnit) -> None:
        codec = CODECS[film.video if unit.is_video else film.audio]
        assert feed.push(codec, unit.pts, unit.dts, unit.data)

    units = film.units()
    # Sound is waited for a second: players that open must not hold the loop up longer between it and the pictures.
    heard = next((at for at, unit in enumerate(units) if not unit.is_video), 0) + 1
    for unit in units[:heard]:
        await push(unit)
    await pace(units[heard:], push)
    feed.close("the film is over")


async def playback(scene: Scene, film: Film, name: str) -> None:
    """A recording that was made before is played."""
    folder = film.file.parent / f"{film.file.stem}-recorded"
    folder.mkdir(exist_ok=True)
    feeding = asyncio.create_task(_feed(scene.far, film, name, hurried))
    async with asyncio.timeout(10):
        while scene.far.relay.stream("live", name) is None:  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.005)
    receiver = scene.far.stream(name).receiver
    scene.far.relay.record(receiver, directory=str(folder), slice_ms=86_400_000, utc_offset_ms=0, tag="")
    await feeding
    told = await scene.far.told(receiver, "record_ended")
    made = [event.detail for event in told if event.kind == "slice"]
    files = [(slice_["path"], int(slice_["start_ms"])) for slice_ in made]
    relay = scene.house.relay
    playing = relay.open_playback("live", name, files, paused=True, private=False)
    await asyncio.sleep(LEAD_S)
    relay.playback_pause(playing.id, False)
    await scene.house.told(playing.id, "ended")


async def _finish(process: asyncio.subprocess.Process) -> None:
    _, told = await process.communicate()
    assert process.returncode == 0, told.decode() if told else process.returncode


Bring = Callable[[Scene, Film, str], Awaitable[None]]
STANDARD: Final = frozenset({"none", "aac", "opus"})
"""Sounds that have a place in transport streams which everybody agrees on."""


@dataclass(frozen=True)
class Input:
    """A way in: what it can carry, and what it does with it."""

    bring: Bring
    audios: frozenset[str] = frozenset(AUDIOS)
    b_frames: int = 2
    late: int = 0
    """Pictures that may be missing at the beginning before any player misses some."""
    unfinished: int = 0
    """Pictures at the end whose end nothing tells: each is whole once the next begins."""
    why: str = ""
    """The reason of what is left out, for docs/media.md."""


_NO_OPUS: Final = "no stream type for Opus is agreed on"
_NO_G711: Final = "G.711 in TS has numbers of surveillance alone"
_NO_ORDER: Final = "RTP states one time: pictures out of order are not sent"
INPUTS: Final[Mapping[str, Input]] = {
    "PS, UDP": Input(ps_udp, audios=frozenset(IN_PROGRAM), why=_NO_OPUS),
    "PS, TCP": Input(ps_tcp, audios=frozenset(IN_PROGRAM), why=_NO_OPUS),
    "PS, TCP, we connect": Input(ps_tcp_active, audios=frozenset(IN_PROGRAM), why=_NO_OPUS),
    "TS over RTP": Input(
        ts_rtp,
        audios=STANDARD,
        b_frames=0,
        unfinished=1,
        why=f"{_NO_G711}; nothing tells the end of the last picture",
    ),
    "RTP of NAL units": Input(es_udp, b_frames=0, why=_NO_ORDER),
    "RTMP": Input(rtmp),
    "RTSP, TCP": Input(rtsp("tcp"), b_frames=0, why=_NO_ORDER),
    "RTSP, UDP": Input(rtsp("udp"), b_frames=0, why=_NO_ORDER),
    "pull of HTTP-FLV": Input(pulled(lambda far, name: far.flv(name))),
    "pull of HTTP-TS": Input(pulled(lambda far, name: f"http://{HOST}:{far.http}/live/{name}.live.ts?g711=1")),
    "pull of HLS, TS": Input(
        pulled(lambda far, name: f"http://{HOST}:{far.http}/live/{name}/hls.m3u8"), audios=STANDARD, why=_NO_G711
    ),
    "pull of HLS, fMP4": Input(pulled(lambda far, name: f"http://{HOST}:{far.http}/live/{name}/hls.fmp4.m3u8")),
    "pull of RTMP": Input(pulled(lambda far, name: far.url(name))),
    "pull of RTSP, TCP": Input(pulled(lambda far, name: far.rtsp_url(name)), b_frames=0, why=_NO_ORDER),
    "pull of RTSP, UDP": Input(
        pulled(lambda far, name: far.rtsp_url(name), "udp"),
        b_frames=0,
        late=FPS,
        why=f"{_NO_ORDER}; datagrams begin with the next key frame",
    ),
    "playback": Input(playback),
}
