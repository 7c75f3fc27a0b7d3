"""From typing an id into a camera to the picture on the screen, and back to silence."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.simulator.clip import ClipSpec
from gateway.simulator.events import EventKind
from gateway.simulator.model import AudioCodec, VideoCodec
from tests.e2e.cameras import SMALL, cameras, ipc, ipcs
from tests.e2e.playing import NAMES, Seen, ffprobe, flv, hls, skew, until, watch, websocket_flv
from tests.e2e.running import Channel, RunningGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.peer]

SOUNDS = {AudioCodec.AAC: "aac", AudioCodec.G711A: "pcm_alaw"}
SKEW_MAX_S = 0.08
WATCHED_S = 4.0


def rtp_sockets(gateway: RunningGateway) -> set[int]:
    """The UDP ports of the range for media that the gateway holds."""
    assert gateway.process is not None
    held = psutil.Process(gateway.process.pid).net_connections("udp4")
    return {one.laddr.port for one in held if gateway.rtp_port <= one.laddr.port < gateway.rtp_port + 500}


async def test_a_device_registers_and_tells_what_it_is(gateway: RunningGateway) -> None:
    [device_id] = await gateway.provision()
    assert (await gateway.call("GET", f"devices/{device_id}"))["state"] == "UNREGISTERED"
    async with cameras(gateway, [ipc(device_id)]) as running:
        channel = await gateway.wait_for(device_id, "ONLINE")
        device = await gateway.call("GET", f"devices/{device_id}")
        assert device["state"] == "ONLINE"
        [listed] = device["channels"]
        assert (listed["channel_id"], listed["stream_name"]) == (device_id, channel.stream_name)
        stream = await gateway.call("GET", f"streams/{channel.stream_name}")
        assert stream["stream_flow_info"]["is_publishing"] is False
        told: dict[str, str] = {}

        async def informed() -> None:
            while not (told.get("manufacturer") and told.get("user_agent")):  # written a little later
                told.update((await gateway.client.get(f"{gateway.url}/gb/v1/devices/{device_id}")).json())
                await asyncio.sleep(0.05)

        await asyncio.wait_for(informed(), 20)
        assert told["channels_query"] == "QUERIED"
        assert told["user_agent"] == "Simulated-Device/1.0"
    assert running.count(EventKind.UNREGISTERED) == 1
    await gateway.wait_for(device_id, "OFFLINE", "UNREGISTERED")


async def test_a_wrong_password_does_not_register(gateway: RunningGateway) -> None:
    [device_id] = await gateway.provision()
    async with cameras(gateway, [ipc(device_id, password="Wrong-pass-2")]) as running:
        await running.wait_for(EventKind.REGISTER_FAILED)
    assert (await gateway.call("GET", f"devices/{device_id}"))["state"] == "UNREGISTERED"


@pytest.mark.parametrize(
    ("video", "audio"),
    [
        (VideoCodec.H264, AudioCodec.G711A),
        (VideoCodec.H264, AudioCodec.AAC),
        (VideoCodec.H265, AudioCodec.AAC),
    ],
)
async def test_every_form_plays_in_step(
    gateway: RunningGateway, tmp_path: Path, video: VideoCodec, audio: AudioCodec
) -> None:
    spec = replace(SMALL, video=video, audio=audio)
    async with ipcs(gateway, clip=spec) as (_, [device_id]):
        channel = await gateway.wait_for(device_id, "ONLINE")
        assert (await gateway.set_state(channel, "ACTIVE")).status_code == 200
        channel = await gateway.wait_for(device_id, "INVITE_SUCCESS")
        played = await watch_all_forms(channel)
        for form, data in played.items():
            container = {"ts": "mpegts", "fmp4": "mp4"}.get(form, "flv")
            seen = await asyncio.to_thread(watch, data, container)
            check_tracks(form, seen, spec)
            if not (container == "flv" and video is VideoCodec.H265):  # Debian's FFmpeg reads no enhanced FLV
                await check_by_ffprobe(data, tmp_path / form, spec)
            if "audio" in seen.codecs:
                assert abs(skew(seen, spec)) < SKEW_MAX_S, form
    assert channel.stream is not None


async def watch_all_forms(channel: Channel) -> dict[str, bytes]:
    assert channel.play is not None
    played = await asyncio.gather(
        flv(channel.play["http_flv"], WATCHED_S),
        websocket_flv(channel.play["ws_flv"], WATCHED_S),
        hls(channel.play["hls"], WATCHED_S),
        hls(channel.play["hls_fmp4"], WATCHED_S),
    )
    return dict(zip(("flv", "ws-flv", "ts", "fmp4"), played, strict=True))


def check_tracks(form: str, seen: Seen, spec: ClipSpec) -> None:
    assert spec.video is not None
    assert spec.audio is not None
    assert seen.codecs["video"] == NAMES[spec.video], form
    assert seen.size == (spec.width, spec.height), form
    assert seen.rate == pytest.approx(spec.fps, rel=0.05), form
    for kind, times in seen.decoding_times.items():
        assert all(after > before for before, after in pairwise(times)), (form, kind)
    if form == "ts" and spec.audio is not AudioCodec.AAC:
        assert "audio" not in seen.codecs, "FFmpeg knows no stream type for G.711 in TS"
    else:
        assert seen.codecs["audio"] == SOUNDS[spec.audio], form


async def check_by_ffprobe(data: bytes, file: Path, spec: ClipSpec) -> None:
    assert spec.video is not None
    file.write_bytes(data)
    found = await ffprobe(file)
    [video] = [stream for stream in found["streams"] if stream.get("codec_type") == "video"]
    assert (video["codec_name"], video["width"], video["height"]) == (NAMES[spec.video], spec.width, spec.height)
    over, _, under = video["avg_frame_rate"].partition("/")
    assert int(over) / int(under) == pytest.approx(spec.fps, rel=0.05)
    for kind in ("video", "audio"):
        times = [
            float(one["dts_time"]) for one in found["packets"] if one.get("codec_type") == kind and "dts_time" in one
        ]
        assert all(after > before for before, after in pairwise(times)), kind


async def test_an_invitation_is_quick_and_cancelling_gives_everything_back(
    gateway: RunningGateway, record_property: Callable[[str, object], None]
) -> None:
    async with ipcs(gateway) as (running, [device_id]):
        channel = await gateway.wait_for(device_id, "ONLINE")
        before = rtp_sockets(gateway)
        started = time.perf_counter()
        assert (await gateway.set_state(channel, "ACTIVE")).status_code == 200
        channel = await gateway.wait_for(device_id, "INVITE_SUCCESS")
        assert channel.play is not None
        first = await first_bytes(channel.play["http_flv"])
        record_property("call_to_first_bytes_ms", round((time.perf_counter() - started) * 1000))
        assert first.startswith(b"FLV")
        assert rtp_sockets(gateway) - before, "the call has a port of its own"
        described = await gateway.call("GET", f"streams/{channel.stream_name}")
        assert described["stream_flow_info"]["is_publishing"] is True
        address = channel.play["http_flv"]

        assert (await gateway.set_state(channel, "STOPPED")).status_code == 200
        await gateway.wait_for(device_id, "ONLINE")
        await running.wait_for(EventKind.STREAM_ENDED, device_id)
        assert running.figures.streaming == 0
        await until(lambda: rtp_sockets(gateway) <= before)
        async with httpx.AsyncClient() as client:
            assert (await client.get(address)).status_code == 404
        channel = await gateway.wait_for(device_id, "ONLINE")
        assert (channel.stream, channel.play, channel.failure) == (None, None, None)


async def first_bytes(url: str) -> bytes:
    async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
        assert response.status_code == 200
        async for piece in response.aiter_raw():
            if piece:
                return piece
    raise AssertionError("the stream ended")
