"""Who watches a stream, by whatever protocol, and how one of them is sent away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from gateway.simulator.clip import ClipSpec, clip
from media._core import CoreError, Viewer
from media.relay import Relay
from tests.media import rtmp_client, rtsp_client
from tests.media.test_play_forms import HOST, SSRC, send

SPEC = ClipSpec(width=320, height=192, fps=25, gop=25, seconds=4, bitrate_bps=200_000)


@asynccontextmanager
async def flowing(tmp_path: Path) -> AsyncIterator[tuple[Relay, str]]:
    """A relay with a stream `test/seen`, and where it plays."""
    source = await asyncio.to_thread(clip, SPEC)
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=23000, rtp_port_max=23999, threads=1) as relay:
        port = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
        receiver = relay.open_receiver("test", "seen", transport="udp", ssrc=SSRC, peer=HOST, private=False)
        async with asyncio.TaskGroup() as group:
            camera = group.create_task(send(receiver.port, source))
            yield relay, f"http://{HOST}:{port}/test/seen"
            camera.cancel()


async def viewers(relay: Relay, *protocols: str) -> dict[str, Viewer]:
    """All viewers by protocol, once these are among them."""
    async with asyncio.timeout(10):
        while True:
            found = {viewer.protocol: viewer for viewer in relay.viewers("test", "seen")}
            if found.keys() == set(protocols):
                return found
            await asyncio.sleep(0.02)


async def test_a_live_viewer_is_listed_and_sent_away(tmp_path: Path) -> None:
    async with flowing(tmp_path) as (relay, base), httpx.AsyncClient(headers={"User-Agent": "a player"}) as client:
        async with client.stream("GET", f"{base}.live.mp4") as answer, connect(f"ws{base[4:]}.live.ts") as socket:
            pieces = answer.aiter_raw()
            await anext(pieces)
            await socket.recv()
            found = await viewers(relay, "http-fmp4", "ws-ts")
            seen = found["http-fmp4"]
            assert seen.user_agent == "a player"
            assert seen.peer is not None
            assert seen.peer.startswith(f"{HOST}:")
            assert seen.bytes_out > 0
            assert seen.skips == 0
            assert relay.streams()[0].viewers["ws-ts"] == 1
            assert relay.kick(found["ws-ts"].id)
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await asyncio.wait_for(socket.recv(), 5)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
            assert not relay.kick(found["ws-ts"].id)
            await viewers(relay, "http-fmp4")
            assert relay.kick(seen.id)
            async with asyncio.timeout(20):
                async for _ in pieces:  # what was on its way, then the end
                    pass
        await viewers(relay)


async def test_a_player_of_hls_is_listed_and_refused(tmp_path: Path) -> None:
    async with flowing(tmp_path) as (relay, base), httpx.AsyncClient() as client:
        playlist = f"{base}/hls.m3u8"
        answer = await client.get(playlist)
        assert answer.status_code == 200
        other = await client.get(playlist, headers={"User-Agent": "another"})
        found = {viewer.user_agent: viewer for viewer in relay.viewers("test", "seen")}
        assert found["another"].bytes_out == len(other.content)
        assert relay.kick(found["another"].id)
        refused = await client.get(playlist, headers={"User-Agent": "another"})
        assert (refused.status_code, refused.json()["error_code"]) == (403, "viewer_kicked")
        assert (await client.get(playlist)).status_code == 200
        assert len(relay.viewers("test", "seen")) == 1


async def test_nobody_watches_what_is_not_there(tmp_path: Path) -> None:
    async with flowing(tmp_path) as (relay, _):
        assert relay.viewers("test", "other") == []
        assert not relay.kick(1_000_000)
    with pytest.raises(CoreError):
        relay.viewers("test", "seen")


async def test_a_subscriber_is_a_viewer_and_can_be_sent_away(tmp_path: Path) -> None:
    async with flowing(tmp_path) as (relay, _):
        await viewers(relay)
        units = relay.subscribe(
            relay.streams()[0].receiver, protocol="whep", peer="2001:db8::7", agent="a browser" + "." * 300
        )
        unit = await anext(units)
        assert unit.kind == "tracks"
        await anext(units)
        seen = (await viewers(relay, "whep"))["whep"]
        assert seen.peer == "2001:db8::7"
        assert seen.user_agent == ("a browser" + "." * 300)[:256]
        assert seen.bytes_out > 0
        assert relay.kick(seen.id)
        async with asyncio.timeout(20):
            async for _unit in units:  # what was on its way, then the end
                pass
        await viewers(relay)


async def test_players_of_rtmp_and_rtsp_are_listed_and_sent_away(tmp_path: Path) -> None:
    async with flowing(tmp_path) as (relay, _):
        rtmp, rtsp = relay.listen_rtmp(HOST, 0), relay.listen_rtsp(HOST, 0)
        one, other = await rtmp_client.Client.open(HOST, rtmp, "test"), await rtsp_client.Client.open(HOST, rtsp)
        try:
            one.play("seen")
            await one.until(b"NetStream.Play.Start")
            url = f"rtsp://{HOST}:{rtsp}/test/seen"
            await other.ask("OPTIONS", url, **{"User-Agent": "a wall of screens" + "." * 300})
            assert (await other.play(url)).status == 200
            found = await viewers(relay, "rtmp", "rtsp")
            assert found["rtmp"].user_agent == "LNX 9,0,124,2"
            assert found["rtsp"].user_agent == ("a wall of screens" + "." * 300)[:256]
            for protocol, client in (("rtmp", one), ("rtsp", other)):
                host, port = client.writer.get_extra_info("sockname")[:2]
                assert found[protocol].peer == f"{host}:{port}"
            assert relay.kick(found["rtmp"].id)
            await one.rest()
            await other.packet()  # whoever was not sent away plays on
            await viewers(relay, "rtsp")
            assert relay.kick(found["rtsp"].id)
            await other.end()
            await viewers(relay)
        finally:
            one.close()
            other.close()
