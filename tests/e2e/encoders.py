"""Foreign encoders: ffmpeg pushes by RTMP, or serves HTTP-FLV for one client at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

PICTURE = "testsrc2=size=320x180:rate=15"
SOUND = "sine=frequency=440:sample_rate=44100"


def encode(*output: str) -> list[str]:
    """A cheap moving picture with sound, a key frame a second, in real time."""
    inputs = ["-re", "-f", "lavfi", "-i", PICTURE, "-re", "-f", "lavfi", "-i", SOUND]
    video = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "15", "-b:v", "200k"]
    pixels = ["-pix_fmt", "yuv420p", "-threads", "1"]
    return ["ffmpeg", "-v", "error", "-nostdin", *inputs, *video, *pixels, "-c:a", "aac", "-f", "flv", *output]


class Encoder:
    """One ffmpeg process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @property
    def runs(self) -> bool:
        return self.process.returncode is None

    async def ended(self, seconds: float = 20.0) -> str:
        """Waits until it gives up; what it said."""
        async with asyncio.timeout(seconds):
            _, said = await self.process.communicate()
        return said.decode(errors="replace")

    async def stop(self) -> None:
        if self.runs:
            self.process.kill()
        await self.process.wait()


async def start(*output: str) -> Encoder:
    """Starts one; stop it."""
    process = await asyncio.create_subprocess_exec(
        *encode(*output), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    return Encoder(process)


@asynccontextmanager
async def pushing(*output: str) -> AsyncIterator[Encoder]:
    """Pushes to the address, behind other options than those of RTMP, for as long as it is entered."""
    encoder = await start(*output)
    try:
        yield encoder
    finally:
        await encoder.stop()


@asynccontextmanager
async def serving(port: int) -> AsyncIterator[Encoder]:
    """Serves http://127.0.0.1:port/live.flv to the next client, for as long as it is entered."""
    encoder = await start("-listen", "1", f"http://127.0.0.1:{port}/live.flv")
    try:
        yield encoder
    finally:
        await encoder.stop()


async def recorded(address: str, file: Path, seconds: float = 2.0, headers: str = "") -> None:
    """ffmpeg plays the address into a file; it must succeed."""
    given = ["-headers", headers] if headers else []
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *given, "-i", address, "-t", str(seconds), "-c", "copy"]
    process = await asyncio.create_subprocess_exec(
        *command, "-f", "matroska", file, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"{address} does not play") from None
    assert process.returncode == 0, said.decode(errors="replace")
