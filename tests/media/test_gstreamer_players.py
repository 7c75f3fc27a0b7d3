"""GStreamer, whose demuxers and decoders are not FFmpeg's, shows the pictures that went in."""

import asyncio
from pathlib import Path

import pytest

from tests.media.house import HOST, House
from tests.media.matrix.inputs import Scene, ps_tcp
from tests.media.matrix.material import FPS, film

pytestmark = pytest.mark.peer

READERS = {
    "rtsp, tcp": "rtspsrc location={rtsp} protocols=tcp latency=0 ! rtph264depay",
    "http-flv": "souphttpsrc location={http}.live.flv ! flvdemux",
    "http-ts": "souphttpsrc location={http}.live.ts ! tsdemux",
    "hls, ts": "souphttpsrc location={http}/hls.m3u8 ! hlsdemux ! tsdemux",
}
SHOW = "h264parse ! openh264dec ! video/x-raw,format=I420 ! checksumsink hash=md5 sync=false"
NAME = "h264-aac"


async def test_gstreamer_shows_what_went_in(house: House, tmp_path: Path) -> None:
    one = await asyncio.to_thread(film, "h264", "aac", 0, tmp_path)
    bringing = asyncio.create_task(ps_tcp(Scene(house, house), one, NAME))
    async with asyncio.timeout(20):
        while house.relay.stream("live", NAME) is None:
            assert not bringing.done(), await bringing
            await asyncio.sleep(0.01)
    _, *seen = await asyncio.gather(bringing, *(show(house, reader) for reader in READERS.values()))
    for reader, pictures in zip(READERS, seen, strict=True):
        assert pictures, reader
        begin = one.pictures.index(pictures[0])
        assert begin % FPS == 0, f"{reader} begins with picture {begin}"
        assert pictures == [*one.pictures[begin:]][: len(pictures)], reader
        # A parser that waits for the beginning of the next picture keeps the last one.
        assert len(pictures) >= len(one.pictures) - begin - 1, f"{reader} shows {len(pictures)} from {begin} on"


async def show(house: House, reader: str) -> list[str]:
    """Digests of what a player shows up to the end of the stream, which some take for an error."""
    source = reader.format(rtsp=house.rtsp_url(NAME), http=f"http://{HOST}:{house.http}/live/{NAME}")
    player = await asyncio.create_subprocess_exec(
        "gst-launch-1.0", "-q", *f"{source} ! {SHOW}".split(), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            told, _ = await player.communicate()
    finally:
        if player.returncode is None:
            player.kill()
            await player.wait()
    return [line.split()[1] for line in told.decode().splitlines() if line[:1].isdigit()]
