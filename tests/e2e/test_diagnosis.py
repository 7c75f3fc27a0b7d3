"""A real gateway, real devices over loopback: what is said without a picture, and what a live channel sends."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from gateway.inspect.analyzer import inspect_file
from gateway.simulator.clip import ClipSpec
from gateway.simulator.config import ChannelSpec, DeviceSpec, FleetConfig, Server
from gateway.simulator.fleet import Fleet
from gateway.simulator.misbehaviour import Misbehaviour
from tests.e2e.running import DEVICE_PASSWORD, SERVER_ID, RunningGateway

SMALL = ClipSpec(width=320, height=192, fps=15, gop=15, seconds=2, bitrate_bps=300_000)


@pytest.fixture
async def gateway(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RunningGateway]:
    """A running gateway; a test may give it settings as the fixture's parameter."""
    running = RunningGateway(tmp_path, {"GATEWAY_SIP__TIMERS__MEDIA": "1.5", **getattr(request, "param", {})})
    try:
        yield await running.start()
    finally:
        await running.close()


@contextlib.asynccontextmanager
async def camera(
    gateway: RunningGateway, device_id: str, misbehaviour: Misbehaviour | None = None, password: str = DEVICE_PASSWORD
) -> AsyncIterator[Fleet]:
    spec = DeviceSpec(device_id, "Gate", (ChannelSpec(device_id, "Gate"),), password, "camera")
    config = FleetConfig(
        Server(SERVER_ID, "127.0.0.1", gateway.sip_port),
        (spec,),
        host="127.0.0.1",
        clip=SMALL,
        misbehaviour=misbehaviour or Misbehaviour(),
        keepalive_s=1.0,
    )
    async with Fleet(config) as fleet:
        yield fleet


async def get(gateway: RunningGateway, path: str, **query: Any) -> Any:
    answer = await gateway.client.get(f"{gateway.url}/gb/v1{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def diagnose(gateway: RunningGateway, device_id: str) -> Any:
    """Of the IPC's channel, or of the device as long as it has none."""
    known = await gateway.channel(device_id)
    place = f"/devices/{device_id}" if known is None else f"/channels/{device_id}/{device_id}"
    return await get(gateway, f"{place}/diagnosis")


async def wait_for_main(gateway: RunningGateway, device_id: str, code: str) -> Any:
    """The diagnosis, once it names this first."""
    found = None
    try:
        async with asyncio.timeout(15):
            while True:
                found = await diagnose(gateway, device_id)
                if found["main"] is not None and found["main"]["code"] == code:
                    return found
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{code} is not {found}") from None


def command(gateway: RunningGateway, *words: str) -> subprocess.CompletedProcess[str]:
    """`gateway …` on the machine of the running one, with its settings."""
    environment = {
        **os.environ,
        "GATEWAY_DATA_DIR": str(gateway.data_dir),
        "GATEWAY_HTTP__HOST": "127.0.0.1",
        "GATEWAY_HTTP__PORT": str(gateway.http_port),
        "GATEWAY_RTMP__HOST": "127.0.0.1",
        "GATEWAY_RTMP__PORT": str(gateway.rtmp_port),
        "GATEWAY_RTSP__HOST": "127.0.0.1",
        "GATEWAY_RTSP__PORT": str(gateway.rtsp_port),
        "COLUMNS": "200",
    }
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_from_never_registered_to_playing_and_its_packets(gateway: RunningGateway, tmp_path: Path) -> None:
    (device_id,) = await gateway.provision()
    stranger = "34020000001320009999"
    async with camera(gateway, stranger):
        found = await wait_for_stranger(gateway, device_id)
        assert found["registration"]["state"] == "UNREGISTERED"
        assert stranger in [one["device_id"] for one in (await get(gateway, "/strangers"))["strangers"]]
    async with camera(gateway, device_id, password="Wrong-pass-9"):
        found = await wait_for_main(gateway, device_id, "wrong_password")
        assert found["registration"]["refused"][0]["wrong_password"]
        assert found["registration"]["refused"][0]["source"].startswith("127.0.0.1:")
    async with camera(gateway, device_id):
        await wait_for_main(gateway, device_id, "not_invited")
        refused = await gateway.client.get(f"{gateway.url}/gb/v1/channels/{device_id}/{device_id}/packets")
        assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
        channel = await gateway.wait_for(device_id, "ONLINE")
        assert (await gateway.set_state(channel, "ACTIVE")).status_code == 200
        await gateway.wait_for(device_id, "INVITE_SUCCESS")
        await packets_by_api(gateway, device_id)
        await leaving_frees_the_tap(gateway, device_id)
        await packets_by_command(gateway, device_id, tmp_path / "live.pcap")
        found = await wait_for_main(gateway, device_id, "unwatched")
        assert {one["verdict"] for one in found["findings"]} <= {"ok", "waiting"}, found["findings"]
        media = found["call"]["media"]
        assert (media["video_codec"], media["payload"], media["lost"]) == ("H264", "ps", 0)
        assert media["ssrc"] == found["call"]["ssrc"]


async def wait_for_stranger(gateway: RunningGateway, device_id: str) -> Any:
    async with asyncio.timeout(15):
        while True:
            found = await diagnose(gateway, device_id)
            if {one["code"] for one in found["findings"]} >= {"never_registered", "stranger"}:
                return found
            await asyncio.sleep(0.1)


async def packets_by_api(gateway: RunningGateway, device_id: str) -> None:
    """The capture is whole, one at a time, and what came."""
    path = f"{gateway.url}/gb/v1/channels/{device_id}/{device_id}/packets"
    first = asyncio.create_task(gateway.client.get(path, params={"seconds": 2}))
    await asyncio.sleep(0.5)
    assert (await gateway.client.get(path)).status_code == 409
    answer = await first
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/vnd.tcpdump.pcap")
    report = inspect_file(BytesIO(answer.content), "live")
    (stream,) = report.streams
    assert stream.received == stream.expected > 20
    assert stream.source.startswith("127.0.0.1:")
    assert stream.destination.startswith("127.0.0.1:")
    assert stream.program is not None
    assert stream.program.video is not None
    assert (stream.program.video.codec, stream.program.video.width) == ("H.264", 320)
    assert (await gateway.client.get(path, params={"seconds": 61})).status_code == 400


async def leaving_frees_the_tap(gateway: RunningGateway, device_id: str) -> None:
    """It is written while packets come; who hangs up ends it."""
    path = f"{gateway.url}/gb/v1/channels/{device_id}/{device_id}/packets"
    async with gateway.client.stream("GET", path, params={"seconds": 60}) as answer:
        size = 0
        async with asyncio.timeout(5):
            async for piece in answer.aiter_bytes():
                size += len(piece)
                if size > 10_000:
                    break
    async with asyncio.timeout(10):
        while True:
            again = await gateway.client.get(path, params={"seconds": 0.2})
            if again.status_code == 200:
                return
            await asyncio.sleep(0.1)


async def packets_by_command(gateway: RunningGateway, device_id: str, file: Path) -> None:
    """Without a password: who may read the database may look. The plain channel id is enough while it is unique."""
    words = ("inspect", "--channel", device_id, "--seconds", "1.5", "--json", "--save", str(file))
    done = await asyncio.to_thread(command, gateway, *words)
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads(done.stdout)
    assert told["report"]["streams"][0]["received"] > 10
    assert told["diagnosis"]["device_id"] == device_id
    with file.open("rb") as saved:
        assert inspect_file(saved, "saved").streams[0].received == told["report"]["streams"][0]["received"]
    wrong = await asyncio.to_thread(
        command, gateway, "inspect", "--channel", "1/2", "--user", "admin", "--password", "x"
    )
    assert wrong.returncode == 1
    assert "wrong" in wrong.stderr


@pytest.mark.parametrize("gateway", [{"GATEWAY_RTP__PREFER": "TCP_PASSIVE"}], indirect=True)
async def test_what_comes_over_tcp_is_captured_as_tcp(gateway: RunningGateway) -> None:
    (device_id,) = await gateway.provision()
    async with camera(gateway, device_id):
        channel = await gateway.wait_for(device_id, "ONLINE")
        assert (await gateway.set_state(channel, "ACTIVE")).status_code == 200
        await gateway.wait_for(device_id, "INVITE_SUCCESS")
        path = f"{gateway.url}/gb/v1/channels/{device_id}/{device_id}/packets"
        answer = await gateway.client.get(path, params={"seconds": 2})
        (stream,) = inspect_file(BytesIO(answer.content), "live").streams
        assert stream.transport == (await diagnose(gateway, device_id))["call"]["media"]["transport"].partition("_")[0]
        assert stream.transport == "tcp"
        assert stream.received == stream.expected > 20
        assert stream.program is not None
        assert stream.program.video is not None


async def test_doctor_knows_the_gateway_that_runs(gateway: RunningGateway) -> None:
    done = await asyncio.to_thread(command, gateway, "doctor", "--set", f"sip.port={gateway.sip_port}")
    assert done.returncode == 0, done.stdout
    assert f"a gateway runs at {gateway.url} and is well" in done.stdout
    assert f":{gateway.http_port} is in use by the running gateway" in done.stdout


async def test_accepted_but_no_media(gateway: RunningGateway) -> None:
    (device_id,) = await gateway.provision()
    async with camera(gateway, device_id, Misbehaviour(no_media=True)):
        channel = await gateway.wait_for(device_id, "ONLINE")
        await gateway.set_state(channel, "ACTIVE")
        found = await wait_for_main(gateway, device_id, "no_media")
        assert found["call"]["media"]["received"] == 0
        assert f"127.0.0.1:{found['call']['port']}" in found["main"]["text"]
        done = await asyncio.to_thread(command, gateway, "inspect", "--channel", f"{device_id}/{device_id}")
        assert done.returncode == 1
        assert "not one packet came" in done.stdout
        assert "invite the channel" in done.stderr


async def test_a_refusal_with_its_status(gateway: RunningGateway) -> None:
    (device_id,) = await gateway.provision()
    async with camera(gateway, device_id, Misbehaviour(refuse=486)):
        channel = await gateway.wait_for(device_id, "ONLINE")
        await gateway.client.put(f"{gateway.url}/gb/v1/devices/{device_id}/trace")
        await gateway.set_state(channel, "ACTIVE")
        found = await wait_for_main(gateway, device_id, "refused")
        assert (found["call"]["stage"], found["call"]["sip_status"]) == ("invite", 486)
        trace = await get(gateway, f"/devices/{device_id}/trace")
        assert trace["on"]
        assert any(one["text"].startswith("SIP/2.0 486") and not one["sent"] for one in trace["messages"])
        stopped = await gateway.client.delete(f"{gateway.url}/gb/v1/devices/{device_id}/trace")
        assert stopped.status_code == 204
        assert await get(gateway, f"/devices/{device_id}/trace") == {
            "device_id": device_id,
            "on": False,
            "messages": [],
        }
        oddities = await get(gateway, f"/devices/{device_id}/deviations")
        assert oddities["undispatched"] == {}
