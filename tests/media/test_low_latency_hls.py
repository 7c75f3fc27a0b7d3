"""Low-latency HLS: parts as they are made, playlists and parts that are asked for before they are there."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from gateway.simulator.clip import clip
from gateway.simulator.model import AudioCodec, VideoCodec
from media.relay import Relay
from tests.media.test_play_forms import HOST, NAMES, SPEC, SSRC, decode, send, sent_pictures


def numbers(playlist: str) -> tuple[int, int]:
    """Segment and number of the part that comes next."""
    hint = re.search(r'PRELOAD-HINT:TYPE=PART,URI="hls\.ll/(\d+)\.(\d+)\.m4s"', playlist)
    assert hint is not None, playlist
    return int(hint[1]), int(hint[2])


async def follow(client: httpx.AsyncClient, url: str, seconds: float) -> tuple[bytes, int]:
    """Plays by parts alone, each asked for before it is there; what came, and how many parts."""
    playlist = (await client.get(url)).text
    init = re.search(r'MAP:URI="([^"]+)"', playlist)
    assert init is not None
    data = [(await client.get(urljoin(url, init[1]))).content]
    seen: list[str] = []
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        for part in re.findall(r'EXT-X-PART:[^\n]*URI="([^"]+)"', playlist):
            if part not in seen:
                seen.append(part)
                data.append((await client.get(urljoin(url, part))).content)
        sequence, part = numbers(playlist)
        answer = await client.get(url, params={"_HLS_msn": sequence, "_HLS_part": part})
        if answer.status_code != 200:
            break
        playlist = answer.text
        assert numbers(playlist) > (sequence, part), "it was answered with what was asked for"
    return b"".join(data), len(seen)


@pytest.mark.parametrize(("video", "audio"), [(VideoCodec.H264, AudioCodec.AAC), (VideoCodec.H265, AudioCodec.G711A)])
async def test_a_player_of_parts_gets_every_picture(tmp_path: Path, video: VideoCodec, audio: AudioCodec) -> None:
    source = await asyncio.to_thread(clip, replace(SPEC, video=video, audio=audio))
    sent = await asyncio.to_thread(sent_pictures, source)
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=24000, rtp_port_max=24999, threads=1) as relay:
        port = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
        receiver = relay.open_receiver("test", "parts", transport="udp", ssrc=SSRC, peer=HOST, private=False)
        url = f"http://{HOST}:{port}/test/parts/hls.ll.m3u8"
        async with asyncio.TaskGroup() as group, httpx.AsyncClient(timeout=20) as client:
            camera = group.create_task(send(receiver.port, source))
            data, parts = await follow(client, url, 2.5)
            await camera
            far = await client.get(url, params={"_HLS_msn": 4_000_000_000})
            assert (far.status_code, far.json()["error_code"]) == (400, "segment_too_far_ahead")
            late = await client.get(urljoin(url, "hls.ll/1.1.m4s"))
            assert (late.status_code, late.json()["error_code"]) == (404, "segment_not_found")
            assert relay.streams()[0].viewers["hls"] == 1
    played = await asyncio.to_thread(decode, data, "mp4")
    assert parts >= 10
    assert played.codecs["video"] == NAMES[video]
    assert len(played.pictures) >= 50
    assert played.pictures == sent[: len(played.pictures)]


async def test_the_part_that_comes_next_is_waited_for(tmp_path: Path) -> None:
    source = await asyncio.to_thread(clip, SPEC)
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=24000, rtp_port_max=24999, threads=1) as relay:
        port = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
        receiver = relay.open_receiver("test", "parts", transport="udp", ssrc=SSRC, peer=HOST, private=False)
        url = f"http://{HOST}:{port}/test/parts/hls.ll.m3u8"
        async with asyncio.TaskGroup() as group, httpx.AsyncClient(timeout=20) as client:
            camera = group.create_task(send(receiver.port, source))
            sequence, part = numbers((await client.get(url)).text)
            answer = await client.get(urljoin(url, f"hls.ll/{sequence}.{part}.m4s"))
            assert answer.status_code == 200
            assert answer.content[4:8] == b"moof"
            assert answer.headers["cache-control"] == "max-age=60"
            camera.cancel()
