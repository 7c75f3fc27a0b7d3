"""Takes what the gateway plays, and has foreign programs look at it."""

import asyncio
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import av
import httpx
import numpy as np
from websockets.asyncio.client import connect

from gateway.simulator.clip import ClipSpec, clip
from gateway.simulator.model import VideoCodec

NAMES = {VideoCodec.H264: "h264", VideoCodec.H265: "hevc"}
TONE_FROM = 0.1
"""Share of full scale above which sound is taken for the tone."""


async def flv(url: str, seconds: float) -> bytes:
    """What an HTTP-FLV viewer gets in that time; less if the stream ends."""
    pieces: list[bytes] = []
    try:
        async with asyncio.timeout(seconds), httpx.AsyncClient() as client, client.stream("GET", url) as response:
            assert response.status_code == 200, response.status_code
            assert response.headers["content-type"] == "video/x-flv"
            async for piece in response.aiter_raw():
                pieces.append(piece)  # noqa: PERF401  (kept when time is up)
    except TimeoutError:
        pass
    return b"".join(pieces)


async def websocket_flv(url: str, seconds: float) -> bytes:
    pieces: list[bytes] = []
    try:
        async with asyncio.timeout(seconds), connect(url, max_size=None) as socket:
            async for message in socket:
                assert isinstance(message, bytes)
                pieces.append(message)
    except TimeoutError:
        pass
    return b"".join(pieces)


async def hls(url: str, seconds: float) -> bytes:
    """The initialisation section, if any, and the segments of so long, one after the other as a player takes them."""
    async with httpx.AsyncClient() as client, asyncio.timeout(seconds + 30):
        parts: dict[str, bytes] = {}
        length = 0.0
        while length < seconds:
            answer = await client.get(url)
            assert answer.status_code == 200, answer.text
            for address, duration in _listed(answer.text):
                if address not in parts:
                    part = await client.get(urljoin(url, address))
                    assert part.status_code == 200, address
                    parts[address] = part.content
                    length += duration
            await asyncio.sleep(0.2)
    return b"".join(parts.values())


def _listed(playlist: str) -> list[tuple[str, float]]:
    entries = [(address, 0.0) for address in re.findall(r'#EXT-X-MAP:URI="([^"]+)"', playlist)]
    duration = 0.0
    for line in playlist.splitlines():
        if line.startswith("#EXTINF:"):
            duration = float(line.removeprefix("#EXTINF:").partition(",")[0])
        elif line and not line.startswith("#"):
            entries.append((line, duration))
    return entries


async def run(*command: str | Path, input_: bytes | None = None) -> bytes:
    """A foreign program's output; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate(input_)
    assert process.returncode == 0, (command, err.decode(errors="replace"))
    return out


async def ffprobe(file: Path) -> dict[str, Any]:
    """Streams and packets, as ffprobe sees them."""
    wanted = "stream=codec_type,codec_name,width,height,avg_frame_rate:packet=codec_type,pts_time,dts_time"
    out = await run("ffprobe", "-v", "error", "-show_entries", wanted, "-of", "json", file)
    found: dict[str, Any] = json.loads(out)
    return found


async def picture_sums(file: str | Path, form: str | None = None) -> list[str]:
    """The MD5 of each decoded picture in order, by FFmpeg."""
    given = [] if form is None else ["-f", form]
    shown = ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
    out = await run("ffmpeg", "-v", "fatal", *given, "-i", file, *shown)
    return [line.rpartition(",")[2].strip() for line in out.decode().splitlines() if line and line[0] != "#"]


_sums: dict[ClipSpec, list[str]] = {}


async def sent_sums(spec: ClipSpec, folder: Path) -> list[str]:
    """The same of the clip itself, which devices play in a loop."""
    if spec not in _sums:
        assert spec.video is not None
        source = await asyncio.to_thread(clip, spec)
        file = folder / "sent.annexb"
        file.write_bytes(b"".join(unit.data for unit in source.units if unit.is_video))
        _sums[spec] = await picture_sums(file, NAMES[spec.video])
    return _sums[spec]


@dataclass
class Seen:
    """What PyAV decodes; times are seconds."""

    codecs: dict[str, str] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    decoding_times: dict[str, list[float]] = field(default_factory=dict)
    pictures: list[tuple[float, bytes]] = field(default_factory=list)
    tone_starts: list[float] = field(default_factory=list)
    first_heard: float = float("inf")

    @property
    def rate(self) -> float:
        """Pictures a second."""
        shown = [at for at, _ in self.pictures]
        return (len(shown) - 1) / (max(shown) - min(shown))


def watch(data: bytes, form: str) -> Seen:
    """Decodes everything; `tone_starts` are the instants at which the tone sets in."""
    seen, loud = Seen(), False
    with av.open(io.BytesIO(data), mode="r", format=form) as container:
        for packet in container.demux():
            stream = packet.stream
            if packet.dts is not None and packet.time_base is not None:
                seen.decoding_times.setdefault(stream.type, []).append(float(packet.dts * packet.time_base))
            if isinstance(stream, av.VideoStream):
                for picture in stream.decode(packet):
                    seen.pictures.append((picture.time or 0.0, picture.to_ndarray().tobytes()))
            elif isinstance(stream, av.AudioStream) and stream.codec_context is not None:
                for sound in stream.decode(packet):
                    seen.first_heard = min(seen.first_heard, sound.time or 0.0)
                    loud = _listen(sound, loud, seen.tone_starts)
        for stream in (*container.streams.video, *container.streams.audio):
            seen.codecs[stream.type] = stream.codec_context.name
        video = container.streams.video[0]
        seen.size = (video.width, video.height)
    return seen


def _listen(sound: av.AudioFrame, loud: bool, starts: list[float]) -> bool:
    """Notes where the tone sets in; the tone of 440 Hz is never silent for 5 ms."""
    wave = sound.to_ndarray().reshape(-1).astype(np.float64)
    if sound.format.name.startswith("s16"):
        wave /= 32768
    step = sound.sample_rate // 200
    for begin in range(0, len(wave) - step + 1, step):
        now = bool(np.abs(wave[begin : begin + step]).max() > TONE_FROM)
        if now and not loud:
            starts.append((sound.time or 0.0) + begin / sound.sample_rate)
        loud = now
    return loud


@lru_cache(maxsize=8)
def sent_pictures(spec: ClipSpec) -> dict[bytes, float]:
    """Each decoded picture of the clip, with the second of the clip at which it is shown."""
    assert spec.video is not None
    units = [unit for unit in clip(spec).units if unit.is_video]
    with av.open(io.BytesIO(b"".join(u.data for u in units)), mode="r", format=NAMES[spec.video]) as container:
        decoded = [picture.to_ndarray().tobytes() for picture in container.decode(video=0)]
    return {picture: number / spec.fps for number, picture in enumerate(decoded)}


def skew(seen: Seen, spec: ClipSpec) -> float:
    """How many seconds the sound is late, compared with the picture, against what the device sent.

    In the clip the tone sets in at each full second; what second a picture belongs to, the picture itself says.
    """
    sent = sent_pictures(spec)
    known = [(shown, sent[picture]) for shown, picture in seen.pictures if picture in sent]
    assert known, "no picture is one that was sent"
    shown, of_clip = known[0]
    # A tone that had set in before the first sound we got tells nothing.
    starts = [start for start in seen.tone_starts if start > seen.first_heard + 0.3]
    lates = [(start - shown + of_clip + 0.5) % 1.0 - 0.5 for start in starts]
    assert lates, "no tone was heard"
    return max(lates, key=abs)


async def until(good: Callable[[], bool], seconds: float = 20.0) -> None:
    """For what nobody tells us."""
    async with asyncio.timeout(seconds):
        while not good():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
