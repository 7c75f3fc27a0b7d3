"""Hours of a busy relay: whether its memory stays flat, its clocks true, and nothing is left open.

    python -m tests.bench.soak [--minutes 120] [--streams 50] [--viewers 100] [--seed 1]

Cameras send PS by UDP and TCP; each breaks off now and then, and comes back from another port. Viewers of HTTP-FLV,
HLS, RTMP and RTSP come and go, half of them without a word. Each minute is a line; at the end everybody leaves, and
what is still open then, or grew on the way, is told. The exit status is 1 if something did.
"""

import argparse
import asyncio
import contextlib
import json
import random
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from gateway.simulator.clip import Clip, ClipSpec, clip
from gateway.simulator.model import AudioCodec
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import RtpStream, StreamFaults, frame
from media.relay import Relay

HOST: Final = "127.0.0.1"
SPEC: Final = ClipSpec(width=480, height=272, fps=15, gop=30, bitrate_bps=500_000, audio=AudioCodec.G711A)
DRIFT_MAX_S: Final = 0.5
"""A stream's clock against ours, beyond what a viewer was ahead with when it joined."""
GROWTH_MAX: Final = 0.05
"""Of memory, from the middle of the time to its end."""
FOREIGN_AT_ONCE: Final = 6


def clock() -> float:
    """Seconds from any moment on."""
    return asyncio.get_running_loop().time()


# --- the relay, in a process of its own


def status() -> dict[str, int]:
    """What the process holds, from the kernel."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    [resident] = [int(line.split()[1]) for line in lines if line.startswith("VmRSS")]
    return {"rss_kb": resident, "fds": len(list(Path("/proc/self/fd").iterdir()))}


async def serve(streams: int) -> None:
    """Opens the streams, says where, and answers each line with what it holds."""
    ports = {"rtp_port_min": 26000, "rtp_port_max": 27999}
    async with Relay(play_key=b"soak", rtp_host=HOST, threads=1, **ports) as relay:
        http, rtmp, rtsp = (
            relay.listen_http(HOST, 0, "/nonexistent"),
            relay.listen_rtmp(HOST, 0),
            relay.listen_rtsp(HOST, 0),
        )
        kinds: Counter[str] = Counter()
        relay.listen(lambda event: kinds.update((event.kind,)))
        receivers = [
            relay.open_receiver("soak", str(n), transport="tcp_passive" if n % 2 else "udp", peer=HOST, private=False)
            for n in range(streams)
        ]
        say({"http": http, "rtmp": rtmp, "rtsp": rtsp, "ports": [one.port for one in receivers], **status()})
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while await reader.readline():
            found = await asyncio.to_thread(relay.streams)
            viewers: Counter[str] = Counter()
            for stream in found:
                viewers.update(stream.viewers)
            faults = sum((Counter(stream.faults) for stream in found), Counter[str]())
            lost = sum(stream.lost for stream in found)
            say({**status(), "viewers": viewers, "lost": lost, "faults": faults, "events": kinds})


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


# --- cameras and viewers


@dataclass
class Where:
    """The relay's ports."""

    http: int
    rtmp: int
    rtsp: int
    ports: list[int]


@dataclass
class Tally:
    """What cameras and viewers saw."""

    breaks: int = 0
    joins: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    drift_s: float = 0.0
    bytes: int = 0
    late_s: dict[int, float] = field(default_factory=dict)
    """How far each camera, by its port, is behind its own clock: that is this process's doing, not the relay's."""


async def camera(port: int, tcp: bool, source: Clip, chance: random.Random, tally: Tally) -> None:
    """Sends for some minutes, breaks off for some seconds, and so on; its SSRC is the one that it was told."""
    ssrc = chance.getrandbits(31)
    while True:
        stream = RtpStream(
            PsWriter(SPEC.video, SPEC.audio), ssrc, StreamFaults(),
            first_sequence_number=chance.getrandbits(16),
        )  # fmt: skip
        with contextlib.suppress(ConnectionError):
            async with wire(port, tcp) as send:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(chance.uniform(60, 400)):
                        await film(source, stream, send, port, tally)
        tally.breaks += 1
        await asyncio.sleep(chance.uniform(3, 20))


async def film(
    source: Clip, stream: RtpStream, send: Callable[[list[bytes]], Awaitable[None]], port: int, tally: Tally
) -> None:
    loop = asyncio.get_running_loop()
    begin, shift = loop.time(), 0
    while True:
        for unit in source.units:
            due = begin + (unit.dts + shift) / 90_000
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            tally.late_s[port] = loop.time() - due
            await send(stream.packetise(unit.at(shift)))
        shift += source.duration


@contextlib.asynccontextmanager
async def wire(port: int, tcp: bool) -> AsyncIterator[Callable[[list[bytes]], Awaitable[None]]]:
    if tcp:
        _, writer = await asyncio.open_connection(HOST, port)

        async def by_stream(packets: list[bytes]) -> None:
            writer.writelines(frame(packet) for packet in packets)
            await writer.drain()

        try:
            yield by_stream
        finally:
            writer.transport.abort()
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            device.connect((HOST, port))
            device.setblocking(False)

            async def by_datagrams(packets: list[bytes]) -> None:
                for packet in packets:
                    with contextlib.suppress(BlockingIOError, ConnectionError):
                        device.send(packet)

            yield by_datagrams


async def watch_flv(where: Where, name: str, seconds: float, tally: Tally) -> None:
    """Reads tags and holds their times against the clock of the camera."""
    port = where.ports[int(name)]
    reader, writer = await asyncio.open_connection(HOST, where.http)
    try:
        writer.write(f"GET /soak/{name}.live.flv HTTP/1.1\r\nHost: relay\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(head.split(b"\r\n")[0].decode("latin-1"))
        await asyncio.wait_for(reader.readexactly(13), 30)
        end, last = clock() + seconds, 0.0
        began, offset, ahead = 0.0, 0.0, 0.0
        while clock() < end:
            tag = await asyncio.wait_for(reader.readexactly(11), 30)
            at = (int.from_bytes(tag[4:7], "big") | tag[7] << 24) / 1000
            size = int.from_bytes(tag[1:4], "big") + 4
            await reader.readexactly(size)
            tally.bytes += size
            now = clock() - tally.late_s.get(port, 0.0)
            if now - last > 1:  # the beginning, or behind a break of the camera
                began, offset, ahead = now, at - now, 0.0
            last = now
            # The cached GOP comes at once: how far that reaches is known after a moment.
            if now - began < 2:
                ahead = max(ahead, at - now - offset)
            else:
                tally.drift_s = max(tally.drift_s, at - now - offset - ahead)
    finally:
        writer.transport.abort() if seconds % 1 < 0.5 else writer.close()


async def watch_hls(where: Where, name: str, seconds: float, tally: Tally) -> None:
    playlist = "hls.m3u8" if seconds % 1 < 0.5 else "hls.fmp4.m3u8"
    end = clock() + seconds
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{where.http}/soak/{name}/", timeout=40) as client:
        while clock() < end:
            answer = (await client.get(playlist)).raise_for_status()
            newest = [line for line in answer.text.splitlines() if line and line[0] != "#"][-1:]
            for file in newest:
                tally.bytes += len((await client.get(file)).content)
            await asyncio.sleep(1)


async def watch_foreign(url: str, seconds: float) -> None:
    """By FFmpeg, which may take its leave politely or not."""
    arguments = ["-v", "error", *(["-rtsp_transport", "tcp"] if url.startswith("rtsp") else []), "-i", url]
    process = await asyncio.create_subprocess_exec(
        "ffmpeg", "-nostdin", *arguments, "-c", "copy", "-f", "null", "-",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        process.kill() if seconds % 1 < 0.5 else process.terminate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def viewer(where: Where, chance: random.Random, foreign: asyncio.Semaphore, tally: Tally) -> None:
    while True:
        name, seconds = str(chance.randrange(len(where.ports))), chance.uniform(5, 120)
        kind = chance.choices(("flv", "hls", "rtmp", "rtsp"), (6, 2, 1, 1))[0]
        tally.joins[kind] += 1
        try:
            if kind == "flv":
                await watch_flv(where, name, seconds, tally)
            elif kind == "hls":
                await watch_hls(where, name, seconds, tally)
            else:
                port = where.rtmp if kind == "rtmp" else where.rtsp
                async with foreign:
                    await watch_foreign(f"{kind}://{HOST}:{port}/soak/{name}", seconds)
        except (OSError, EOFError, TimeoutError, httpx.HTTPError) as error:
            tally.failed[f"{kind}: {type(error).__name__}"] += 1
        await asyncio.sleep(chance.uniform(0, 5))


# --- the whole


async def main(minutes: float, streams: int, viewers: int, seed: int) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.soak", "--serve", str(streams),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    inbox, outbox = process.stdin, process.stdout

    async def ask() -> dict[str, Any]:
        inbox.write(b"\n")
        await inbox.drain()
        answer: dict[str, Any] = json.loads(await outbox.readline())
        return answer

    begun = json.loads(await outbox.readline())
    where = Where(begun["http"], begun["rtmp"], begun["rtsp"], begun["ports"])
    source = await asyncio.to_thread(clip, SPEC)
    tally, chance, foreign = Tally(), random.Random(seed), asyncio.Semaphore(FOREIGN_AT_ONCE)
    tasks = [
        asyncio.create_task(camera(port, bool(n % 2), source, random.Random(chance.random()), tally))
        for n, port in enumerate(where.ports)
    ]
    tasks += [
        asyncio.create_task(viewer(where, random.Random(chance.random()), foreign, tally)) for _ in range(viewers)
    ]
    print("| minute | memory | descriptors | viewers | joins | breaks | lost packets | clock ahead | received |")
    print("|---|---|---|---|---|---|---|---|---|")
    memory = []
    begin = clock()
    for minute in range(1, max(1, round(minutes)) + 1):
        await asyncio.sleep(max(0, begin + minute * 60 - clock()))
        now = await ask()
        memory.append(now["rss_kb"])
        print(
            f"| {minute} | {now['rss_kb'] / 1024:.1f} MB | {now['fds']} | {sum(now['viewers'].values())}"
            f" | {tally.joins.total()} | {tally.breaks} | {now['lost']} | {tally.drift_s * 1000:.0f} ms"
            f" | {tally.bytes / 1e6:.0f} MB |",
            flush=True,
        )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(35)  # what fell silent is found by its time-out; HLS sessions end
    after = await ask()
    inbox.close()
    await process.wait()
    broken = [str(task.exception()) for task in tasks if not task.cancelled() and task.exception() is not None]
    print(f"\njoins {dict(tally.joins)}; failed {dict(tally.failed)}; tasks that broke: {broken[:5]}")
    print(f"faults {after['faults']}; events {after['events']}")
    wrong = verdict(memory, tally, after["fds"] - begun["fds"], sum(after["viewers"].values())) + broken
    print("; ".join(wrong) or "nothing grew, drifted or was left open")
    return int(bool(wrong))


def verdict(memory: list[int], tally: Tally, descriptors: int, viewers: int) -> list[str]:
    """What is wrong at the end: memory is what the process held each minute, the rest is left open."""
    half = memory[len(memory) // 2 :]
    growth = float(np.polyfit(range(len(half)), half, 1)[0]) * len(half) / half[0] if len(half) > 2 else 0.0
    print(f"memory grew by {growth:.1%} in the second half of the time")
    checks = (
        (growth > GROWTH_MAX, f"memory grows: {growth:.1%}"),
        (descriptors > 1, f"{descriptors} descriptors left open"),
        (viewers > 0, f"{viewers} viewers left"),
        (tally.drift_s > DRIFT_MAX_S, f"a clock runs ahead by {tally.drift_s:.1f} s"),
    )
    return [text for holds, text in checks if holds]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        asyncio.run(serve(given.serve))
    else:
        sys.exit(asyncio.run(main(given.minutes, given.streams, given.viewers, given.seed)))
