"""What tests of publishing and playing share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from media.relay import Relay
from tests.media.house import HOST, House, run


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=23000, rtp_port_max=23799, threads=1) as relay:
        rtmp, rtsp = relay.listen_rtmp(HOST, 0), relay.listen_rtsp(HOST, 0)
        house = House(relay, rtmp, rtsp, relay.listen_http(HOST, 0, "/nonexistent"))
        relay.listen(house.handle)
        yield house


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three seconds with one key frame and pictures out of order, by their coding."""
    folder = tmp_path_factory.mktemp("clips")
    made = {}
    for codec, options in (("libx264", []), ("libx265", ["-x265-params", "log-level=none:keyint=250"])):
        made[codec] = folder / f"{codec}.mp4"
        run(
            "-f", "lavfi", "-i", "testsrc=s=320x192:r=25:d=3", "-f", "lavfi", "-i", "sine=r=44100:d=3", "-c:v", codec,
            *options, "-g", "250", "-bf", "2", "-pix_fmt", "yuv420p", "-c:a", "aac", str(made[codec]),
        )  # fmt: skip
    return made


@pytest.fixture(scope="session")
def group_clips(clips: dict[str, Path]) -> dict[str, Path]:
    """The same with a key frame a second and pictures in order: what a lost datagram spoils ends with its group."""
    made = {}
    for codec, source in clips.items():
        made[codec] = source.with_name(f"{codec}_groups.mp4")
        run(
            "-i", str(source), "-c:v", codec, "-preset", "ultrafast", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p",
            *(("-x265-params", "log-level=none:keyint=25:min-keyint=25") if codec == "libx265" else ()),
            "-c:a", "copy", str(made[codec]),
        )  # fmt: skip
    return made
