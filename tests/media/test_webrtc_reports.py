"""What a player by WebRTC is told of time: sound and picture of one moment lie on one moment of the wall clock."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from media.webrtc.clock import SentClock, SentTimes
from media.webrtc.engine import take_frames, take_reports
from media.webrtc.service import Options, WebRtc
from tests.media.house import HOST, House
from tests.media.test_units import frames, parts
from tests.media.test_webrtc import offer, peer, take, until

LATE = 8
"""Pictures by which sound comes behind its picture: 320 ms."""
RATES = {"video": 90_000, "audio": 8_000}


@pytest.fixture
async def rtc(house: House) -> AsyncIterator[WebRtc]:
    async with WebRtc(house.relay, Options(addresses=(HOST,), port_min=23250, port_max=23290)) as service:
        yield service


async def test_sound_that_comes_late_is_reported_with_its_picture(
    house: House, rtc: WebRtc, group_clips: dict[str, Path]
) -> None:
    pictures = [frame for frame in frames(group_clips["libx264"])[0] if frame.codec == "H264"]
    numbers = {parts(frame.data)[-1]: number for number, frame in enumerate(pictures)}
    feed = house.relay.open_feed("live", "cam", transport="derived")
    feed.announce_audio("PCMA")
    seen: dict[str, dict[int, int]] = {"video": {}, "audio": {}}
    reports: dict[str, list[tuple[int, int]]] = {"video": [], "audio": []}

    def video(_: str, timestamp: int, data: bytes) -> None:
        seen["video"][numbers.get(parts(data)[-1], -1)] = timestamp

    def audio(_: str, timestamp: int, data: bytes) -> None:
        seen["audio"][data[0]] = timestamp

    def report(kind: str, timestamp: int, ntp: int) -> None:
        reports[kind].append((timestamp, ntp))

    async with peer() as connection:
        for kind, handle in (("video", video), ("audio", audio)):
            receiver = connection.addTransceiver(kind, direction="recvonly").receiver
            take_frames(receiver, handle)
            take_reports(receiver, partial(report, kind))
        offered = (await offer(connection)).replace("opus/48000/2", "x/48000/2").replace("PCMU/8000", "x/8000")
        for number in range(-LATE, 0):
            feed.push("PCMA", number * 3600 + 90_000, number * 3600 + 90_000, bytes(320))
        feed.push("H264", 90_000, 90_000, pictures[0].data)
        await house.event("first_key_frame")
        await take(connection, await rtc.play(feed.id, offered))
        await until(lambda: connection.connectionState == "connected")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number, frame in enumerate(pictures[1:], 1):
            feed.push("H264", 90_000 + number * 3600, 90_000 + number * 3600, frame.data)
            if (sound := number - LATE) > 0:
                feed.push("PCMA", 90_000 + sound * 3600, 90_000 + sound * 3600, bytes([sound]) * 320)
            await asyncio.sleep(max(0.0, begun + number * 0.04 - loop.time()))
        await until(lambda: all(told and told[-1][1] for told in reports.values()))

    def when(kind: str, number: int) -> float:
        """Seconds of the reports' clock at which a frame is."""
        timestamp, ntp = reports[kind][-1]
        step = (seen[kind][number] - timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
        return ntp / (1 << 32) + step / RATES[kind]

    both = sorted(seen["video"].keys() & seen["audio"].keys() - {-1, 0})
    assert len(both) > 20
    apart = [when("audio", number) - when("video", number) for number in both]
    assert max(abs(each) for each in apart) < 0.002, apart


def test_times_are_found_again_though_timestamps_begin_anywhere() -> None:
    clock, times = SentClock(), SentTimes()
    assert (clock.ntp(1.0), times.seconds(7)) == (0, None)
    origin = (1 << 32) - 5000
    for ticks in range(90_000, 200_000, 3600):
        times.handle_frame(ticks, 90_000)
        clock.begin(ticks / 90_000, 1000 << 32)
        times.handle_sent((origin + ticks) % (1 << 32))
        assert times.seconds((origin + ticks - 3600) % (1 << 32)) == pytest.approx((ticks - 3600) / 90_000)
    assert clock.ntp(1.5) == (1000 << 32) + (1 << 31), "the first frame, of 1 s, went out at 1000 s"
