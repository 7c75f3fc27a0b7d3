"""Sources of the matrix: each brings a film into the relay in real time, under a name, and ends its stream."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.simulator.model import AccessUnit
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import RtpStream, StreamFaults, frame
from media.relay import Relay
from tests.media.house import HOST, House, ffmpeg
from tests.media.matrix.material import AUDIOS, VIDEOS, Film

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
"""Publishes a file in real time as a recent FFmpeg does it: H.265 in the enhanced form."""


async def paced(units: tuple[AccessUnit, ...], send: Callable[[AccessUnit], Awaitable[None]]) -> None:
    """Hands the units on at their times."""
    loop = asyncio.get_running_loop()
    begin = loop.time() - units[0].dts / 90_000
    for unit in units:
        await asyncio.sleep(begin + unit.dts / 90_000 - loop.time())
        await send(unit)
    await asyncio.sleep(0.5)


def _packets(film: Film) -> RtpStream:
    return RtpStream(PsWriter(VIDEOS[film.video], AUDIOS[film.audio]), 115_000_002, StreamFaults())


async def ps_udp(house: House, film: Film, name: str) -> None:
    receiver = house.relay.open_receiver("live", name, transport="udp", peer=HOST, private=False)
    await asyncio.sleep(LEAD_S)
    stream = _packets(film)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:

        async def send(unit: AccessUnit) -> None:
            for packet in stream.packetise(unit):
                device.sendto(packet, (HOST, receiver.port))

        await paced(film.units(), send)
    house.relay.close_receiver(receiver.id)


async def ps_tcp(house: House, film: Film, name: str) -> None:
    receiver = house.relay.open_receiver("live", name, transport="tcp_passive", peer=HOST, private=False)
    await asyncio.sleep(LEAD_S)
    stream = _packets(film)
    _, writer = await asyncio.open_connection(HOST, receiver.port)

    async def send(unit: AccessUnit) -> None:
        writer.writelines(frame(packet) for packet in stream.packetise(unit))
        await writer.drain()

    await paced(film.units(), send)
    house.relay.close_receiver(receiver.id)
    writer.close()


async def ts_udp(house: House, film: Film, name: str) -> None:
    receiver = house.relay.open_receiver("live", name, transport="udp", peer=HOST, private=False)
    await asyncio.sleep(LEAD_S)
    url = f"rtp://{HOST}:{receiver.port}?pkt_size=1328"
    await _finish(await ffmpeg("-re", "-i", str(film.file), "-c", "copy", "-f", "rtp_mpegts", url))
    await asyncio.sleep(0.5)
    house.relay.close_receiver(receiver.id)


async def es_udp(house: House, film: Film, name: str) -> None:
    receiver = house.relay.open_receiver("live", name, transport="udp", peer=HOST, private=False)
    house.relay.expect(receiver.id, payloads=[(96, {"h264": "H264", "hevc": "H265"}[film.video])])
    await asyncio.sleep(LEAD_S)
    url = f"rtp://{HOST}:{receiver.port}?pkt_size=1400"
    process = await asyncio.create_subprocess_exec(
        "ffmpeg", "-v", "error", "-re", "-i", str(film.file), "-c", "copy", "-an",
        "-bsf:v", f"{film.video}_mp4toannexb", "-payload_type", "96", "-f", "rtp", url,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await _finish(process)
    await asyncio.sleep(0.5)
    house.relay.close_receiver(receiver.id)


async def rtmp(house: House, film: Film, name: str) -> None:
    await _publish(house.url(name), film)


async def rtsp(house: House, film: Film, name: str) -> None:
    sender = await ffmpeg(
        "-re", "-i", str(film.file), "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", house.rtsp_url(name)
    )
    await _finish(sender)


async def rtsp_udp(house: House, film: Film, name: str) -> None:
    sender = await ffmpeg(
        "-re", "-i", str(film.file), "-c", "copy", "-f", "rtsp", "-rtsp_transport", "udp", house.rtsp_url(name)
    )
    await _finish(sender)


async def http_flv(house: House, film: Film, name: str) -> None:
    """Another relay's output is fetched, after it was published there."""
    async with Relay(play_key=b"far", rtp_host=HOST, rtp_port_min=23200, rtp_port_max=23299, threads=1) as relay:
        far = House(relay, relay.listen_rtmp(HOST, 0), 0, relay.listen_http(HOST, 0, "/nonexistent"))
        relay.listen(far.handle)
        publishing = asyncio.create_task(_publish(far.url(name), film))
        await far.event("tracks")
        pull = house.relay.open_pull("live", name, far.flv(name), private=False, allow_private=True)
        await publishing
        await asyncio.sleep(0.5)
        house.relay.close_receiver(pull.id)


async def _publish(url: str, film: Film) -> None:
    await _finish(await asyncio.create_subprocess_exec(sys.executable, "-c", PUBLISH, str(film.file), url))


async def _finish(process: asyncio.subprocess.Process) -> None:
    _, told = await process.communicate()
    assert process.returncode == 0, told.decode() if told else process.returncode


@dataclass(frozen=True)
class Input:
    """A way in: what it can carry, and what it does with it."""

    bring: Callable[[House, Film, str], Awaitable[None]]
    audios: frozenset[str] = frozenset(AUDIOS)
    b_frames: int = 2
    unfinished: int = 0
    """Pictures at the end whose end nothing tells: each is whole once the next begins."""


INPUTS: Final[Mapping[str, Input]] = {
    "PS, UDP": Input(ps_udp),
    "PS, TCP": Input(ps_tcp),
    "TS over RTP": Input(ts_udp, audios=frozenset({"none", "aac"}), b_frames=0, unfinished=1),
    "RTP of NAL units": Input(es_udp, audios=frozenset({"none"}), b_frames=0),
    "RTMP": Input(rtmp),
    "RTSP, TCP": Input(rtsp, b_frames=0),
    "RTSP, UDP": Input(rtsp_udp, b_frames=0),
    "HTTP-FLV": Input(http_flv),
}
