"""How long a viewer waits: from the API call that invites to the first key frame, and when joining a running stream.

The device's own delay (from the INVITE it receives to the first packet it sends) is taken off. Goals: 100 ms and 20 ms
in the median.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.simulator.clip import ClipSpec
from gateway.simulator.config import ChannelSpec, DeviceSpec, FleetConfig, Server
from gateway.simulator.events import EventKind, FleetEvent
from gateway.simulator.fleet import Fleet
from tests.e2e.running import DEVICE_PASSWORD, DOMAIN, SERVER_ID, RunningGateway

ROUNDS = 30
CLIP = ClipSpec(width=1280, height=720, fps=25, gop=50, bitrate_bps=4_000_000)
TAG_HEAD = 11
VIDEO = 9
KEY = 1


async def first_key_frame(address: str) -> None:
    """Plays HTTP-FLV until the first coded key frame has come whole."""
    url = urlsplit(address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=1 << 22)
    try:
        writer.write(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0], head
        await reader.readexactly(9 + 4)
        while True:
            tag = await reader.readexactly(TAG_HEAD)
            size = int.from_bytes(tag[1:4], "big")
            body = await reader.readexactly(size + 4)
            if tag[0] == VIDEO and body[0] >> 4 == KEY and body[1] == 1:  # a NAL unit packet, not the configuration
                return
    finally:
        writer.close()


class Timer:
    """When the device was invited and when it began to send."""

    def __init__(self) -> None:
        self.at: dict[EventKind, float] = {}

    def __call__(self, event: FleetEvent) -> None:
        self.at[event.kind] = time.perf_counter()

    @property
    def own_delay(self) -> float:
        return self.at[EventKind.STREAMING] - self.at[EventKind.INVITED]


def show(name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    print(
        f"| {name} | {statistics.median(ordered) * 1000:.1f} ms | {ordered[int(len(ordered) * 0.95)] * 1000:.1f} ms "
        f"| {ordered[-1] * 1000:.1f} ms |"
    )


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        gateway = await RunningGateway(Path(directory)).start()
        timer = Timer()
        try:
            (device,) = await gateway.provision()
            spec = DeviceSpec(device, "bench", (ChannelSpec(device, "bench"),), DEVICE_PASSWORD, "camera")
            server = Server(SERVER_ID, "127.0.0.1", gateway.sip_port, DOMAIN)
            async with Fleet(FleetConfig(server, (spec,), clip=CLIP), timer):
                channel = await gateway.wait_for(device, "ONLINE")
                path = f"streams/{channel.stream_name}/endpoint"
                invited, joined = [], []
                for _ in range(ROUNDS):
                    begin = time.perf_counter()
                    answer = await gateway.set_state(channel, "ACTIVE")
                    assert answer.is_success, answer.text
                    address = (await gateway.call("GET", path))["pull_flow_address"]
                    await first_key_frame(address)
                    invited.append(time.perf_counter() - begin - timer.own_delay)
                    begin = time.perf_counter()
                    await first_key_frame(address)
                    joined.append(time.perf_counter() - begin)
                    await gateway.set_state(channel, "STOPPED")
                    await gateway.wait_for(device, "ONLINE")
        finally:
            await gateway.close()
    print("| HTTP-FLV, 1280×720, 4 Mbit/s | median | p95 | worst |\n|---|---|---|---|")
    show("API call to first key frame, less the device's delay", invited)
    show("joining the running stream", joined)


if __name__ == "__main__":
    asyncio.run(main())
