"""Streams as operators see them."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.accounts.model import Role
from gateway.streams.push import RULES
from tests.api.conftest import Client
from tests.api.world import World
from tests.gateway.media_events import Event

NVR = "34020000001180000001"
AUTOMATIC = f"channel_{NVR}_34020000001310000001"


async def add(client: Client, **more: str) -> None:
    stream = {"name": "stream1", "access_type": "RTMP", "encode_type": "H264", **more}
    await client.ok("POST", "streams", stream)
    await client.ok("PUT", "streams/stream1", {"state": "ACTIVE"})


async def test_a_push_address_with_a_token(client: Client, world: World) -> None:
    key = await client.ok("POST", "credentials/aksks", {"name": "key"})
    await add(client, access_key=key["access_key"])
    answer = await client.ok("POST", "/gb/v1/streams/stream1/push-address", expires_in=3600)
    expires = int(world.now.timestamp()) + 3600
    token = RULES["hmac-sha256"].token(key["secret_key"], "default", "stream1", expires)
    query = f"Expires={expires}&AccessKeyId={key['access_key']}&Token={token}"
    assert answer == {
        "address": f"rtmp://gateway.example:1935/default/stream1?{query}",
        "server": "rtmp://gateway.example:1935/default",
        "stream_key": f"stream1?{query}",
        "rtsp": f"rtsp://gateway.example:8554/default/stream1?{query}",
        "whip": None,
        "expires_at": "2026-03-01T09:00:00Z",
    }
    for expires_in in ("0", "604801", "x"):
        answer = await client("POST", "/gb/v1/streams/stream1/push-address", expires_in=expires_in)
        assert answer.status_code == 400, expires_in
    day = await client.ok("POST", "/gb/v1/streams/stream1/push-address")
    assert parse_qs(urlsplit(day["address"]).query)["Expires"] == [str(int(world.now.timestamp()) + 86_400)]


async def test_a_push_address_without_a_key(client: Client) -> None:
    await add(client)
    answer = await client.ok("POST", "/gb/v1/streams/stream1/push-address")
    assert (answer["address"], answer["expires_at"]) == ("rtmp://gateway.example:1935/default/stream1", None)


async def test_who_may_not_push_gets_no_address(client: Client, world: World) -> None:
    await add(client, access_type="HTTP-FLV", url="http://camera.example/live")
    assert (await client("POST", "/gb/v1/streams/stream1/push-address")).status_code == 409
    assert (await client("POST", "/gb/v1/streams/unknown/push-address")).status_code == 404
    password = await world.accounts.add_user("viewer", "default", Role.VIEWER, None, world.now)
    client.token, _ = await world.accounts.log_in("viewer", password, world.now)
    assert (await client("POST", "/gb/v1/streams/stream1/push-address")).status_code == 403
    assert (await client("DELETE", "/gb/v1/streams/stream1/addresses")).status_code == 403
    assert (await client("GET", "/gb/v1/streams/stream1")).status_code == 200


async def test_revoked_addresses(client: Client, world: World) -> None:
    await add(client)
    before = (await client.ok("GET", "streams/stream1/endpoint"))["pull_flow_address"]
    answer = await client("DELETE", "/gb/v1/streams/stream1/addresses")
    assert (answer.status_code, answer.content) == (204, b"")
    assert world.relay.told[-1] == ("generation", "stream1", 1)
    assert (await client.ok("GET", "streams/stream1/endpoint"))["pull_flow_address"] == before + "1"
    assert (await client("DELETE", "/gb/v1/streams/unknown/addresses")).status_code == 404


@pytest.mark.usefixtures("credential")
async def test_revoked_addresses_of_a_channel(client: Client, world: World) -> None:
    await client.ok("POST", "devices", {"type": "NVR", "username": "0100"})
    await world.register(NVR, client.project_id)
    await client.ok("PUT", f"devices/{NVR}/channels/34020000001310000001", {"state": "ACTIVE"})
    assert (await client("DELETE", f"/gb/v1/streams/{AUTOMATIC}/addresses")).status_code == 204
    assert world.voided == [AUTOMATIC]
    shown = await client.ok("GET", f"/gb/v1/streams/{AUTOMATIC}")
    (channel,) = (await client.ok("GET", "/gb/v1/channels"))["channels"]
    assert shown["play"] == channel["play"]
    assert shown["play"]["hls"].endswith("&sign=s1")
    assert (shown["source"], shown["access_type"]) == (None, "GB28181")
    events = (await client.ok("GET", f"/gb/v1/streams/{AUTOMATIC}/events"))["events"]
    assert [event["after"] for event in events] == ["INVITE_SUCCESS", "ONLINE"]
    assert {event["channel_id"] for event in events} == {"34020000001310000001"}


@pytest.mark.usefixtures("credential")
async def test_streams_are_listed_and_those_made_by_hand_apart(client: Client, world: World) -> None:
    await client.ok("POST", "devices", {"type": "NVR", "username": "0100"})
    await world.register(NVR, client.project_id)
    await add(client)
    await client.ok("POST", "streams", {"name": "another", "access_type": "RTMP", "encode_type": "H264"})

    async def names(**query: str) -> tuple[int, list[str]]:
        answer = await client.ok("GET", "/gb/v1/streams", **query)
        return answer["total"], [one["name"] for one in answer["streams"]]

    assert await names() == (3, ["another", AUTOMATIC, "stream1"])
    assert await names(own="true") == (2, ["another", "stream1"])
    assert await names(own="true", limit="1", offset="1") == (2, ["stream1"])
    assert await names(name="nothe") == (1, ["another"])
    assert (await client("GET", "/gb/v1/streams", limit="0")).status_code == 400
    one, other = (await client.ok("GET", "/gb/v1/streams", own="true"))["streams"]
    assert (one["play"], one["state"], one["stream"]) == (None, "STOPPED", None)
    assert other == await client.ok("GET", "/gb/v1/streams/stream1")


async def test_where_a_source_stands_and_what_became_of_it(client: Client, world: World) -> None:
    await add(client, access_type="HTTP-FLV", url="http://camera.example/live")
    (receiver,) = world.relay.open

    def happens(kind: str, **detail: str) -> None:
        world.now += timedelta(seconds=1)
        world.traffic.handle_media(Event(kind, receiver, detail, round(world.now.timestamp() * 1000)))

    happens("connect_failed", reason="no route to host", retry_ms="4000")
    happens("connect_failed", reason="no route to host", cause="unreachable", retry_ms="8000")
    shown = await client.ok("GET", "/gb/v1/streams/stream1")
    assert shown["source"] == {
        "state": "BROKEN",
        "since": "2026-03-01T08:00:01Z",
        "peer": None,
        "reason": "no route to host",
        "reason_code": "unreachable",
        "failures": 2,
        "retry_at": "2026-03-01T08:00:10Z",
    }
    happens("connected", peer="192.0.2.7:80")
    happens("first_packet")
    await client.ok("PUT", "streams/stream1", {"state": "STOPPED"})
    assert await world.traffic.history.flush()
    first = await client.ok("GET", "/gb/v1/streams/stream1/events", limit=2)
    rest = await client.ok("GET", "/gb/v1/streams/stream1/events", before=first["next"])
    told = [(event["cause"], event["after"], event["detail"]) for event in (first["events"] + rest["events"])[::-1]]
    assert told == [
        ("OPENED", "CONNECTING", ""),
        ("CONNECT_FAILED", "BROKEN", "no route to host"),
        ("CONNECTED", "CONNECTED", "192.0.2.7:80"),
        ("MEDIA", "FLOWING", ""),
        ("ENDED", "IDLE", "the stream was stopped"),
    ]
    assert rest["next"] is None
    assert (await client.ok("GET", "/gb/v1/streams/stream1"))["source"] is None
    assert (await client("GET", "/gb/v1/streams/unknown/events")).status_code == 404
