"""Key frames as JPEG: right, cached, and nothing that a stream sends harms the gateway."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

import av
import pytest

from gateway.simulator.clip import ClipSpec, clip
from gateway.simulator.model import VideoCodec
from media.snapshots import KeyFrameLike, SnapshotError, Snapshots

SPEC = ClipSpec(width=320, height=192, fps=25, gop=25, seconds=1, bitrate_bps=400_000)


@dataclass(frozen=True)
class Frame:
    codec: str
    data: bytes
    dts_90k: int = 1
    wall_ms: int = 1_000_000


@dataclass
class Camera:
    frame: KeyFrameLike | None = None
    snapshots: Snapshots | None = None

    async def take(self, **wanted: int) -> bytes:
        assert self.snapshots is not None
        return (await self.snapshots.take(1, **wanted))[0]


@pytest.fixture
async def camera() -> AsyncIterator[Camera]:
    camera = Camera()
    async with Snapshots(lambda _: camera.frame) as camera.snapshots:
        yield camera


def key_frame(codec: VideoCodec) -> Frame:
    source = clip(ClipSpec(**{**{name: getattr(SPEC, name) for name in SPEC.__dataclass_fields__}, "video": codec}))
    return Frame({VideoCodec.H264: "H264", VideoCodec.H265: "H265"}[codec], source.units[0].data)


def sides(picture: bytes) -> tuple[int, int]:
    with av.open(io.BytesIO(picture), format="mjpeg") as container:
        frame = next(container.decode(video=0))
        return frame.width, frame.height


@pytest.mark.parametrize("codec", list(VideoCodec))
async def test_a_key_frame_is_a_picture_of_any_width(camera: Camera, codec: VideoCodec) -> None:
    camera.frame = await asyncio.to_thread(key_frame, codec)
    whole, small, coarse = await camera.take(), await camera.take(width=160), await camera.take(quality=5)
    assert [sides(picture) for picture in (whole, small, coarse)] == [(320, 192), (160, 96), (320, 192)]
    assert len(coarse) < len(whole)
    assert camera.snapshots is not None
    assert camera.snapshots.decoded == 3
    assert await camera.take() is whole, "it is decoded once"
    assert sides(await camera.take(width=4000)) == (320, 192), "never larger than it is"


async def test_many_who_ask_get_one_picture(camera: Camera) -> None:
    camera.frame = await asyncio.to_thread(key_frame, VideoCodec.H264)
    pictures = await asyncio.gather(*(camera.take() for _ in range(20)))
    assert camera.snapshots is not None
    assert len(set(pictures)) == camera.snapshots.decoded == 1


async def test_what_cannot_be_decoded_is_refused_and_the_next_one_plays(camera: Camera) -> None:
    good = await asyncio.to_thread(key_frame, VideoCodec.H264)
    with pytest.raises(SnapshotError, match="no key frame"):
        await camera.take()
    for number, wrong in enumerate((b"", b"\0\0\0\1\x65" + bytes(1000), good.data[:40], bytes(range(256)) * 100)):
        camera.frame = Frame("H264", wrong, dts_90k=number + 10)
        with pytest.raises(SnapshotError):
            await camera.take()
    camera.frame = good
    assert sides(await camera.take()) == (320, 192)


async def test_a_decoder_that_dies_or_hangs_is_replaced(camera: Camera) -> None:
    camera.frame = await asyncio.to_thread(key_frame, VideoCodec.H264)
    await camera.take()
    snapshots = camera.snapshots
    assert snapshots is not None and snapshots._process is not None
    snapshots._process.kill()
    await snapshots._process.wait()
    assert sides(await camera.take(width=100)) == (100, 60)
    snapshots._patience = 0.0
    with pytest.raises(SnapshotError, match="failed"):
        await camera.take(width=120)
    snapshots._patience = 5.0
    assert sides(await camera.take(width=120)) == (120, 72)
