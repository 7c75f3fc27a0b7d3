"""Senders by GB/T 28181: sound and picture are as far apart at the target as they were, over every transport."""

import asyncio
import io
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

import av
import pytest

from gateway.clock import utc_now
from media._core import Unit, parse_rtp
from media.relay import Relay
from tests.media.house import HOST
from tests.media.test_send import SINKS, SSRC, Target, send_to
from tests.media.test_units import frames, parts

RATE = 8_000
NTP_EPOCH = 2_208_988_800
RUN = 320
"""Samples in a run of sound: as long as a picture."""


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=23600, rtp_port_max=23799, threads=1) as relay:
        yield relay


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    with Target() as target:
        yield target


Times = dict[int, int]
"""In 90 kHz, by the number of a picture or a run of sound."""


async def times(relay: Relay, receiver: int, numbers: dict[bytes, int], count: int) -> tuple[Times, Times]:
    """When pictures and runs of sound of a stream are, until so many pictures came."""
    video, audio = Times(), Times()
    async for unit in relay.subscribe(receiver):
        if isinstance(unit, Unit):
            if unit.kind == "video":
                video[numbers[parts(unit.data)[-1]]] = unit.pts_90k
            else:
                for at in range(0, len(unit.data), RUN):
                    audio.setdefault(unit.data[at], unit.pts_90k + at * 90_000 // RATE)
        if len(video) >= count:
            break
    return video, audio


def read_by_ffmpeg(data: bytes, numbers: dict[bytes, int]) -> tuple[Times, Times]:
    """The same of a program stream."""
    video, audio = Times(), Times()
    with av.open(io.BytesIO(data), format="mpeg") as container:
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                content = bytes(packet)
                if packet.stream.type == "video" and (number := numbers.get(parts(content)[-1])) is not None:
                    video[number] = packet.pts
                elif packet.stream.type == "audio":
                    audio.setdefault(content[0], packet.pts)
    return video, audio


@pytest.mark.parametrize("payload", ["ps", "es"])
async def test_sound_and_picture_stay_together(
    relay: Relay, group_clips: dict[str, Path], target: Target, payload: Literal["ps", "es"]
) -> None:
    pictures = [frame for frame in frames(group_clips["libx264"])[0] if frame.codec == "H264"]
    numbers = {parts(frame.data)[-1]: number for number, frame in enumerate(pictures)}
    feed = relay.open_feed("live", "cam", transport="derived")
    feed.announce_audio("PCMA")
    seen = {}
    for transport, taken in SINKS.items():
        sink = relay.open_receiver("live", transport, transport=taken, ssrc=SSRC + 1, peer=HOST, private=False)
        if payload == "es":
            relay.expect(sink.id, ssrc=SSRC + 1, payloads=[(99, "H264/90000"), (8, "PCMA/8000")])
        send_to(relay, feed.id, transport, payload, sink)
        seen[transport] = asyncio.create_task(times(relay, sink.id, numbers, 40))
    relay.open_sender(feed.id, transport="udp", host=HOST, port=target.port, ssrc=7)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    late = 5  # pictures by which sound comes behind its own
    for number, frame in enumerate(pictures):
        feed.push("H264", 90_000 + number * 3600, 90_000 + number * 3600, frame.data)
        if (sound := number - late) >= 0:
            feed.push("PCMA", 90_000 + sound * 3600, 90_000 + sound * 3600, bytes([sound]) * RUN)
        await asyncio.sleep(max(0.0, begun + number * 0.04 - loop.time()))
    found = {transport: await asyncio.wait_for(task, 15) for transport, task in seen.items()}
    if payload == "ps":
        program = b"".join(parse_rtp(packet).payload for packet in target.packets)
        found["ffmpeg"] = await asyncio.to_thread(read_by_ffmpeg, program, numbers)
    for transport, (video, audio) in found.items():
        both = sorted(video.keys() & audio.keys())
        assert len(both) >= 20, transport
        apart = [(audio[number] - video[number]) / 90_000 for number in both]
        assert max(abs(each) for each in apart) < 0.002, (transport, apart)


async def test_reports_tell_pictures_and_late_sound_by_one_clock(relay: Relay, group_clips: dict[str, Path]) -> None:
    """Each is sent by a sender of its own; what the wall clock showed at the stream's zero is the same for both. The
    time told is that of sending, at which the sound that is sent lags."""
    zeros: dict[int, list[float]] = {1: [], 2: []}
    ahead: dict[int, list[float]] = {1: [], 2: []}
    told: list[tuple[float, float]] = []  # when it was sent, when it came

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        newest = 0
        with suppress(asyncio.IncompleteReadError):
            while True:
                frame = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                if frame[1] == 200:  # a sender report
                    ssrc, seconds, fraction, timestamp = struct.unpack_from("!4I", frame, 4)
                    rate = 90_000 if ssrc == 1 else RATE
                    zeros[ssrc].append(seconds + fraction / 2**32 - timestamp / rate)
                    ahead[ssrc].append((timestamp - newest) / rate)
                    told.append((seconds - NTP_EPOCH + fraction / 2**32, utc_now().timestamp()))
                elif frame[1] & 0x7F < 72:
                    newest = int.from_bytes(frame[4:8], "big")
        writer.close()

    pictures = [frame for frame in frames(group_clips["libx264"])[0] if frame.codec == "H264"]
    feed = relay.open_feed("live", "cam", transport="derived")
    feed.announce_audio("PCMA")
    server = await asyncio.start_server(take, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    for ssrc in (1, 2):
        relay.open_sender(
            feed.id,
            transport="tcp_active",
            host=HOST,
            port=port,
            ssrc=ssrc,
            payload="es",
            video=ssrc == 1,
            audio=ssrc == 2,
            rtcp=True,
        )
    loop, started = asyncio.get_running_loop(), utc_now().timestamp()
    begun, late = loop.time(), 8
    for number, frame in enumerate(islice(cycle(pictures), 250)):
        feed.push("H264", 90_000 + number * 3600, 90_000 + number * 3600, frame.data)
        if (sound := number - late) >= 0:
            feed.push("PCMA", 90_000 + sound * 3600, 90_000 + sound * 3600, bytes([sound % 256]) * RUN)
        if all(len(found) > 1 for found in zeros.values()):  # the first ones left together
            break
        await asyncio.sleep(max(0.0, begun + number * 0.04 - loop.time()))
    server.close()
    assert abs(zeros[1][1] - zeros[2][1]) < 0.02
    assert all(started - 0.002 < sent <= came for sent, came in told), told
    assert ahead[2][1] > 0.2, "the sound is 320 ms late"
