"""A stream with G.711 has a sibling with AAC: the same pictures, the same tone, in step."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from media.sibling import Sibling
from tests.media.house import House, play, push, run

PLAYED = 2.0


@pytest.fixture(scope="session")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds with a tone of 440 Hz in A-law."""
    path = tmp_path_factory.mktemp("sibling") / "camera.flv"
    run(
        "-f", "lavfi", "-i", "testsrc=s=320x192:r=25:d=6", "-f", "lavfi", "-i", "sine=f=440:r=8000:d=6",
        "-c:v", "libx264", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p", "-c:a", "pcm_alaw", "-ar", "8000", str(path),
    )  # fmt: skip
    return path


def tone(source: str) -> float:
    """The strongest frequency of a second of sound, in Hz."""
    with av.open(source, timeout=20) as container:
        wave: list[float] = []
        rate = 0
        for frame in container.decode(audio=0):
            rate = frame.sample_rate
            wave += frame.to_ndarray()[0].tolist()
            if len(wave) > 2 * rate:
                break
    return float(np.abs(np.fft.rfft(wave[rate : 2 * rate])).argmax())


async def test_the_sibling_has_the_same_pictures_and_aac(house: House, camera: Path) -> None:
    publisher = await push(house, camera, "cam")
    await house.event("first_key_frame")
    feed = house.relay.open_feed("live", "cam~aac", transport="derived", private=False)
    with ThreadPoolExecutor(1) as executor:
        sibling = asyncio.create_task(Sibling(house.relay, house.stream("cam").receiver, feed, executor).run())
        await house.event("first_key_frame")
        stream = house.stream("cam~aac")
        assert (stream.audio_codec, stream.sample_rate, stream.video_codec) == ("AAC", 16_000, "H264")
        heard = asyncio.create_task(asyncio.to_thread(tone, house.flv("cam~aac")))
        played, source = await asyncio.gather(
            asyncio.to_thread(play, house.flv("cam~aac")), asyncio.to_thread(play, house.flv("cam"))
        )
        assert await publisher.wait() == 0
        async with asyncio.timeout(10):
            await sibling
    assert played.codecs == {"video": "h264", "audio": "aac"}
    assert len(played.pictures) > 75 and set(played.pictures[-60:]) <= set(source.pictures)
    assert abs(await heard - 440) <= 3
    for kind in ("video", "audio"):
        lasted = (played.times["video"][-1], played.times[kind][-1])
        assert abs(lasted[0] - lasted[1]) < 300, f"{kind} lasts as long as the pictures"
