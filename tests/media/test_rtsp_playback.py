"""A playback steered by RTSP: PLAY with a part and a speed, and PAUSE, as its players and FFmpeg ask for them."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from media.relay import Relay
from tests.media.house import HOST, House, copied_from, play, push, run
from tests.media.rtsp_client import Answer, Client

SECONDS = 12
START_MS = 1_700_000_000_000
"""2023-11-14 22:13:20 UTC."""


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds with a key frame a second, and sound."""
    file = tmp_path_factory.mktemp("recording") / "1.flv"
    run(
        "-f", "lavfi", "-i", f"testsrc=s=320x192:r=10:d={SECONDS}", "-f", "lavfi", "-i", f"sine=r=8000:d={SECONDS}",
        "-c:v", "libx264", "-g", "10", "-bf", "0", "-pix_fmt", "yuv420p", "-c:a", "pcm_alaw", "-ac", "1", str(file),
    )  # fmt: skip
    return file


@dataclass
class Replay:
    """A relay that plays the recording back, and its RTSP port."""

    relay: Relay
    url: str
    receiver: int

    async def open(self) -> Client:
        port = int(self.url.split(":")[2].split("/")[0])
        return await Client.open(HOST, port)


@pytest.fixture
async def replay(recording: Path) -> AsyncIterator[Replay]:
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=22000, rtp_port_max=22999, threads=1) as relay:
        rtsp = relay.listen_rtsp(HOST, 0)
        opened = relay.open_playback("test", "replay", [(str(recording), START_MS)], paused=True, private=False)
        yield Replay(relay, f"rtsp://{HOST}:{rtsp}/test/replay", opened.id)


def begins(answer: Answer) -> float:
    """Where the part begins that is sent."""
    assert answer.status == 200, answer
    found = re.fullmatch(r"npt=([0-9.]+)-([0-9.]+)", answer.headers["range"])
    assert found is not None, answer.headers
    assert float(found[2]) == pytest.approx(SECONDS, abs=0.2)
    return float(found[1])


def first_of(answer: Answer) -> tuple[int, int]:
    """The first packet of the first track, as RTP-Info tells: sequence number and timestamp."""
    found = re.search(r"trackID=0;seq=(\d+);rtptime=(\d+)", answer.headers["rtp-info"])
    assert found is not None, answer.headers
    return int(found[1]), int(found[2])


async def next_picture(client: Client, known: int) -> tuple[int, int]:
    """Sequence number and timestamp of the first video packet behind the first `known` ones of all packets."""
    while True:
        for channel, packet in client.packets[known:]:
            if channel == 0:
                return int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[4:8], "big")
        await client.packet()


async def test_a_player_seeks_changes_the_speed_and_pauses(replay: Replay) -> None:
    client = await replay.open()
    described = await client.ask("DESCRIBE", replay.url)
    told = re.search(rb"a=range:npt=0\.000-([0-9.]+)\r\n", described.body)
    assert told is not None, described.body
    assert float(told[1]) == pytest.approx(SECONDS, abs=0.2)
    await client.set_up(replay.url)
    await client.set_up(replay.url, 1, "RTP/AVP/TCP;unicast;interleaved=2-3")
    joined = await client.ask("PLAY", replay.url, Range="npt=0.000-")
    assert begins(joined) == pytest.approx(0, abs=0.2)
    assert first_of(joined) == await next_picture(client, 0)
    assert joined.headers["rtp-info"].count("url=") == 2

    sought = await client.ask("PLAY", replay.url, Range="npt=5.5-")
    known = len(client.packets)
    assert begins(sought) == pytest.approx(5, abs=0.05), "the key frame before"
    assert first_of(sought) == await next_picture(client, known)
    assert sought.headers["scale"] == "1"

    clock = await client.ask("PLAY", replay.url, Range="clock=20231114T221322Z-")
    assert clock.headers["range"].startswith("clock=20231114T221322.0")

    fast = await client.ask("PLAY", replay.url, Range="npt=1-", Scale="2.0")
    known = len(client.packets)
    assert fast.headers["scale"] == "2"
    assert first_of(fast) == await next_picture(client, known)
    slow = await client.ask("PLAY", replay.url, Range="npt=1-", Scale="0.01")
    assert begins(slow) == pytest.approx(1, abs=0.05)
    assert slow.headers["scale"] == "0.25"

    for wrong in ("npt=12.5-", "npt=4-3", "clock=20231114T221319Z-", "smpte=0:00:01-", "npt=x-"):
        assert (await client.ask("PLAY", replay.url, Range=wrong)).status == 457, wrong

    paused = await client.ask("PAUSE", replay.url)
    known = len(client.packets)
    where = await client.ask("GET_PARAMETER", replay.url, "position\r\nscale\r\n")
    await asyncio.sleep(0.5)
    again = await client.ask("GET_PARAMETER", replay.url, "position\r\nscale\r\n")
    assert where.body == again.body and where.body.endswith(b"scale: 0.25\r\n"), "it stands still"
    assert client.packets[known:] == []
    assert (await client.ask("GET_PARAMETER", replay.url, "colour\r\n")).status == 451
    on = await client.ask("PLAY", replay.url)
    stood = float(paused.headers["range"].removeprefix("npt=").rstrip("-"))
    assert begins(on) == pytest.approx(stood, abs=0.3), "it goes on where it stood"
    assert first_of(on) == await next_picture(client, known)
    client.close()


async def test_a_player_has_a_recording_delivered_faster_than_it_plays(replay: Replay) -> None:
    client = await replay.open()
    await client.ask("DESCRIBE", replay.url)
    await client.set_up(replay.url)
    await client.set_up(replay.url, 1, "RTP/AVP/TCP;unicast;interleaved=2-3")
    await client.ask("PLAY", replay.url, Range="npt=0.000-")
    fast = await client.ask("PLAY", replay.url, Range="npt=1-", Speed="4.0")
    assert (fast.headers["speed"], fast.headers["scale"]) == ("4", "1")
    loop, known = asyncio.get_running_loop(), len(client.packets)
    begun, first, ahead = loop.time(), first_of(fast)[1], 0.0
    async with asyncio.timeout(20):
        while ahead < 1 or all(channel != 2 for channel, _ in client.packets[known:]):
            channel, packet = await client.packet()
            if channel == 0:
                stamp = int.from_bytes(packet[4:8], "big")
                ahead = (stamp - first) % (1 << 32) / 90_000 - (loop.time() - begun)
    bounded = await client.ask("PLAY", replay.url, Range="npt=1-", Speed="99")
    assert bounded.headers["speed"] == "4"
    read = await client.ask("PLAY", replay.url, Range="npt=1-", Scale="4.0", Speed="4.0")
    assert (read.headers["scale"], read.headers["speed"]) == ("4", "1"), "all pictures are read at four times at most"
    assert "speed" not in (await client.ask("PLAY", replay.url, Range="npt=2-")).headers
    assert (await client.ask("PLAY", replay.url, Speed="fast")).status == 400
    client.close()


async def test_the_last_wish_holds_for_all_who_watch(replay: Replay) -> None:
    clients = [await replay.open() for _ in range(2)]
    for client in clients:
        begins(await client.play(replay.url))
    first, second = clients
    assert begins(await first.ask("PLAY", replay.url, Range="npt=8-", Scale="0.25")) == pytest.approx(8, abs=0.05)
    where = await second.ask("GET_PARAMETER", replay.url, "position\r\n")
    assert float(where.body.split()[1]) == pytest.approx(8, abs=1)
    assert (await first.ask("PAUSE", replay.url)).status == 200
    assert begins(await second.ask("PLAY", replay.url, Range="npt=2-")) == pytest.approx(2, abs=0.05)
    known = len(first.packets)
    await first.ask("OPTIONS", replay.url)
    assert len(first.packets) == known, "who paused is sent nothing though another goes on"
    for client in clients:
        client.close()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_ffmpeg_begins_where_it_is_told_to(
    replay: Replay, transport: str, tmp_path: Path, recording: Path
) -> None:
    file = tmp_path / "played.h264"
    await copied_from(replay.url, 8, transport, "-map", "0:v", "-c", "copy", str(file))
    got, all_of = play(str(file)).pictures, play(str(recording)).pictures
    assert 25 <= len(got) <= 45, "the last four seconds"
    assert got[-20:] == all_of[-20:]


async def test_a_live_stream_stops_for_one_player(house: House, recording: Path) -> None:
    publisher = await push(house, recording, "cam", "-c:v", "copy", "-an")
    await house.event("first_key_frame")
    url = house.rtsp_url("cam")
    client = await Client.open(HOST, house.rtsp)
    answer = await client.play(url)
    assert (answer.status, answer.headers["range"], answer.headers["scale"]) == (200, "npt=now-", "1")
    await next_picture(client, 0)
    assert (await client.ask("PAUSE", url)).status == 200
    known, sent = len(client.packets), house.stream("cam").received
    async with asyncio.timeout(10):
        while house.stream("cam").received < sent + 10:  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.01)
    await client.ask("OPTIONS", url)
    assert len(client.packets) == known, "nothing is sent"
    on = await client.ask("PLAY", url)
    assert (on.status, on.headers["range"]) == (200, "npt=now-")
    assert first_of(on) == await next_picture(client, known)
    client.close()
    publisher.terminate()
    await publisher.wait()
