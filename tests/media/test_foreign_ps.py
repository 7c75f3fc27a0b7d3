"""Program streams that foreign programs muxed, played by the relay picture by picture."""

import asyncio
import hashlib
import socket
import struct
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import av
import pytest

from media.relay import Relay
from tests.e2e.playing import flv, picture_sums, run, until

pytestmark = pytest.mark.peer

HOST = "127.0.0.1"
SSRC = 115_000_009
PACK = b"\x00\x00\x01\xba"
FPS = 10
PICTURES = 60
PAYLOAD_MAX = 1400

FFMPEG = (
    f"ffmpeg -v error -f lavfi -i testsrc2=size=320x180:rate={FPS} -f lavfi -i sine=440:sample_rate=8000"
    f" -frames:v {PICTURES} -shortest -pix_fmt yuv420p -c:v {{video}} {{options}} -g {FPS}"
    " -c:a mp2 -ar 32000 -f vob -y"
)
GSTREAMER = (
    f"gst-launch-1.0 -q videotestsrc num-buffers={PICTURES} pattern=smpte ! "
    f"video/x-raw,format=I420,width=320,height=180,framerate={FPS}/1 ! "
    f"x264enc key-int-max={FPS} tune=zerolatency byte-stream=true ! video/x-h264,stream-format=byte-stream ! "
    "mpegpsmux ! filesink location="
)
MUXERS = {
    "ffmpeg, H.264": FFMPEG.format(video="libx264", options="-preset veryfast -bf 0").split(),
    "ffmpeg, H.264 with B pictures": FFMPEG.format(video="libx264", options="-preset veryfast -bf 2").split(),
    "ffmpeg, H.265": FFMPEG.format(
        video="libx265", options="-preset ultrafast -x265-params log-level=none:repeat-headers=1:bframes=0"
    ).split(),
    "gstreamer, H.264": GSTREAMER.split(),
}


def packs(data: bytes) -> list[tuple[int, bytes]]:
    """Each pack with its SCR base in ticks of 90 kHz (ISO/IEC 13818-1 §2.5.3.3)."""
    starts = []
    at = data.find(PACK)
    while at >= 0:
        starts.append(at)
        at = data.find(PACK, at + 4)
    found = []
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        scr = int.from_bytes(data[start + 4 : start + 10], "big")
        base = (scr >> 43 & 7) << 30 | (scr >> 27 & 0x7FFF) << 15 | scr >> 11 & 0x7FFF
        found.append((base, data[start:end]))
    return found


async def send(port: int, data: bytes) -> None:
    """Each pack with its own time as RTP time stamp."""
    number = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        for base, pack in packs(data):
            for start in range(0, len(pack), PAYLOAD_MAX):
                last = start + PAYLOAD_MAX >= len(pack)
                head = struct.pack(">BBHII", 0x80, 96 | last << 7, number & 0xFFFF, base & 0xFFFFFFFF, SSRC)
                device.sendto(head + pack[start : start + PAYLOAD_MAX], (HOST, port))
                number += 1
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("muxer", MUXERS)
async def test_a_foreign_program_stream_plays(tmp_path: Path, muxer: str) -> None:
    command, file, played = MUXERS[muxer], tmp_path / "made.ps", tmp_path / "played.flv"
    if command[-1].endswith("location="):
        await run(*command[:-1], f"{command[-1]}{file}")
    else:
        await run(*command, file)
    made = await picture_sums(file)
    assert len(made) == PICTURES
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=23000, rtp_port_max=23999, threads=1) as relay:
        http = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
        receiver = relay.open_receiver("test", "foreign", transport="udp", ssrc=SSRC, peer=HOST, private=False)
        watching = asyncio.create_task(flv(f"http://{HOST}:{http}/test/foreign.live.flv", 30))
        await until(lambda: sum(relay.streams()[0].viewers.values()) > 0)
        await send(receiver.port, file.read_bytes())
        await asyncio.sleep(1.0)  # the relay waits for what may still come
        stream = relay.streams()[0]
        assert stream.lost == 0
        relay.close_receiver(receiver.id)
        played.write_bytes(await watching)
    got, times = await shown(played)
    assert PICTURES - 2 <= len(got) <= PICTURES
    assert any(got == without(made, left_out) for left_out in last(PICTURES - len(got)))
    assert [round((time - times[0]) * FPS, 1) for time in times[: PICTURES - 4]] == list(range(PICTURES - 4))


def last(count: int) -> Iterator[tuple[int, ...]]:
    """Numbers of so many pictures that may be missing: nothing tells that the last one decoded is complete, which
    is not the last one shown where there are B pictures."""
    return combinations(range(PICTURES - 4, PICTURES), count)


def without(made: list[str], left_out: tuple[int, ...]) -> list[str]:
    return [picture for number, picture in enumerate(made) if number not in left_out]


async def shown(file: Path) -> tuple[list[str], list[float]]:
    """Pictures and when each is shown, by PyAV's FFmpeg, which reads H.265 in FLV."""

    def decode() -> list[tuple[str, float]]:
        with av.open(str(file)) as container:
            return [(digest(picture), picture.time or 0.0) for picture in container.decode(video=0)]

    pictures = await asyncio.to_thread(decode)
    return [picture for picture, _ in pictures], [time for _, time in pictures]


def digest(picture: av.VideoFrame) -> str:
    return hashlib.md5(picture.to_ndarray().tobytes(), usedforsecurity=False).hexdigest()
