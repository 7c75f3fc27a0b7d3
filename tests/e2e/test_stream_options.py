"""What may be chosen for a stream, end to end: ffmpeg pushes to a gateway as users run it, foreign programs play."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.clock import utc_now
from tests.e2e.encoders import pushing, recorded
from tests.e2e.playing import ffprobe, watch, websocket_flv
from tests.e2e.running import RunningGateway
from tests.e2e.test_retention import NOON, reached, slices
from tests.media.rtsp_client import Client

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

PATIENCE = 20.0
ENOUGH = 60_000
"""Bytes of some two seconds: what foreign programs need to know what they are shown."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    running = RunningGateway(tmp_path_factory.mktemp("options"))
    try:
        yield await running.start()
    finally:
        await running.close()


async def add(gateway: RunningGateway) -> tuple[str, dict[str, str]]:
    """The name of a new active stream; where it plays, and as `push`, where it is pushed to."""
    name = f"options-{secrets.token_hex(4)}"
    await gateway.call("POST", "streams", {"name": name, "access_type": "RTMP", "encode_type": "H264"})
    await gateway.call("PUT", f"streams/{name}", {"state": "ACTIVE"})
    endpoint = await gateway.call("GET", f"streams/{name}/endpoint")
    return name, {"push": endpoint["push_flow_address"], **endpoint["addresses"]}


async def choose(gateway: RunningGateway, name: str, **chosen: Any) -> dict[str, Any]:
    answer = await gateway.client.put(f"{gateway.url}/gb/v1/streams/{name}/options", json=chosen)
    assert answer.is_success, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def answered(url: str) -> tuple[int, str]:
    """Status, and what an error says."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client, client.stream("GET", url) as answer:
        return answer.status_code, "" if answer.is_success else (await answer.aread()).decode()


async def flows(gateway: RunningGateway, name: str, *, sound: str | None) -> None:
    """Waits until it does, with this sound: another one begins with a key frame."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await gateway.client.get(f"{gateway.url}/gb/v1/streams/{name}")
            if (answer.json()["stream"] or {}).get("audio_codec", "") == sound:
                return
            await asyncio.sleep(0.05)


async def codecs(url: str, file: Path) -> list[str]:
    """The codecs that ffprobe finds in what a viewer gets, pictures first."""
    taken = bytearray()
    async with asyncio.timeout(PATIENCE), httpx.AsyncClient() as client, client.stream("GET", url) as answer:
        assert answer.status_code == 200, (await answer.aread()).decode()
        async for piece in answer.aiter_raw():
            taken += piece
            if len(taken) >= ENOUGH:
                break
    file.write_bytes(taken)
    streams = (await ffprobe(file))["streams"]
    return [one["codec_name"] for one in sorted(streams, key=lambda one: one["codec_type"], reverse=True)]


async def test_a_stream_is_given_out_as_was_chosen_and_all_of_it_again(gateway: RunningGateway, tmp_path: Path) -> None:
    name, play = await add(gateway)
    async with pushing(play["push"]):
        await flows(gateway, name, sound="AAC")
        view = await choose(gateway, name, forms=["ts"], audio=False)
        assert (view["effective"]["forms"], view["effective"]["audio"]) == (["ts"], False)
        status, said = await answered(play["http_flv"])
        assert status == 403 and "form_not_allowed" in said and "its options say so" in said
        await flows(gateway, name, sound=None)
        assert await codecs(play["http_ts"], tmp_path / "silent.ts") == ["h264"]
        assert (await choose(gateway, name))["own"] == dict.fromkeys(view["own"])
        await flows(gateway, name, sound="AAC")
        assert (await answered(play["http_flv"]))[0] == 200
        assert await codecs(play["http_ts"], tmp_path / "whole.ts") == ["h264", "aac"]


async def test_a_stream_is_recorded_as_was_chosen_for_it(gateway: RunningGateway) -> None:
    """From the moment on; other streams go on as the setting says. Of HLS the playlist alone names all pictures."""
    name, play = await add(gateway)
    kept = {"retention_forever": True, "store_type": "local", "timezone": NOON, "state": "ACTIVE"}
    await gateway.call("PUT", f"streams/{name}/retention", kept)
    async with pushing(play["push"]):
        spool = gateway.data_dir / "spool"
        await reached(lambda: asyncio.to_thread(lambda: list(spool.rglob("*.flv.part"))), bool, 20, gateway)
        assert (await choose(gateway, name, recording_form="hls"))["effective"]["recording_form"] == "hls"
        found = await reached(lambda: slices(gateway, name), bool, 20, gateway)
        await asyncio.sleep(3)
    found = await reached(
        lambda: slices(gateway, name),
        lambda found: len(found) > 1 and {one["state"] for one in found} == {"UPLOADED"},
        30,
        gateway,
    )
    files = [gateway.data_dir / "recordings" / gateway.project / one["path"] for one in found]
    assert [file.suffix for file in files] == [".flv"] + [".mp4"] * (len(files) - 1)
    assert not files[0].with_suffix(".m3u8").exists()
    for file in files[1:]:
        listed = await ffprobe(file.with_suffix(".m3u8"))
        assert {one["codec_name"] for one in listed["streams"]} == {"h264", "aac"}
        packets = [len(each["packets"]) for each in (listed, await ffprobe(file))]
        assert packets[0] == packets[1] > 20


async def test_who_asks_for_aac_gets_it_with_the_right_to_the_stream(gateway: RunningGateway, tmp_path: Path) -> None:
    name, play = await add(gateway)
    mine = gateway.client.headers["X-Auth-Token"]
    plain = {form: address.partition("?")[0] for form, address in play.items() if address}
    alone, beside = plain["http_flv"], plain["http_flv"].replace(name, f"{name}~aac")
    async with pushing("-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1", play["push"]):
        await flows(gateway, name, sound="PCMA")
        for refused in (alone, f"{alone}?expires=1000000000&sign=AAAA", f"{alone}?token=unknown"):
            joint = "&" if "?" in refused else "?"
            assert (await answered(f"{refused}{joint}audio=aac"))[0] == 403, refused
        assert (await answered(beside))[0] == 404, "and nothing was made"
        wanted = {form: f"{address}&audio=aac" for form, address in play.items() if address}
        assert await codecs(wanted["http_flv"], tmp_path / "aac.flv") == ["h264", "aac"]
        assert await codecs(f"{alone}?token={mine}", tmp_path / "as-it-is.flv") == ["h264", "pcm_alaw"]
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            assert "&audio=aac" in (await client.get(wanted["hls"])).text
        assert await codecs(wanted["http_ts"], tmp_path / "aac.ts") == ["h264", "aac"]
        seen = watch(await websocket_flv(wanted["ws_flv"], 2.0), "flv")
        assert seen.codecs == {"video": "h264", "audio": "aac"} and len(seen.pictures) > 10
        for form in ("rtmp", "rtsp"):
            await recorded(wanted[form], tmp_path / f"{form}.mkv", seconds=0.5)
            found = (await ffprobe(tmp_path / f"{form}.mkv"))["streams"]
            assert {one["codec_name"] for one in found} == {"h264", "aac"}, form
        # its own address wants the same right
        for refused in (beside, f"{beside}?{play['http_flv'].partition('?')[2]}", f"{beside}?token=unknown"):
            assert (await answered(refused))[0] == 403, refused
        assert (await answered(f"{beside}?token={mine}"))[0] == 200


async def test_a_playback_with_aac_is_steered_like_any_other(gateway: RunningGateway) -> None:
    name, play = await add(gateway)
    kept = {"retention_forever": True, "store_type": "local", "timezone": NOON, "state": "ACTIVE"}
    await gateway.call("PUT", f"streams/{name}/retention", kept)
    begin = utc_now() - timedelta(seconds=5)
    async with pushing("-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1", "-t", "5", play["push"]) as encoder:
        await encoder.ended()
    await reached(
        lambda: slices(gateway, name),
        lambda found: bool(found) and {one["state"] for one in found} == {"UPLOADED"},
        30,
        gateway,
    )
    answer = await gateway.client.post(
        f"{gateway.url}/gb/v1/streams/{name}/playbacks",
        json={"begin": begin.isoformat(), "end": utc_now().isoformat()},
    )
    assert answer.is_success, answer.text
    path, _, query = answer.json()["play"]["rtsp"].partition("?")
    client = await Client.open("127.0.0.1", gateway.rtsp_port)
    try:
        refused = await client.ask("DESCRIBE", f"{path}?audio=aac")
        assert refused.status in {401, 403}
        described = await client.ask("DESCRIBE", f"{path}?{query}&audio=aac")
        assert described.status == 200 and b"mpeg4-generic/16000" in described.body.lower(), described.body
        length = re.search(rb"a=range:npt=0.000-([0-9.]+)", described.body)
        assert length is not None and float(length[1]) > 3, described.body
        await client.set_up(f"{path}?{query}&audio=aac")
        await client.set_up(path, 1, "RTP/AVP/TCP;unicast;interleaved=2-3")
        for wish, expected in (("npt=0-", 0.0), ("npt=3.1-", 3.0), ("npt=1.2-", 1.0)):
            sought = await client.ask("PLAY", path, Range=wish)
            assert sought.status == 200, sought
            found = re.fullmatch(r"npt=([0-9.]+)-[0-9.]+", sought.headers["range"])
            assert found is not None, sought.headers
            assert abs(float(found[1]) - expected) < 1.2, (wish, sought.headers)
            known = len(client.packets)
            channels: set[int] = set()
            while not {0, 2} <= channels:
                await client.packet()
                channels = {channel for channel, _ in client.packets[known:]}
    finally:
        client.close()
