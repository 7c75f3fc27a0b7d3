"""A playback of H.265 with AAC steered by RTSP, in datagrams and on the connection, up to what decoders make of it."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import av
import pytest

from gateway.simulator.clip import ClipSpec, clip
from gateway.simulator.model import AudioCodec, VideoCodec
from media._core import parse_rtp
from media.relay import Relay
from tests.media.house import HOST, copied_from, play
from tests.media.rtsp_client import Answer, Client
from tests.media.test_recording import Bench, bursts, send

SECONDS, FPS, RATE = 12, 10, 16_000
SPEC = ClipSpec(
    video=VideoCodec.H265, audio=AudioCodec.AAC, width=320, height=192, fps=FPS, gop=FPS, seconds=SECONDS,
    bitrate_bps=200_000,
)  # fmt: skip
START_MS = 1_700_000_000_000
"""2023-11-14 22:13:20 UTC."""
CLOCKS = (90_000, RATE)
TOGETHER = 0.11
"""Seconds: how far apart sound and picture begin at most, where neither is cut: a picture and a run of sound."""
HEADERS, PARAMETER_SETS, KEYS, FRAGMENT = 32, {32, 33, 34}, set(range(16, 22)), 49
"""NAL unit types of H.265 (RFC 7798 §1.1.4): what is no picture, of it VPS, SPS and PPS; where a
decoder can begin; a piece of one (§4.4.3)."""


@dataclass
class Replay:
    """A relay that plays the recording back, and its RTSP port."""

    url: str
    port: int
    file: Path


@pytest.fixture
async def replay(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Replay]:
    """A recording of ours, played back; the parameter is its form."""
    source = await asyncio.to_thread(clip, SPEC)
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=22000, rtp_port_max=22999, threads=1) as relay:
        bench = Bench(relay, tmp_path)
        recording = relay.record(
            bench.receiver.id, directory=str(tmp_path), slice_ms=600_000, utc_offset_ms=0, tag="seconds",
            form=getattr(request, "param", None),
        )  # fmt: skip
        await send(bench.receiver.port, bursts(source))
        relay.stop_recording(recording)
        await bench.wait("slice", "stopped")
        [file] = bench.slices()
        port = relay.listen_rtsp(HOST, 0)
        relay.open_playback("test", "replay", [(str(file), START_MS)], paused=True, private=False)
        yield Replay(f"rtsp://{HOST}:{port}/test/replay", port, file)


@dataclass
class Receiver:
    """A track's datagrams: sequence number, timestamp and payload of each packet; what its reports say."""

    rtp: socket.socket
    rtcp: socket.socket
    packets: list[tuple[int, int, bytes]] = field(default_factory=list)
    reports: list[tuple[float, int]] = field(default_factory=list)
    """Seconds of NTP, and the RTP timestamp that belongs to them."""

    @classmethod
    def open(cls, stack: ExitStack) -> "Receiver":
        """Two ports, of which the first is even."""
        for _ in range(100):
            rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                rtp.bind((HOST, 0))
                rtcp.bind((HOST, rtp.getsockname()[1] ^ 1))
            except OSError:
                rtp.close()
                rtcp.close()
                continue
            rtp, rtcp = sorted((rtp, rtcp), key=lambda one: int(one.getsockname()[1]))
            made = cls(stack.enter_context(rtp), stack.enter_context(rtcp))
            rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            for one in (rtp, rtcp):
                one.setblocking(False)
            return made
        raise AssertionError("no even port")

    @property
    def transport(self) -> str:
        port = self.rtp.getsockname()[1]
        return f"RTP/AVP;unicast;client_port={port}-{port + 1}"

    def read(self) -> None:
        """Takes what has come."""
        try:
            while True:
                packet = parse_rtp(self.rtp.recv(2000))
                self.packets.append((packet.seq, packet.timestamp, bytes(packet.payload)))
        except BlockingIOError:
            pass
        try:
            while True:
                report = self.rtcp.recv(2000)
                if report[1] == 200:
                    ntp = int.from_bytes(report[8:16], "big") / (1 << 32)
                    self.reports.append((ntp, int.from_bytes(report[16:20], "big")))
        except BlockingIOError:
            pass


def part(answer: Answer) -> tuple[float, list[tuple[int, int]]]:
    """Where the part begins that is sent, and the first packet of each track: sequence number and timestamp."""
    assert answer.status == 200, answer
    begin = re.fullmatch(r"npt=([0-9.]+)-[0-9.]+", answer.headers["range"])
    assert begin is not None, answer.headers
    first = re.findall(r"trackID=\d;seq=(\d+);rtptime=(\d+)", answer.headers["rtp-info"])
    return float(begin[1]), [(int(seq), int(time)) for seq, time in first]


async def from_seq(track: Receiver, seq: int, count: int) -> list[tuple[int, bytes]]:
    """Timestamp and payload of so many packets from this one on; nothing of a loopback is lost."""
    async with asyncio.timeout(15):
        while True:
            track.read()
            numbers = [number for number, _, _ in track.packets]
            if seq in numbers and len(numbers) - (at := numbers.index(seq)) >= count:
                assert numbers[at : at + count] == [(seq + step) % 65_536 for step in range(count)]
                return [(time, payload) for _, time, payload in track.packets[at : at + count]]
            await asyncio.sleep(0.01)


def unit_kind(payload: bytes) -> int:
    kind = payload[0] >> 1 & 0x3F
    return payload[2] & 0x3F if kind == FRAGMENT else kind


def signed(difference: int) -> int:
    return (difference + (1 << 31)) % (1 << 32) - (1 << 31)


async def test_in_datagrams_each_track_tells_where_it_begins(replay: Replay) -> None:
    with ExitStack() as stack:
        client = await Client.open(HOST, replay.port)
        described = (await client.ask("DESCRIBE", replay.url)).body.decode()
        assert "H265/90000" in described and f"mpeg4-generic/{RATE}" in described.lower()
        tracks = [Receiver.open(stack) for _ in CLOCKS]
        for number, track in enumerate(tracks):
            assert (await client.set_up(replay.url, number, track.transport)).status == 200
        begin, _ = part(await client.ask("PLAY", replay.url, Range="npt=0-"))
        assert begin == pytest.approx(0, abs=0.2)

        begin, first = part(await client.ask("PLAY", replay.url, Range="npt=5.55-"))
        assert begin == pytest.approx(5, abs=0.01), "the key frame before"
        runs = [await from_seq(track, seq, 8) for track, (seq, _) in zip(tracks, first, strict=True)]
        kinds = [unit_kind(payload) for _, payload in runs[0]]
        assert set(kinds[:3]) == PARAMETER_SETS
        assert next(kind for kind in kinds[3:] if kind < HEADERS) in KEYS
        for run, (_, timestamp), clock in zip(runs, first, CLOCKS, strict=True):
            assert 0 <= signed(run[0][0] - timestamp) <= TOGETHER * clock, "its first packet is when the part begins"
        # What reports say of both tracks is one clock, and it puts their first packets together.
        async with asyncio.timeout(15):
            while not all(track.reports for track in tracks):
                for track in tracks:
                    track.read()
                await asyncio.sleep(0.01)
        began = [
            track.reports[-1][0] + signed(timestamp - track.reports[-1][1]) / clock
            for track, (_, timestamp), clock in zip(tracks, first, CLOCKS, strict=True)
        ]
        assert began[0] == pytest.approx(began[1], abs=0.002)

        fast = await client.ask("PLAY", replay.url, Range="clock=20231114T221322Z-", Scale="2.0")
        assert (fast.status, fast.headers["scale"]) == (200, "2")
        assert fast.headers["range"].startswith("clock=20231114T221322.0")
        told = re.findall(r"trackID=0;seq=(\d+);rtptime=(\d+)", fast.headers["rtp-info"])
        [(seq, _)] = [(int(seq), int(time)) for seq, time in told]
        pictures = await from_seq(tracks[0], seq, 12)
        tracks[1].read()
        silent_since = len(tracks[1].packets)
        times = sorted({time for time, _ in pictures}, key=lambda time: signed(time - pictures[0][0]))
        assert {signed(later - earlier) for earlier, later in pairwise(times)} == {90_000 // FPS // 2}

        begin, first = part(await client.ask("PLAY", replay.url, Range="npt=9-"))
        assert begin == pytest.approx(9, abs=0.01)
        tracks[1].read()
        assert tracks[1].packets[silent_since:] == [] or tracks[1].packets[silent_since][0] == first[1][0]
        runs = [await from_seq(track, seq, 8) for track, (seq, _) in zip(tracks, first, strict=True)]
        assert all(
            0 <= signed(run[0][0] - at[1]) <= TOGETHER * clock
            for run, at, clock in zip(runs, first, CLOCKS, strict=True)
        )
        client.close()


@pytest.mark.parametrize(("replay", "transport"), [(None, "tcp"), (None, "udp"), ("flv", "tcp")], indirect=["replay"])
async def test_ffmpeg_begins_where_it_is_told_to_with_sound_in_step(
    replay: Replay, transport: str, tmp_path: Path
) -> None:
    file = tmp_path / "played.mkv"
    await copied_from(replay.url, 8, transport, "-c", "copy", str(file))
    got, all_of = play(str(file)), play(str(replay.file))
    assert got.codecs == {"video": "hevc", "audio": "aac"}
    assert (SECONDS - 9) * FPS <= len(got.pictures) <= (SECONDS - 8) * FPS + 5
    assert got.pictures[-20:] == all_of.pictures[-20:]
    assert " ".join(got.sound[2:-2]) in " ".join(all_of.sound), "every run of sound once"
    assert got.times["audio"][-1] == pytest.approx(got.times["video"][-1], abs=250)
    with av.open(str(file)) as container:
        starts = {one.type: float((one.start_time or 0) * (one.time_base or 0)) for one in container.streams}
    assert starts["audio"] == pytest.approx(starts["video"], abs=TOGETHER)
