"""RTMP with foreign programs at both ends: FFmpeg and PyAV publish and play, and nothing is lost or changed between."""

import asyncio
import struct
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from gateway.simulator.clip import Clip, ClipSpec, clip
from media._core import CoreError, Event
from tests.media.house import FAR, HOST, REMUX, House, Played, play, push, same_times
from tests.media.rtmp_client import HANDSHAKE, NULL, Client, command, number, tag


async def both(house: House, name: str) -> tuple[Played, Played]:
    """What an RTMP player and an HTTP-FLV viewer got, who joined after the first key frame."""
    await house.event("first_key_frame")
    by_rtmp, by_http = await asyncio.gather(
        asyncio.to_thread(play, house.url(name)), asyncio.to_thread(play, house.flv(name))
    )
    return by_rtmp, by_http


async def test_what_ffmpeg_publishes_is_played_unchanged(house: House, clips: dict[str, Path]) -> None:
    publisher = await push(house, clips["libx264"], "cam")
    asked = await house.event("publish")
    assert (asked.receiver, asked.app, asked.name, asked.detail["protocol"]) == (0, "live", "cam", "rtmp")
    sent = play(str(clips["libx264"]))
    for played in await both(house, "cam"):
        assert played.codecs == {"video": "h264", "audio": "aac"}
        assert played.pictures == sent.pictures
        assert same_times(played.times["video"], sent.times["video"])
        assert played.sound[-100:] == sent.sound[-100:]
    assert await publisher.wait() == 0
    kinds = [event.kind for event in house.events]
    assert [kind for kind in kinds if kind in {"connected", "tracks", "first_packet"}] == [
        "connected", "first_packet", "tracks",
    ]  # fmt: skip
    assert (await house.event("disconnected")).detail["peer"].startswith(HOST)
    ended = await house.event("ended")
    assert house.relay.stream("live", "cam") is None
    assert ended.receiver != 0


@pytest.mark.parametrize(("coding", "wanted"), [("pcm_alaw", "PCMA"), ("pcm_mulaw", "PCMU")])
async def test_g711_beside_video(house: House, clips: dict[str, Path], coding: str, wanted: str) -> None:
    options = ("-c:v", "copy", "-c:a", coding, "-ar", "8000", "-ac", "1")
    publisher = await push(house, clips["libx264"], "cam", *options)
    await house.event("first_key_frame")
    stream = house.stream("cam")
    assert (stream.transport, stream.payload, stream.video_codec, stream.audio_codec) == ("rtmp", "flv", "H264", wanted)
    assert (stream.sample_rate, stream.port, stream.lost) == (8000, 0, 0)
    played = await asyncio.to_thread(play, house.url("cam"))
    assert played.codecs == {"video": "h264", "audio": coding}
    assert played.pictures == play(str(clips["libx264"])).pictures
    await publisher.wait()


async def test_sound_alone(house: House, clips: dict[str, Path]) -> None:
    publisher = await push(house, clips["libx264"], "radio", "-vn", "-c:a", "copy")
    await house.event("tracks")
    played = await asyncio.to_thread(play, house.url("radio"))
    assert played.codecs == {"audio": "aac"}
    assert len(played.sound) > 30
    await publisher.wait()


async def test_h265_goes_through_in_the_enhanced_form(house: House, clips: dict[str, Path]) -> None:
    source = str(clips["libx265"])
    publisher = await asyncio.create_subprocess_exec(sys.executable, "-c", REMUX, source, house.url("cam"))
    sent = play(source)
    for played in await both(house, "cam"):
        assert played.codecs == {"video": "hevc", "audio": "aac"}
        assert played.pictures == sent.pictures
        assert same_times(played.times["video"], sent.times["video"])
    assert await publisher.wait() == 0


async def test_hls_of_a_published_stream(house: House, clips: dict[str, Path]) -> None:
    publisher = await push(
        house, clips["libx264"], "cam", "-c:v", "libx264", "-g", "12", "-pix_fmt", "yuv420p", "-c:a", "copy"
    )
    await house.event("first_key_frame")

    def probe() -> dict[str, str]:
        with av.open(f"http://{HOST}:{house.http}/live/cam/hls.m3u8", timeout=15) as container:
            return {stream.type: stream.codec_context.name for stream in container.streams}

    assert await asyncio.to_thread(probe) == {"video": "h264", "audio": "aac"}
    assert house.stream("cam").viewers["hls"] == 1
    await publisher.wait()


def avc(source: Clip, millis: int, length_size: int) -> list[bytes]:
    """The clip's pictures as messages from `millis` on, with lengths of so many bytes, behind their sequence header."""
    messages = []
    for unit in (unit for unit in source.units if unit.is_video):
        nals = [nal.rstrip(b"\0") for nal in unit.data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if nal]
        sets = {kind: [nal for nal in nals if nal[0] & 31 == kind] for kind in (7, 8)}
        key = bool(sets[7])
        if key:
            [sps], [pps] = sets[7], sets[8]
            lengths = 0xFC | length_size - 1
            record = bytes([1, *sps[1:4], lengths, 0xE1]) + struct.pack(">H", len(sps)) + sps
            record += b"\1" + struct.pack(">H", len(pps)) + pps
            messages.append(tag(9, millis, b"\x17\0\0\0\0" + record))
        slices = [nal for nal in nals if nal[0] & 31 not in (7, 8, 9)]
        body = b"".join(len(nal).to_bytes(length_size, "big") + nal for nal in slices)
        messages.append(tag(9, millis, (b"\x17" if key else b"\x27") + b"\1\0\0\0" + body))
        millis += 40
    return messages


async def test_a_clock_that_wraps_and_pictures_that_change_their_size(house: House) -> None:
    spec = ClipSpec(width=320, height=192, fps=25, gop=25, seconds=2, audio=None, bitrate_bps=300_000)
    small, large = clip(spec), clip(replace(spec, width=480, height=272))
    publisher = await Client.open(HOST, house.rtmp, "live")
    publisher.publish("cam")
    await publisher.until(b"NetStream.Publish.Start")
    # The clock wraps in the middle of the first clip, and jumps by an hour behind it.
    first, second = avc(small, 2**32 - 1000, 2), avc(large, 3_600_000, 4)
    playing = None
    for message in first + second:
        await publisher.send(message)
        await asyncio.sleep(0.01)
        if playing is None and any(event.kind == "first_key_frame" for event in house.events):
            playing = asyncio.create_task(asyncio.to_thread(play, house.url("cam")))
    await asyncio.sleep(0.3)
    stream = house.stream("cam")
    assert (stream.width, stream.height) == (480, 272)
    assert {name: count for name, count in stream.faults.items() if count} == {"timestamp_jump": 1}
    assert [event.detail["width"] for event in house.events if event.kind == "tracks"] == ["320", "480"]
    await publisher.send(command("deleteStream", 9, NULL, number(1)))
    assert playing is not None
    played = await playing
    steps = [after - before for before, after in pairwise(played.times["video"])]
    assert len(played.pictures) == 100
    assert min(steps) > 0
    assert steps.count(40) == 98, "but for the jump the clock goes on as it did"
    assert (await house.event("ended")).detail["reason"] == "the publisher ended the stream"
    publisher.close()


async def test_the_query_of_an_encoder_reaches_who_decides(house: House) -> None:
    queries = []

    def refuse(house: House, event: Event) -> None:
        queries.append((event.detail["app"], event.detail["name"], event.detail["query"]))
        house.relay.refuse_publish(int(event.detail["ticket"]), "the token has expired")

    house.decide = refuse
    for app, name in (
        ("live", "cam?Expires=1700000000&AccessKeyId=AK&Token=ab=="),
        ("live?Token=x", "cam"),
        ("a/b", "c"),
    ):
        client = await Client.open(HOST, house.rtmp, app)
        client.publish(name)
        got = await client.until(b"NetStream.Publish.")
        if app != "a/b":
            assert b"Publish.Denied" in got
            assert b"the token has expired" in got
        else:
            assert b"Publish.BadName" in got
        assert await client.rest() is not None, "and the connection is closed"
        client.close()
    assert queries == [
        ("live", "cam", "Expires=1700000000&AccessKeyId=AK&Token=ab=="), ("live", "cam", "Token=x"),
    ]  # fmt: skip
    assert house.relay.metrics()["relay_rtmp_denied_total"] == 3


async def test_ffmpeg_is_told_why_it_may_not(house: House, clips: dict[str, Path]) -> None:
    house.decide = lambda house, event: house.relay.refuse_publish(int(event.detail["ticket"]), "not today")
    publisher = await push(house, clips["libx264"], "cam")
    _, errors = await publisher.communicate()
    assert publisher.returncode != 0
    assert b"not today" in errors


async def test_a_second_publisher_of_a_stream_is_sent_away_and_the_first_goes_on(
    house: House, clips: dict[str, Path]
) -> None:
    first = await push(house, clips["libx264"], "cam")
    await house.event("first_key_frame")

    def decide(house: House, event: Event) -> None:
        with pytest.raises(CoreError, match="has a receiver already"):
            house.accept(event)
        house.relay.refuse_publish(int(event.detail["ticket"]), "the stream is being pushed already")

    house.decide = decide
    second = await push(house, clips["libx264"], "cam")
    _, errors = await second.communicate()
    assert b"being pushed already" in errors
    received = house.stream("cam").received
    await asyncio.sleep(0.5)
    assert house.stream("cam").received > received
    assert await first.wait() == 0


async def test_a_publisher_that_nobody_decides_about_waits_and_its_ticket_ends_with_it(house: House) -> None:
    house.decide = lambda house, event: None
    client = await Client.open(HOST, house.rtmp, "live")
    client.publish("cam")
    ticket = int((await house.event("publish")).detail["ticket"])
    got = await client.until(b"NetStream.Publish.Denied")
    assert b"nobody decided" in got
    await client.rest()
    with pytest.raises(CoreError, match="no publisher waits"):
        house.relay.accept_publish(ticket, "live", "cam")
    assert house.relay.stream("live", "cam") is None
    client.close()


async def test_a_killed_publisher_ends_its_stream_and_frees_the_name(house: House, clips: dict[str, Path]) -> None:
    publisher = await push(house, clips["libx264"], "cam")
    await house.event("first_key_frame")
    player = await Client.open(HOST, house.rtmp, "live")
    player.play("cam")
    await player.until(b"NetStream.Play.Start")
    publisher.kill()
    await publisher.wait()
    assert (await house.event("ended")).detail["reason"] == "closed by the peer"
    assert b"NetStream.Play.UnpublishNotify" in await player.rest()
    again = await push(house, clips["libx264"], "cam")
    await house.event("first_key_frame")
    again.kill()
    await again.wait()
    player.close()


async def test_a_publisher_is_thrown_out(house: House, clips: dict[str, Path]) -> None:
    publisher = await push(house, clips["libx264"], "cam")
    await house.event("first_key_frame")
    house.relay.close_receiver(house.stream("cam").receiver)
    assert await publisher.wait() != 0
    assert house.relay.stream("live", "cam") is None


async def refused(house: House, name: str) -> bytes:
    """What a player is told that may not play."""
    player = await Client.open(HOST, house.rtmp, "live")
    player.play(name)
    told = await player.until(b"NetStream.Play.") + await player.rest()
    player.close()
    return told


async def test_players_of_private_streams_show_a_signature(house: House, clips: dict[str, Path]) -> None:
    assert b"Play.StreamNotFound" in await refused(house, "cam")

    def decide(house: House, event: Event) -> None:
        house.accept(event, private=True)

    house.decide = decide
    publisher = await push(house, clips["libx264"], "cam")
    await house.event("first_key_frame")
    assert b"must be signed" in await refused(house, "cam")
    assert b"has expired" in await refused(house, f"cam?{house.relay.sign('live', 'cam', 1)}")
    assert b"does not belong" in await refused(house, f"cam?{house.relay.sign('live', 'other', FAR)}")
    signed = house.url("cam", f"?{house.relay.sign('live', 'cam', FAR)}")
    played = await asyncio.to_thread(play, signed)
    assert played.codecs == {"video": "h264", "audio": "aac"}
    await publisher.wait()


async def test_a_player_that_does_not_read_holds_nobody_up(house: House, clips: dict[str, Path]) -> None:
    publisher = await push(
        house, clips["libx264"], "cam", "-c:v", "libx264", "-qp", "1", "-g", "12", "-pix_fmt", "yuv420p", "-an"
    )
    await house.event("first_key_frame")
    slow = await Client.open(HOST, house.rtmp, "live")
    slow.play("cam")
    await asyncio.sleep(0.2)
    assert house.stream("cam").viewers["rtmp"] == 1
    played = await asyncio.to_thread(play, house.url("cam"))
    assert len(played.pictures) > 40
    steps = [after - before for before, after in pairwise(sorted(played.times["video"]))]
    assert max(steps) <= 42, "no picture is missing"
    slow.close()
    await publisher.wait()


async def raw(house: House, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, house.rtmp)
    writer.write(data)
    async with asyncio.timeout(15):
        try:
            got = await reader.read(-1)
        except ConnectionResetError:
            got = b""
    writer.close()
    return got


async def test_garbage_is_counted_and_closed(house: House) -> None:
    assert await raw(house, b"GET / HTTP/1.1\r\n\r\n") == b""
    await raw(house, HANDSHAKE + b"\xff" * 100)
    too_long = b"\x03\x00\x00\x00\xff\xff\xff\x14\x00\x00\x00\x00"
    await raw(house, HANDSHAKE + too_long)
    metrics: dict[str, Any] = house.relay.metrics()
    assert metrics["relay_rtmp_broken_total"] == 3
    assert house.relay.stream_count() == 0


async def test_one_host_that_says_nothing_keeps_only_itself_out(house: House, clips: dict[str, Path]) -> None:
    publisher = await push(house, clips["libx264"], "cam")
    await house.event("first_key_frame")
    silent = [await asyncio.open_connection(HOST, house.rtmp) for _ in range(128)]
    assert await raw(house, b"") == b"", "one too many is closed at once"
    assert house.relay.metrics()["relay_rtmp_refused_total"] == 1
    received = house.stream("cam").received
    await asyncio.sleep(0.3)
    assert house.stream("cam").received > received, "a publisher that was let in has its place"
    for _, writer in silent:
        writer.close()
    assert await publisher.wait() == 0
    player = await Client.open(HOST, house.rtmp, "live")
    player.close()
