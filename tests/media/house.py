"""A relay that encoders push to and players play from, and what a player made of a stream."""

import asyncio
import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av

from media._core import Event, Stream
from media.relay import Relay

HOST = "127.0.0.1"
FAR = 4_000_000_000
"""When signatures expire: not in this test."""

REMUX = """
import sys, time
import av
with av.open(sys.argv[1]) as given, av.open(sys.argv[2], "w", format="flv") as out:
    streams = {stream.index: out.add_stream_from_template(stream) for stream in given.streams}
    for packet in given.demux():
        if packet.dts is not None:
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
            time.sleep(0.01)
"""
"""Publishes a file as a recent FFmpeg does it: H.265 in the enhanced form. A process of its own, for it holds the
interpreter while it waits for the answer."""


@dataclass
class House:
    """A relay with its ports open, and somebody who decides about publishers."""

    relay: Relay
    rtmp: int
    rtsp: int
    http: int
    events: list[Event] = field(default_factory=list)
    decide: Callable[["House", Event], object] = field(default=lambda house, event: house.accept(event))

    def handle(self, event: Event) -> None:
        self.events.append(event)
        if event.kind == "publish":
            self.decide(self, event)

    def accept(self, event: Event, *, private: bool = False, viewers_max: int = 0) -> int:
        detail = event.detail
        return self.relay.accept_publish(
            int(detail["ticket"]), detail["app"], detail["name"], private=private, viewers_max=viewers_max
        )

    def url(self, name: str, query: str = "") -> str:
        return f"rtmp://{HOST}:{self.rtmp}/live/{name}{query}"

    def rtsp_url(self, name: str, query: str = "") -> str:
        return f"rtsp://{HOST}:{self.rtsp}/live/{name}{query}"

    def flv(self, name: str) -> str:
        return f"http://{HOST}:{self.http}/live/{name}.live.flv"

    async def event(self, kind: str) -> Event:
        """The first of its kind; it is taken out."""
        async with asyncio.timeout(30):
            while True:
                for event in self.events:
                    if event.kind == kind:
                        self.events.remove(event)
                        return event
                await asyncio.sleep(0.01)

    async def told(self, receiver: int, *kinds: str) -> list[Event]:
        """What was told of the receiver until one of these came, which stays."""
        async with asyncio.timeout(30):
            while True:
                found = [event for event in self.events if event.receiver == receiver]
                if any(event.kind in kinds for event in found):
                    return found
                await asyncio.sleep(0.02)

    async def watched(self, name: str) -> None:
        """Returns when somebody watches."""
        async with asyncio.timeout(30):
            while not any(self.stream(name).viewers.values()):  # noqa: ASYNC110  (a thread of Rust)
                await asyncio.sleep(0.01)

    def stream(self, name: str) -> Stream:
        stream = self.relay.stream("live", name)
        assert stream is not None
        return stream


def run(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, timeout=120)


async def ffmpeg(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec("ffmpeg", "-v", "error", *arguments, stderr=asyncio.subprocess.PIPE)


async def push(house: House, clip: Path, name: str, *options: str) -> asyncio.subprocess.Process:
    """FFmpeg publishes in real time."""
    return await ffmpeg("-re", "-i", str(clip), *(options or ("-c", "copy")), "-f", "flv", house.url(name))


@dataclass
class Played:
    """What a demuxer and decoder made of it; times are milliseconds from the first, in order of decoding."""

    codecs: dict[str, str] = field(default_factory=dict)
    pictures: list[str] = field(default_factory=list)
    sound: list[str] = field(default_factory=list)
    times: dict[str, list[int]] = field(default_factory=dict)


def play(source: str, **options: str) -> Played:
    """Reads a file or address to its end, with options of FFmpeg."""
    played = Played()
    with av.open(source, timeout=20, options=options) as container:
        try:
            for packet in container.demux():
                if not packet.size:
                    continue  # asks decoders for what they still have
                kind = packet.stream.type
                if packet.pts is not None and packet.time_base is not None:
                    played.times.setdefault(kind, []).append(round(packet.pts * packet.time_base * 1000))
                if isinstance(packet.stream, av.VideoStream):
                    played.pictures += [digest(frame) for frame in packet.stream.decode(packet)]
                else:
                    played.sound.append(md5(bytes(packet)))
        except av.FFmpegError:
            pass  # a live stream may end anywhere
        for stream in (*container.streams.video, *container.streams.audio):
            played.codecs[stream.type] = stream.codec_context.name
        for video in container.streams.video:
            played.pictures += [digest(frame) for frame in video.decode(None)]
    for kind, times in played.times.items():
        played.times[kind] = [moment - times[0] for moment in times]
    return played


def digest(frame: av.VideoFrame) -> str:
    return md5(frame.to_ndarray().tobytes())


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def same_times(one: list[int], other: list[int]) -> bool:
    return len(one) == len(other) and all(abs(a - b) <= 2 for a, b in zip(one, other, strict=True))


async def copied_from(url: str, seconds: int, transport: str, *output: str) -> None:
    """What ffmpeg plays from so many seconds on, into a file."""
    player = await asyncio.create_subprocess_exec(
        "ffmpeg", "-v", "error", "-rtsp_transport", transport, "-ss", str(seconds), "-i", url, *output
    )
    try:
        async with asyncio.timeout(30):
            await player.wait()
    finally:
        if player.returncode is None:
            player.kill()
