"""WebRTC with aiortc at the other end: what a browser would be sent, and what it would send."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer

from media._core import Unit
from media.webrtc.engine import take_frames
from media.webrtc.h265 import PAYLOAD_MAX, units
from media.webrtc.negotiation import NotAcceptableError
from media.webrtc.places import BusyError, CrowdedError
from media.webrtc.play import SentTrack
from media.webrtc.service import Answered, Client, Options, WebRtc
from tests.media.house import HOST, House, play, push, run
from tests.media.test_units import feed_all, frames, parts


@pytest.fixture
async def rtc(house: House) -> AsyncIterator[WebRtc]:
    options = Options(addresses=(HOST,), port_min=23200, port_max=23240, sessions_max=2, key_frame_seconds=0.5)
    async with WebRtc(house.relay, options) as service:
        yield service


@pytest.fixture(scope="session")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds as cameras send: a key frame a second, no pictures out of order, a tone of 440 Hz."""
    path = tmp_path_factory.mktemp("camera") / "camera.mp4"
    run(
        "-f", "lavfi", "-i", "testsrc=s=320x192:r=25:d=10", "-f", "lavfi", "-i", "sine=f=440:r=48000:d=10",
        "-c:v", "libx264", "-profile:v", "main", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p",
        "-c:a", "aac", "-ac", "1", str(path),
    )  # fmt: skip
    return path


@asynccontextmanager
async def peer() -> AsyncIterator[RTCPeerConnection]:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        yield connection
    finally:
        await connection.close()


async def offer(connection: RTCPeerConnection) -> str:
    await connection.setLocalDescription(await connection.createOffer())
    return str(connection.localDescription.sdp)


async def take(connection: RTCPeerConnection, answered: Answered) -> None:
    await connection.setRemoteDescription(RTCSessionDescription(answered.answer, "answer"))


async def watch(connection: RTCPeerConnection, rtc: WebRtc, receiver: int) -> tuple[list[Any], list[Any], Answered]:
    """Plays the stream; the frames that come, by track."""
    receivers = [connection.addTransceiver(kind, direction="recvonly").receiver for kind in ("video", "audio")]
    answered = await rtc.play(receiver, await offer(connection))
    await take(connection, answered)
    video, audio = (receiver.track for receiver in receivers)
    async with asyncio.timeout(20):
        pictures = [await video.recv() for _ in range(40)]
        sound = [await audio.recv() for _ in range(40)]
    return pictures, sound, answered


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.05)


def loudness(frames: list[Any]) -> float:
    return float(np.abs(np.concatenate([frame.to_ndarray().ravel() for frame in frames]).astype(np.float64)).mean())


@pytest.mark.parametrize("options", [(), ("-c:v", "copy", "-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1")])
async def test_a_player_sees_and_hears_the_stream(
    house: House, rtc: WebRtc, camera: Path, options: tuple[str, ...]
) -> None:
    publisher = await push(house, camera, "cam", *options)
    await house.event("first_key_frame")
    async with peer() as connection:
        pictures, sound, answered = await watch(connection, rtc, house.stream("cam").receiver)
        assert ("PCMA/8000" if options else "opus/48000/2") in answered.answer
        assert "profile-level-id=42" in answered.answer
        assert {(frame.width, frame.height) for frame in pictures} == {(320, 192)}
        assert min(frame.to_ndarray(format="gray").std() for frame in pictures) > 20, "not one is a plain area"
        times = [frame.pts for frame in pictures]
        assert all(2700 <= later - earlier <= 4500 for earlier, later in pairwise(times)), times
        assert loudness(sound[20:]) > 200
        assert house.stream("cam").viewers["whep"] == 1 and rtc.counts == {"whep": 1, "whip": 0}
        assert await rtc.close(answered.session_id, "whep")
        assert not await rtc.close(answered.session_id, "whip")
        await until(lambda: not rtc.counts["whep"] and not house.stream("cam").viewers["whep"])
    publisher.kill()
    await publisher.wait()


async def test_a_session_ends_with_its_stream(house: House, rtc: WebRtc, camera: Path) -> None:
    publisher = await push(house, camera, "cam")
    await house.event("first_key_frame")
    async with peer() as connection:
        await watch(connection, rtc, house.stream("cam").receiver)
        house.relay.close_receiver(house.stream("cam").receiver)
        await until(lambda: not rtc.counts["whep"])
    await publisher.wait()


async def test_what_cannot_be_sent_is_refused(house: House, rtc: WebRtc, clips: dict[str, Path]) -> None:
    given, _ = frames(clips["libx265"])
    feed = house.relay.open_feed("live", "cam", transport="derived")
    await feed_all(feed, [frame for frame in given if frame.codec == "H265"])
    await house.event("first_key_frame")
    async with peer() as connection:
        connection.addTransceiver("video", direction="recvonly")
        without = (await offer(connection)).replace("H265/90000", "H266/90000")
        with pytest.raises(NotAcceptableError, match=r"H\.265.*ws_fmp4"):
            await rtc.play(feed.id, without)
        assert rtc.counts == {"whep": 0, "whip": 0}


async def test_h265_is_passed_through(
    house: House, rtc: WebRtc, clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To who offers it: every unit of every picture arrives as it is, large ones in fragments."""
    pictures = [frame for frame in frames(clips["libx265"])[0] if frame.codec == "H265"]
    feed = house.relay.open_feed("live", "cam", transport="derived")
    await feed_all(feed, pictures[:5])
    await house.event("first_key_frame")
    monkeypatch.setattr("aiortc.rtcrtpreceiver.depayload", lambda _, payload: annex_b(payload))
    arrived: list[bytes] = []
    async with peer() as connection:
        transceiver = connection.addTransceiver("video", direction="recvonly")
        take_frames(transceiver.receiver, lambda coding, _, data: arrived.append(data) if coding == "H265" else None)
        offered = (await offer(connection)).replace(
            "a=rtpmap:110 H265/90000\r\n",
            "a=rtpmap:110 H265/90000\r\na=fmtp:110 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST\r\n",
        )
        answered = await rtc.play(feed.id, offered)
        assert "a=fmtp:110 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST" in answered.answer
        await take(connection, answered)
        await until(lambda: connection.connectionState == "connected")
        for frame in pictures[5:]:
            assert feed.push(frame.codec, frame.pts, frame.dts, frame.data)
            await asyncio.sleep(0.02)
        sent = [list(units(frame.data)) for frame in pictures]
        await until(lambda: len(arrived) >= len(sent) - 1)  # the last one is known to be whole when another begins
    assert [list(units(picture)) for picture in arrived[1:20]] == sent[1:20]
    assert list(units(arrived[0]))[-1] == sent[0][-1]
    assert max(len(unit) for picture in sent for unit in picture) > PAYLOAD_MAX, "some had to be cut"


def annex_b(payload: bytes) -> bytes:
    """RFC 7798 read by the letter, apart from our writer: §4.4.1 and §4.4.3."""
    if (payload[0] & 0x7E) >> 1 != 49:
        return b"\0\0\0\1" + payload
    header = bytes([(payload[0] & 0x81) | ((payload[2] & 0x3F) << 1), payload[1]])
    return (b"\0\0\0\1" + header if payload[2] & 0x80 else b"") + payload[3:]


async def test_a_publisher_is_seen_and_heard_by_http_flv(house: House, rtc: WebRtc, camera: Path) -> None:
    feed = house.relay.open_feed("live", "cam", transport="whip", private=False)
    player = MediaPlayer(str(camera))
    async with peer() as connection:
        connection.addTrack(player.video)
        connection.addTrack(player.audio)
        await take(connection, await rtc.publish(feed, await offer(connection)))
        await house.event("first_key_frame")
        stream = house.stream("cam")
        assert (stream.transport, stream.video_codec, stream.audio_codec) == ("whip", "H264", "AAC")
        watching = asyncio.create_task(asyncio.to_thread(play, house.flv("cam")))
        await asyncio.sleep(5)
    played = await watching
    assert played.codecs == {"video": "h264", "audio": "aac"}
    assert len(played.pictures) > 60 and len(set(played.pictures)) > 30
    steps = np.diff(played.times["audio"])
    assert abs(float(steps.mean()) - 1024 / 48) < 1.0, "sound lasts as long as it takes"
    ended = await house.event("ended")
    assert ended.receiver == feed.id


async def test_late_sound_is_put_where_its_reports_say(house: House, rtc: WebRtc, camera: Path) -> None:
    """Sound is on its way 300 ms longer than pictures are, its reports are not."""
    feed = house.relay.open_feed("live", "cam", transport="whip", private=False)
    pictures = [frame for frame in frames(camera)[0] if frame.codec == "H264"][:125]
    video, audio = SentTrack("video"), SentTrack("audio")
    numbers = {parts(frame.data)[-1]: number for number, frame in enumerate(pictures)}
    apart: list[float] = []

    async def send() -> None:
        for number, frame in enumerate(pictures):
            await video.put(frame.data, number * 3600, 90_000)
            await audio.put(bytes([number]) * 320, number * 320, 8_000)
            await asyncio.sleep(0.04)

    async def listen() -> None:
        seen: dict[str, dict[int, int]] = {"video": {}, "audio": {}}
        async for unit in house.relay.subscribe(feed.id):
            if isinstance(unit, Unit):
                number = numbers.get(parts(unit.data)[-1], -1) if unit.kind == "video" else unit.data[0]
                seen[unit.kind][number] = unit.pts_90k
                if unit.kind == "audio" and number in seen["video"]:
                    apart.append((unit.pts_90k - seen["video"][number]) / 90_000)

    async with peer() as connection:
        connection.addTrack(video)
        connection.addTrack(audio)
        offered = (
            (await offer(connection)).replace("opus/48000/2", "unknown/48000/2").replace("PCMU/8000", "unknown/8000")
        )
        answered = await rtc.publish(feed, offered)
        transport: Any = connection.getSenders()[0].transport
        at_once = transport._send_rtp

        async def later(data: bytes) -> None:
            if data[1] & 0x7F == 8:
                asyncio.get_running_loop().call_later(0.3, lambda: sent.append(asyncio.ensure_future(at_once(data))))
            else:
                await at_once(data)

        sent: list[asyncio.Future[None]] = []
        transport._send_rtp = later
        await take(connection, answered)
        await until(lambda: connection.connectionState == "connected")
        listening = asyncio.create_task(listen())
        await send()
        await until(lambda: len(apart) > 80)
        listening.cancel()
    assert max(abs(each) for each in apart[-10:]) < 0.05, apart


async def test_so_many_and_no_more(house: House, rtc: WebRtc) -> None:
    feeds = [house.relay.open_feed("live", f"cam{number}", transport="whip") for number in range(3)]
    for feed in feeds[:2]:
        async with peer() as connection:
            connection.addTransceiver("video", direction="sendonly")
            await rtc.publish(feed, await offer(connection))
    async with peer() as connection:
        connection.addTransceiver("video", direction="sendonly")
        with pytest.raises(BusyError):
            await rtc.publish(feeds[2], await offer(connection))


async def test_a_player_is_listed_counted_by_address_and_sent_away(house: House, clips: dict[str, Path]) -> None:
    feed = house.relay.open_feed("live", "cam", transport="derived", private=False)
    await feed_all(feed, [frame for frame in frames(clips["libx264"])[0] if frame.codec == "H264"][:10])
    await house.event("first_key_frame")
    options = Options(addresses=(HOST,), sessions_per_address_max=1)
    async with WebRtc(house.relay, options) as rtc, peer() as connection:
        connection.addTransceiver("video", direction="recvonly")
        offered, here = await offer(connection), Client("192.0.2.7", "a browser")
        with pytest.raises(NotAcceptableError):  # whoever is refused gives the place back
            await rtc.play(feed.id, offered.replace("H264/90000", "H266/90000"), here)
        await take(connection, await rtc.play(feed.id, offered, here))
        await until(lambda: connection.connectionState == "connected")
        with pytest.raises(CrowdedError, match=r"192\.0\.2\.7"):
            await rtc.play(feed.id, offered, here)
        other = await rtc.play(feed.id, offered, Client("192.0.2.8"))
        assert await rtc.close(other.session_id, "whep")
        await until(lambda: rtc.counts["whep"] == 1 and len(house.relay.viewers("live", "cam")) == 1)
        [seen] = house.relay.viewers("live", "cam")
        assert (seen.protocol, seen.peer, seen.user_agent) == ("whep", "192.0.2.7", "a browser")
        assert house.relay.kick(seen.id)
        await until(lambda: not rtc.counts["whep"] and not house.relay.viewers("live", "cam"))
        again = await rtc.play(feed.id, offered, here)
        assert await rtc.close(again.session_id, "whep")


def test_av_knows_the_codecs() -> None:
    assert {"aac", "libopus", "pcm_alaw"} <= set(av.codecs_available)
