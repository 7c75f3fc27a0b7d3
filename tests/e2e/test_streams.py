"""Streams that are pushed and pulled, end to end: ffmpeg before and behind a gateway that runs as users run it."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.clock import utc_now
from gateway.store import SecretBox
from tests.e2e.cameras import ipcs
from tests.e2e.encoders import pushing, recorded, serving
from tests.e2e.playing import ffprobe, flv, hls, watch
from tests.e2e.running import ADMIN, PASSWORD, RunningGateway
from tests.ports import free_ports

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    settings = {
        "GATEWAY_PULL__ALLOW_PRIVATE": "1",
        "GATEWAY_MEDIA__VIEWERS_MAX": "5",
        "GATEWAY_RTP__SILENCE": "2",
    }
    running = RunningGateway(tmp_path_factory.mktemp("streams"), settings)
    try:
        yield await running.start()
    finally:
        await running.close()


async def add(gateway: RunningGateway, name: str, **more: Any) -> None:
    """An active stream."""
    stream = {"name": name, "access_type": "RTMP", "encode_type": "H264", **more}
    await gateway.call("POST", "streams", stream)
    await gateway.call("PUT", f"streams/{name}", {"state": "ACTIVE"})


async def source(gateway: RunningGateway, name: str) -> dict[str, Any] | None:
    answer = await gateway.client.get(f"{gateway.url}/gb/v1/streams/{name}")
    assert answer.is_success, answer.text
    found: dict[str, Any] | None = answer.json()["source"]
    return found


async def comes_to(gateway: RunningGateway, name: str, state: str | None, seconds: float = 20.0) -> None:
    """Waits until the source stands so; None: until there is none."""
    found = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = await source(gateway, name)
                if (found["state"] if found else None) == state:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{name} is {found}, not {state}\n{gateway.log[-4000:]}") from None


async def flowing(gateway: RunningGateway, name: str) -> dict[str, str]:
    """Its addresses, once video flows."""
    await comes_to(gateway, name, "FLOWING")
    async with asyncio.timeout(10):
        while not (await gateway.call("GET", f"streams/{name}"))["stream_flow_info"].get("meta"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    addresses: dict[str, str] = (await gateway.call("GET", f"streams/{name}/endpoint"))["addresses"]
    return addresses


async def status(url: str, **headers: str) -> int:
    """What a viewer is answered."""
    async with httpx.AsyncClient(timeout=10) as client, client.stream("GET", url, headers=headers) as answer:
        return answer.status_code


def bare(address: str) -> str:
    return address.partition("?")[0]


async def test_obs_pushes_with_a_token_and_everybody_with_a_right_plays(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """The token is made as a client would, by the documented rule."""
    key = await gateway.call("POST", "credentials/aksks", {"name": "obs"})
    await add(gateway, "obs", access_key=key["access_key"])
    server = f"rtmp://127.0.0.1:{gateway.rtmp_port}/default"
    assert (await gateway.call("GET", "streams/obs/endpoint"))["push_flow_address"] == f"{server}/obs"

    expires = int(utc_now().timestamp()) + 600
    token = hmac.new(key["secret_key"].encode(), f"default/obs\n{expires}".encode(), hashlib.sha256).hexdigest()
    query = f"Expires={expires}&AccessKeyId={key['access_key']}&Token={token}"
    wrong = query[:-4] + "0000" if not query.endswith("0000") else query[:-4] + "1111"
    for refused in (f"{server}/obs", f"{server}/obs?{wrong}", f"{server}/nobody?{query}"):
        async with pushing(refused) as encoder:
            await encoder.ended()
        assert await source(gateway, "obs") is None

    async with pushing(f"{server}/obs?{query}") as encoder:
        play = await flowing(gateway, "obs")
        shown = (await gateway.call("GET", "streams/obs"))["stream_flow_info"]
        assert shown["is_publishing"] is True
        assert shown["meta"]["video"] == {"codec": "H264", "width": "320", "height": "180"}
        # signed addresses, in every format
        seen = await asyncio.to_thread(watch, await flv(play["http_flv"], 3), "flv")
        assert (seen.codecs, seen.size) == ({"video": "h264", "audio": "aac"}, (320, 180))
        assert len(seen.pictures) >= 20
        assert len((await asyncio.to_thread(watch, await hls(play["hls"], 2), "mpegts")).pictures) >= 15
        await recorded(play["rtmp"], tmp_path / "rtmp.mkv")
        streams = (await ffprobe(tmp_path / "rtmp.mkv"))["streams"]
        assert {one["codec_name"] for one in streams} == {"h264", "aac"}
        # the owner's token
        mine = gateway.client.headers["X-Auth-Token"]
        assert await status(bare(play["http_flv"]), **{"X-Auth-Token": mine}) == 200
        assert await status(bare(play["hls"]), **{"X-Auth-Token": mine}) == 200
        header = f"X-Auth-Token: {mine}\r\n"
        await recorded(bare(play["http_flv"]), tmp_path / "token.mkv", headers=header)
        # nobody else
        for url in (play["http_flv"], play["hls"]):
            assert await status(bare(url)) == 403
            assert await status(bare(url), **{"X-Auth-Token": "unknown"}) == 403
            assert await status(url[:-1] + ("A" if url[-1] != "A" else "B")) == 403
        with pytest.raises(AssertionError):
            await recorded(bare(play["rtmp"]), tmp_path / "refused.mkv")
        # a second encoder does not get in
        async with pushing(f"{server}/obs?{query}") as second:
            await second.ended()
        assert encoder.runs
        # stopped, nobody is served, and nobody gets in
        await gateway.call("PUT", "streams/obs", {"state": "STOPPED"})
        await encoder.ended()
    assert await source(gateway, "obs") is None
    async with pushing(f"{server}/obs?{query}") as encoder:
        await encoder.ended()
    events = (await gateway.client.get(f"{gateway.url}/gb/v1/streams/obs/events")).json()["events"]
    assert [event["cause"] for event in events[::-1]] == ["CONNECTED", "MEDIA", "ENDED"]
    figures = (await gateway.client.get(f"{gateway.url}/metrics")).text
    for outcome, times in (("accepted", 1), ("no_token", 1), ("wrong_token", 1), ("unknown", 1), ("taken", 1)):
        assert f'gateway_pushes_total{{outcome="{outcome}"}} {times}.0' in figures, outcome


async def test_encoders_push_by_rtsp_as_they_do_by_rtmp(gateway: RunningGateway, tmp_path: Path) -> None:
    key = await gateway.call("POST", "credentials/aksks", {"name": "rtsp"})
    await add(gateway, "overrtsp", access_key=key["access_key"])
    server = f"rtsp://127.0.0.1:{gateway.rtsp_port}/default"
    expires = int(utc_now().timestamp()) + 600
    token = hmac.new(key["secret_key"].encode(), f"default/overrtsp\n{expires}".encode(), hashlib.sha256).hexdigest()
    query = f"Expires={expires}&AccessKeyId={key['access_key']}&Token={token}"
    over_tcp = ("-f", "rtsp", "-rtsp_transport", "tcp")
    async with pushing(*over_tcp, f"{server}/overrtsp") as encoder:
        assert "401" in await encoder.ended()
    async with pushing(*over_tcp, f"{server}/overrtsp?{query}"):
        play = await flowing(gateway, "overrtsp")
        seen = await asyncio.to_thread(watch, await flv(play["http_flv"], 3), "flv")
        assert (seen.codecs, seen.size) == ({"video": "h264", "audio": "aac"}, (320, 180))
    await comes_to(gateway, "overrtsp", None)
    # the key itself, by digest
    bearer = f"rtsp://{key['access_key']}:{{}}@127.0.0.1:{gateway.rtsp_port}/default/overrtsp"
    async with pushing(*over_tcp, bearer.format("wrong")) as encoder:
        assert "401" in await encoder.ended()
    async with pushing(*over_tcp, bearer.format(key["secret_key"])):
        await flowing(gateway, "overrtsp")
        made = await gateway.client.post(f"{gateway.url}/gb/v1/access-keys", json={"description": "player"})
        mine = made.raise_for_status().json()
        player = f"rtsp://{mine['access_key']}:{{}}@127.0.0.1:{gateway.rtsp_port}/default/overrtsp"
        await recorded(player.format(mine["secret_key"]), tmp_path / "mine.mkv")
        assert (await ffprobe(tmp_path / "mine.mkv"))["streams"]
        with pytest.raises(AssertionError, match="401"):
            await recorded(player.format("wrong"), tmp_path / "wrong.mkv")
    await comes_to(gateway, "overrtsp", None)


async def test_the_gateway_makes_push_addresses(gateway: RunningGateway) -> None:
    key = await gateway.call("POST", "credentials/aksks", {"name": "made"})
    await add(gateway, "made", access_key=key["access_key"])
    answer = await gateway.client.post(f"{gateway.url}/gb/v1/streams/made/push-address?expires_in=60")
    async with pushing(answer.json()["address"]):
        await comes_to(gateway, "made", "FLOWING")
    await comes_to(gateway, "made", None)


async def test_without_a_key_anybody_pushes_and_a_public_stream_anybody_plays(gateway: RunningGateway) -> None:
    await add(gateway, "open", share_type="PUBLIC")
    async with pushing(f"rtmp://127.0.0.1:{gateway.rtmp_port}/vis/open"):
        play = await flowing(gateway, "open")
        assert "?" not in play["http_flv"]
        assert await status(play["http_flv"]) == 200
        await gateway.call("PUT", "streams/open", {"share_type": "PRIVATE"})
        assert await status(play["http_flv"]) == 403
        await gateway.call("PUT", "streams/open", {"share_type": "PUBLIC"})
        assert await status(play["http_flv"]) == 200
        await gateway.call("DELETE", "streams/open")
        async with asyncio.timeout(10):
            while await status(play["http_flv"]) != 404:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def test_addresses_expire_and_are_revoked(gateway: RunningGateway) -> None:
    await add(gateway, "revoked")
    async with pushing(f"rtmp://127.0.0.1:{gateway.rtmp_port}/default/revoked"):
        play = await flowing(gateway, "revoked")
        for url in (play["http_flv"], play["hls"]):
            assert await status(url) == 200
            assert await status(f"{bare(url)}?{_signed(gateway, 'revoked', -10)}") == 403
            assert await status(f"{bare(url)}?{_signed(gateway, 'revoked', 10)}") == 200
        answer = await gateway.client.delete(f"{gateway.url}/gb/v1/streams/revoked/addresses")
        assert answer.status_code == 204
        for url in (play["http_flv"], play["hls"]):
            assert await status(url) == 403
        again = await flowing(gateway, "revoked")
        for url in (again["http_flv"], again["hls"]):
            assert await status(url) == 200
    async with pushing(f"rtmp://127.0.0.1:{gateway.rtmp_port}/default/revoked"):
        await flowing(gateway, "revoked")
        assert await status(play["http_flv"]) == 403  # for good, also of the next push


def _signed(gateway: RunningGateway, name: str, ahead: int) -> str:
    """As the gateway signs, for another time."""
    key = SecretBox.load(gateway.data_dir / "secret.key").derive("play addresses")
    expires = int(utc_now().timestamp()) + ahead
    mac = hmac.new(key, f"default/{name}:{expires}".encode(), hashlib.sha256).digest()
    return f"expires={expires}&sign={base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


async def test_addresses_of_a_channel_are_revoked(gateway: RunningGateway) -> None:
    async with ipcs(gateway) as (_, [device]):
        channel = await gateway.wait_for(device, "ONLINE")
        addresses: list[str] = []
        for turn in range(2):  # the second call is made under the new generation too
            assert (await gateway.set_state(channel, "ACTIVE")).is_success
            channel = await gateway.wait_for(device, "INVITE_SUCCESS")
            assert channel.play is not None
            addresses.append(channel.play["http_flv"])
            assert await status(addresses[-1]) == 200
            if turn == 0:
                url = f"{gateway.url}/gb/v1/streams/{channel.stream_name}/addresses"
                assert (await gateway.client.delete(url)).status_code == 204
            assert await status(addresses[0]) == 403
            again = await gateway.channel(device)
            assert again is not None
            assert again.play is not None
            assert await status(again.play["http_flv"]) == 200
            assert (await gateway.set_state(channel, "STOPPED")).is_success
            channel = await gateway.wait_for(device, "ONLINE")


async def test_the_sixth_viewer_is_refused(gateway: RunningGateway) -> None:
    await add(gateway, "full", share_type="PUBLIC")
    async with pushing(f"rtmp://127.0.0.1:{gateway.rtmp_port}/default/full"):
        play = await flowing(gateway, "full")
        async with AsyncExitStack() as viewers, httpx.AsyncClient(timeout=10) as client:
            watching = []  # an iterator that is let go ends its connection
            for _ in range(5):
                answer = await viewers.enter_async_context(client.stream("GET", play["http_flv"]))
                assert answer.status_code == 200
                watching.append(answer.aiter_raw())
                await anext(watching[-1])
            assert await status(play["http_flv"]) == 503
            assert (await gateway.call("GET", "streams/full"))["stream_flow_info"]["num_play_clients"] == 5
        async with asyncio.timeout(10):
            while await status(play["http_flv"]) != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def test_a_foreign_projects_token_is_refused(gateway: RunningGateway) -> None:
    await add(gateway, "mine")
    made = await gateway.client.post(f"{gateway.url}/gb/v1/projects", json={"name": "other"})
    assert made.is_success, made.text
    identity = {"methods": ["password"], "password": {"user": {"name": ADMIN, "password": PASSWORD}}}
    scope = {"project": {"name": "other"}}
    answer = await gateway.client.post(
        f"{gateway.url}/v3/auth/tokens", json={"auth": {"identity": identity, "scope": scope}}
    )
    foreign = answer.headers["X-Subject-Token"]
    async with pushing(f"rtmp://127.0.0.1:{gateway.rtmp_port}/default/mine"):
        play = await flowing(gateway, "mine")
        for url in (bare(play["http_flv"]), bare(play["hls"])):
            assert await status(url, **{"X-Auth-Token": foreign}) == 403
            assert await status(url, **{"X-Auth-Token": gateway.client.headers["X-Auth-Token"]}) == 200


async def test_a_stream_is_pulled_and_comes_back_by_itself(gateway: RunningGateway) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/live.flv"
    await add(gateway, "pulled", access_type="HTTP-FLV", url=url)
    await comes_to(gateway, "pulled", "BROKEN")  # nobody is there yet
    refused = await gateway.client.get(f"{gateway.url}/v1/{gateway.project}/streams/pulled/endpoint")
    assert (refused.status_code, refused.json()["error_code"]) == (400, "VIS.0212")
    async with serving(port):
        play = await flowing(gateway, "pulled")
        seen = await asyncio.to_thread(watch, await flv(play["http_flv"], 3), "flv")
        assert (seen.codecs, seen.size) == ({"video": "h264", "audio": "aac"}, (320, 180))
    await comes_to(gateway, "pulled", "BROKEN")
    async with serving(port):
        play = await flowing(gateway, "pulled")
        assert await status(play["http_flv"]) == 200
        # a restart takes it up again
        gateway.kill()
    await gateway.start()
    async with serving(port):
        await flowing(gateway, "pulled")
    await gateway.call("PUT", "streams/pulled", {"state": "STOPPED"})
    assert await source(gateway, "pulled") is None
    events = (await gateway.client.get(f"{gateway.url}/gb/v1/streams/pulled/events")).json()["events"]
    causes = [event["cause"] for event in events]
    assert causes.count("CONNECTED") == 3
    assert causes.count("DISCONNECTED") >= 1
    assert causes.count("CONNECT_FAILED") >= 2
    assert next(event["detail"] for event in events if event["cause"] == "CONNECT_FAILED")
