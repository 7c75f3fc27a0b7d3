"""The operator's own API."""

from datetime import timedelta

import pytest

from tests.api.conftest import Client
from tests.api.world import Live, World

NVR = "34020000001180000001"
CHANNEL = "34020000001310000001"


@pytest.fixture(autouse=True)
async def nvr(client: Client, world: World, credential: str) -> None:
    await client.ok("POST", "devices", {"type": "NVR", "username": credential})
    world.now += timedelta(minutes=1)
    await world.register(NVR, client.project_id, channels=9)


async def test_channels_with_what_flows_and_where_it_plays(client: Client, world: World) -> None:
    await client.ok("PUT", f"devices/{NVR}/channels/{CHANNEL}", {"state": "ACTIVE"})
    world.relay.live["default", f"channel_{NVR}_{CHANNEL}"] = Live()
    answer = await client.ok("GET", "/gb/v1/channels")
    assert (answer["total"], len(answer["channels"])) == (9, 9)
    first, second, *_, last = answer["channels"]
    assert first["play"].pop("http_flv").startswith(f"http://gateway.example/default/channel_{NVR}_{CHANNEL}.live.flv")
    others = {"ws_flv", "http_ts", "ws_ts", "http_fmp4", "ws_fmp4", "hls", "hls_fmp4", "hls_ll"}
    assert first["play"].keys() == others | {"rtmp", "rtsp", "whep"}
    assert {name: first[name] for name in ("name", "device_state", "invitation_status", "wanted", "failure")} == {
        "name": "门1",
        "device_state": "ONLINE",
        "invitation_status": "INVITE_SUCCESS",
        "wanted": True,
        "failure": None,
    }
    assert first["stream"] == {
        "video_codec": "H264",
        "width": 704,
        "height": 576,
        "fps": 25.0,
        "audio_codec": "PCMA",
        "without_sound": ["http_ts", "ws_ts", "hls"],
        "rate_in_bps": 102_883,
        "received": 4511,
        "expected": 4511,
        "viewers": {"http-flv": 1, "hls": 1},
    }
    assert (second["stream"], second["play"], second["invitation_status"]) == (None, None, "ONLINE")
    assert (last["failure"], last["failure_cause"]) == ("invite: refused 486: Busy Here", "refused")


async def test_channels_are_paged_and_narrowed(client: Client) -> None:
    page = await client.ok("GET", "/gb/v1/channels", offset=7, limit=5)
    assert (page["total"], [channel["channel_id"][-1] for channel in page["channels"]]) == (9, ["8", "9"])
    assert (await client.ok("GET", "/gb/v1/channels", device_id=NVR))["total"] == 9
    for query in ({"limit": 0}, {"limit": 1001}, {"offset": -1}, {"offset": "x"}):
        assert (await client("GET", "/gb/v1/channels", **query)).status_code == 400


async def test_errors_are_problems(client: Client) -> None:
    answer = await client("GET", "/gb/v1/devices/unknown")
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json() == {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "no device unknown"}
    client.token = None
    assert (await client("GET", "/gb/v1/channels")).status_code == 401


async def test_a_device_as_it_describes_itself(client: Client, world: World) -> None:
    device = await client.ok("GET", f"/gb/v1/devices/{NVR}")
    assert (device["state"], device["manufacturer"]) == ("ONLINE", None)
    assert (device["created_at"], device["registered_at"]) == ("2026-03-01T08:00:00Z", "2026-03-01T08:01:00Z")


async def test_history_newest_first_page_by_page(client: Client) -> None:
    first = await client.ok("GET", f"/gb/v1/devices/{NVR}/events", limit=9)
    assert {event["cause"] for event in first["events"]} == {"CATALOGUE"}
    rest = await client.ok("GET", f"/gb/v1/devices/{NVR}/events", limit=9, before=first["next"])
    assert [event["cause"] for event in rest["events"]] == ["REGISTER", "PROVISION"]
    assert rest["next"] is None
    one = await client.ok("GET", f"/gb/v1/devices/{NVR}/events", channel_id=CHANNEL)
    assert [(event["channel_id"], event["after"]) for event in one["events"]] == [(CHANNEL, "ONLINE")]
