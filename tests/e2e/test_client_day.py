"""A client's whole day on the VIS API: from the token to the last deletion, each answer as the document has it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.clock import utc_now
from tests.e2e.cameras import SMALL, cameras, ipc
from tests.e2e.playing import ffprobe, flv, watch
from tests.e2e.running import ADMIN, DEVICE_PASSWORD, PASSWORD, RunningGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.peer]

DONE = {"result": "success"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    """A gateway of its own: what it counts is what this client did."""
    folder = tmp_path_factory.mktemp("day")
    settings = {"GATEWAY_RETENTION__LOCAL_DIR": str(folder / "kept"), "GATEWAY_ACCOUNTS__SUBSCRIPTION_REQUIRED": "1"}
    running = RunningGateway(folder, settings)
    try:
        yield await running.start()
    finally:
        await running.close()


class Client:
    """Knows an address, a name and a password, and the document."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=20.0)
        self._project = ""

    async def log_in(self) -> None:
        """§3.1: a token for the project of the given name."""
        user = {"name": ADMIN, "password": PASSWORD, "domain": {"name": ADMIN}}
        identity = {"methods": ["password"], "password": {"user": user}}
        auth = {"identity": identity, "scope": {"project": {"name": "default"}}}
        answer = await self._http.post("/v3/auth/tokens", json={"auth": auth})
        assert answer.status_code == 201, answer.text
        self._http.headers["X-Auth-Token"] = answer.headers["x-subject-token"]
        projects = (await self._http.get("/v3/projects")).json()["projects"]
        self._project = next(one["id"] for one in projects if one["name"] == "default")

    async def __call__(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """What a call answers that must succeed."""
        answer = await self._send(method, path, body, query)
        assert answer.status_code == (204 if method == "DELETE" and "/aksks/" in path else 200), answer.text
        return answer.json() if answer.content else None

    async def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Status and code of a call that must not succeed."""
        answer = await self._send(method, path, body, {})
        assert set(answer.json()) == {"error_code", "error_msg"}, answer.text
        return answer.status_code, answer.json()["error_code"]

    async def ours(self, method: str, path: str) -> Any:
        """A call of the operator's own API."""
        answer = await self._http.request(method, f"/gb/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def until(self, path: str, good: Callable[[Any], bool], **query: str) -> Any:
        """Asks again until the answer is good."""
        async with asyncio.timeout(20.0):
            while not good(found := await self("GET", path, None, **query)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return found

    async def close(self) -> None:
        await self._http.aclose()

    async def _send(self, method: str, path: str, body: Any, query: dict[str, str]) -> httpx.Response:
        return await self._http.request(method, f"/v1/{self._project}/{path}", json=body, params=query)


async def test_from_the_token_to_the_last_deletion(gateway: RunningGateway, tmp_path: Path) -> None:
    client = Client(gateway.url)
    try:
        await client.log_in()
        await subscribe(client)
        device_id = await provision(client)
        async with cameras(gateway, [ipc(device_id, username="0100")]):
            name = await register_and_invite(client, device_id)
            await play(client, name)
            await retain(client, name, tmp_path)
            await see_statistics(client, device_id)
            await stop(client, device_id)
            await plan(client, device_id)
        await client.until(f"devices/{device_id}", lambda device: device["state"] == "OFFLINE")
        await push(client, tmp_path)
        await leave(client, device_id)
    finally:
        await client.close()


async def subscribe(client: Client) -> None:
    assert await client.refused("GET", "streams") == (403, "VIS.0004")
    subscription = await client("POST", "subscription")
    assert subscription["is_subscribed"] is True
    assert set(subscription["quota"]) >= {"stream", "active_stream", "device", "password", "aksk"}
    assert await client.refused("POST", "subscription") == (400, "VIS.0018")


async def provision(client: Client) -> str:
    credential = {"username": "0100", "password": DEVICE_PASSWORD, "type": "normal", "description": "gate"}
    assert (await client("POST", "credentials/codes", credential))["username"] == "0100"
    body = {"type": "ipc", "username": "0100", "quantity": 1, "suffix": "day", "description": "the gate"}
    [device_id] = (await client("POST", "devices", body))["device_id_list"]
    assert (await client("GET", "subscription"))["quota"]["device"]["used"] == 1
    assert (await client("GET", f"devices/{device_id}"))["state"] == "UNREGISTERED"
    return str(device_id)


async def register_and_invite(client: Client, device_id: str) -> str:
    """Returns the name of the stream."""
    device = await client.until(f"devices/{device_id}", lambda device: device["channels_query"] == "QUERIED")
    assert device["state"] == "ONLINE"
    [channel] = device["channels"]
    assert channel["suffix"] == "day"
    assert channel["stream_name"].endswith("_day")
    path = f"devices/{device_id}/channels/{channel['channel_id']}"
    assert await client("PUT", path, {"state": "active"}) == DONE
    assert await client.refused("PUT", path, {"state": "ACTIVE"}) == (400, "VIS.0308")
    await channel_is(client, device_id, "INVITE_SUCCESS")
    assert await client.refused("DELETE", f"devices/{device_id}") == (400, "VIS.0303")
    return str(channel["stream_name"])


async def play(client: Client, name: str) -> None:
    stream = await client("GET", f"streams/{name}")
    assert (stream["access_type"], stream["state"], stream["transfer_protocol"]) == ("GB28181", "ACTIVE", "UDP")
    endpoint = await client("GET", f"streams/{name}/endpoint")
    seen = watch(await flv(endpoint["pull_flow_address"], 3.0), "flv")
    assert seen.codecs["video"] == "h264"
    assert seen.rate == pytest.approx(SMALL.fps, rel=0.1)
    flow = (await client("GET", f"streams/{name}"))["stream_flow_info"]
    assert flow["is_publishing"] is True
    assert flow["meta"]["video"] == {"codec": "H264", "width": "320", "height": "180"}
    listed = await client("GET", "streams", None, offset="1", limit="10", stream_state="active")
    assert (listed["total"], listed["entries"][0]["name"]) == (1, name)


async def retain(client: Client, name: str, folder: Path) -> None:
    """Keeps some seconds, and plays what was kept."""
    wanted = {"retention_in_hour": 1, "store_type": "local", "path": "gate", "timezone": "GMT+8:00", "state": "ACTIVE"}
    assert await client("PUT", f"streams/{name}/retention", wanted) == DONE
    assert await client.refused("PUT", f"streams/{name}/retention", {**wanted, "path": "x"}) == (400, "VIS.0205")
    assert (await client("GET", f"streams/{name}"))["retention"]["slice_in_minute"] == 5
    await asyncio.sleep(4.0)
    stopped = {"timezone": "GMT+8:00", "state": "STOPPED"}
    assert await client("PUT", f"streams/{name}/retention", stopped) == DONE
    hour, now = timedelta(hours=1), utc_now()
    span = {"start_time": f"{now - hour:%Y-%m-%dT%H:%M:%SZ}", "end_time": f"{now + hour:%Y-%m-%dT%H:%M:%SZ}"}

    def stored(kept: Any) -> bool:
        return bool(kept["entries"]) and all(one["state"] == "UPLOADED" for one in kept["entries"])

    kept = await client.until(f"streams/{name}/retention/slices", stored, **span)
    slice_ = kept["entries"][0]
    assert slice_["path"].startswith(f"gate/{name}/")
    assert slice_["path"].endswith(".flv")
    [file] = [one for one in folder.parent.parent.rglob("*.flv") if str(one).endswith(slice_["path"])]
    found = await ffprobe(file)
    shown = sum(packet["codec_type"] == "video" for packet in found["packets"])
    assert 2 * SMALL.fps <= shown <= 6 * SMALL.fps


async def see_statistics(client: Client, device_id: str) -> None:
    for name in ("pastOnlineDeviceList", "todayNewOnlineDeviceList"):
        [device] = await client("GET", f"operation/{name}")
        assert (device["device_id"], device["state"]) == (device_id, "ONLINE")
    for name in ("todayDroppedDeviceList", "longTermOfflineDeviceList", "shortTermOfflineDeviceList"):
        assert await client("GET", f"operation/{name}") == []
    assert await client("GET", "operation/notSendDataDeviceList") == []


async def stop(client: Client, device_id: str) -> None:
    """Ends the call; what arrived of what was expected stands in the day's list."""
    channel = await channel_of(client, device_id)
    path = f"devices/{device_id}/channels/{channel['channel_id']}"
    assert await client("PUT", path, {"state": "STOPPED"}) == DONE
    await channel_is(client, device_id, "ONLINE")
    rates = await client.until("operation/todayPacketReceivedRateDeviceList", bool)
    received, _, expected = rates[0]["packet_received_rate"].partition("/")
    assert rates[0]["device_id"] == device_id
    assert int(received) == int(expected) > 50


async def plan(client: Client, device_id: str) -> None:
    channel = await channel_of(client, device_id)
    path = f"devices/{device_id}/channels/{channel['channel_id']}"
    strategy = {
        "start_time": "00:10", "end_time": "23:50", "total_length": 120,
        "random_strategy": "random", "periodicity": "day", "state": "active",
    }  # fmt: skip
    assert await client("PUT", f"{path}/access-strategy", strategy) == DONE
    told = (await channel_of(client, device_id))["access_strategy"]
    assert told == {**strategy, "random_strategy": "RANDOM", "periodicity": "DAY", "state": "ACTIVE"}
    assert (await client("GET", "subscription"))["quota"]["random_access_time"] == {"total": 240, "used": 120}
    assert await client.refused("PUT", path, {"state": "ACTIVE"}) == (400, "VIS.0310")
    assert await client("PUT", f"{path}/access-strategy", {"state": "STOPPED"}) == DONE
    assert (await client("GET", "subscription"))["quota"]["random_access_time"]["used"] == 0


async def push(client: Client, folder: Path) -> None:
    """A stream of one's own, pushed with a token as docs/vis-api.md says."""
    keys = await client("POST", "credentials/aksks", {"name": "encoder"})
    access_key = keys["access_key"]
    body = {"name": "studio", "access_type": "rtmp", "encode_type": "h264", "access_key": access_key}
    assert (await client("POST", "streams", body))["state"] == "STOPPED"
    assert await client.refused("GET", "streams/studio/endpoint") == (400, "VIS.0204")
    assert await client("PUT", "streams/studio", {"state": "ACTIVE"}) == DONE
    assert await client.refused("DELETE", f"credentials/aksks/{access_key}") == (400, "VIS.0107")
    endpoint = await client("GET", "streams/studio/endpoint")
    assert endpoint["push_flow_protocol"] == "RTMP"
    address = (await client.ours("POST", "streams/studio/push-address"))["address"]
    source = ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10"]
    coding = ["-c:v", "libx264", "-g", "10", "-pix_fmt", "yuv420p", "-f", "flv"]
    encoder = await asyncio.create_subprocess_exec(
        "ffmpeg", "-v", "error", *source, *coding, address, stdin=asyncio.subprocess.DEVNULL
    )
    try:
        await client.until("streams/studio", lambda stream: stream["stream_flow_info"]["is_publishing"])
        seen = watch(await flv(endpoint["pull_flow_address"], 3.0), "flv")
        assert (seen.codecs, seen.size) == ({"video": "h264"}, (320, 180))
    finally:
        encoder.terminate()
        await encoder.wait()
    assert await client("PUT", "streams/studio", {"state": "STOPPED"}) == DONE
    assert await client("DELETE", "streams/studio") == DONE
    await client("DELETE", f"credentials/aksks/{access_key}")


async def leave(client: Client, device_id: str) -> None:
    assert await client.refused("DELETE", "credentials/codes/0100") == (400, "VIS.0108")
    assert await client("DELETE", f"devices/{device_id}") == DONE
    assert await client("DELETE", "credentials/codes/0100") == DONE
    for path in ("devices", "streams", "credentials/codes", "credentials/aksks", "operation/pastOnlineDeviceList"):
        assert await client("GET", path) == [], path
    quota = (await client("GET", "subscription"))["quota"]
    assert {name: one["used"] for name, one in quota.items() if one["used"]} == {}


async def channel_of(client: Client, device_id: str) -> Any:
    [channel] = (await client("GET", f"devices/{device_id}"))["channels"]
    return channel


async def channel_is(client: Client, device_id: str, status: str) -> None:
    await client.until(f"devices/{device_id}", lambda device: device["channels"][0]["invitation_status"] == status)
