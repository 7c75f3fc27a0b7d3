"""§4.2.1 to §4.2.3: streams that are pushed by RTMP or pulled by HTTP-FLV."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from gateway.accounts.model import Role
from tests.api.conftest import Client, Opener
from tests.api.world import NOW, Live, World
from tests.gateway.media_events import Event

RTMP = {"name": "stream1", "access_type": "RTMP", "encode_type": "H264"}
PULL = {"name": "stream2", "access_type": "HTTP-FLV", "encode_type": "H264", "url": "https://camera.example/live"}
NVR = "34020000001180000001"
AUTOMATIC = f"channel_{NVR}_34020000001310000001"


async def add_key(client: Client) -> str:
    key: str = (await client.ok("POST", "credentials/aksks", {"name": "key"}))["access_key"]
    return key


@pytest.fixture
async def nvr(client: Client, world: World, credential: str) -> None:
    await client.ok("POST", "devices", {"type": "NVR", "username": credential})
    await world.register(NVR, client.project_id)


async def test_create_rtmp(client: Client) -> None:
    key = await add_key(client)
    tag = [{"key": "group", "value": "number1"}]
    created = await client.ok(
        "POST", "streams", {**RTMP, "share_type": "PUBLIC", "access_key": key, "description": "", "tag": tag}
    )
    assert created.pop("stream_id").startswith("stream-")
    assert created == {
        "name": "stream1",
        "encode_type": "H264",
        "access_type": "RTMP",
        "access_key": key,
        "share_type": "PUBLIC",
        "state": "STOPPED",
        "created_at": "2026-03-01T08:00:00Z",
        "updated_at": "2026-03-01T08:00:00Z",
        "description": "",
        "tag": tag,
    }
    shown = await client.ok("GET", "streams/stream1")
    assert shown.pop("stream_flow_info") == {"is_publishing": False, "bytes_in": "0 MB", "bytes_out": "0 MB"}
    assert shown.items() >= created.items()


async def test_create_http_flv(client: Client, world: World) -> None:
    created = await client.ok("POST", "streams", {**PULL, "url": " https://u:secret@camera.example/live"})
    assert created["url"] == "https://u:secret@camera.example/live"
    assert created["share_type"] == "PRIVATE"
    assert "access_key" not in created
    (listed,) = await client.ok("GET", "streams")
    assert listed["url"] == created["url"]


async def test_viewers_are_not_told_the_secrets_of_a_url(client: Client, world: World) -> None:
    url = "rtsp://u:secret@camera.example/live?key=secret#transport=udp"
    await client.ok("POST", "streams", {**PULL, "url": url})
    password = await world.accounts.add_user("viewer", "default", Role.VIEWER, None, world.now)
    client.token, _ = await world.accounts.log_in("viewer", password, world.now)
    shown = "rtsp://camera.example/live?…#transport=udp"
    assert [stream["url"] for stream in await client.ok("GET", "streams")] == [shown]
    assert (await client.ok("GET", "streams/stream2"))["url"] == shown


async def test_words_in_any_case_and_what_does_not_belong_is_ignored(client: Client) -> None:
    pulled = {**PULL, "access_type": "http-flv", "encode_type": "h264", "share_type": "public", "access_key": "none"}
    created = await client.ok("POST", "streams", pulled)
    assert (created["access_type"], created["encode_type"], created["share_type"]) == ("HTTP-FLV", "H264", "PUBLIC")
    created = await client.ok("POST", "streams", {**RTMP, "url": "nonsense", "tag": None, "share_type": None})
    assert (created["access_key"], created["tag"], created.get("url")) == ("", [], None)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("VIS.0005", {"name": ""}),
        ("VIS.0005", {"name": "x" * 33}),
        ("VIS.0005", {"name": "a.b"}),
        ("VIS.0005", {"name": "流"}),
        ("VIS.0005", {"name": "channel_34020000001320000001_1"}),
        ("VIS.0005", {"access_type": "GB28181"}),
        ("VIS.0005", {"access_type": "RTSP"}),
        ("VIS.0005", {"access_type": None}),
        ("VIS.0213", {"encode_type": "H265"}),
        ("VIS.0213", {"encode_type": "h265"}),
        ("VIS.0005", {"encode_type": "AV1"}),
        ("VIS.0005", {"share_type": "SECRET"}),
        ("VIS.0104", {"access_key": "UNKNOWN"}),
        ("VIS.0005", {"description": "x" * 501}),
        ("VIS.0005", {"tag": [{"key": f"k{number}", "value": ""} for number in range(11)]}),
        ("VIS.0005", {"tag": [{"key": "", "value": "v"}]}),
        ("VIS.0005", {"tag": [{"key": "group#1", "value": "v"}]}),
        ("VIS.0005", {"tag": [{"key": "k" * 37, "value": "v"}]}),
        ("VIS.0005", {"tag": [{"key": "k", "value": "v" * 44}]}),
        ("VIS.0005", {"tag": [{"key": "k", "value": "a b"}]}),
        ("VIS.0005", {"tag": [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}]}),
        ("VIS.0005", {"tag": "k"}),
    ],
)
async def test_create_refuses(client: Client, code: str, change: dict[str, Any]) -> None:
    await client.refused(code, "POST", "streams", {**RTMP, **change})
    assert await client.ok("GET", "streams") == []


async def test_tags_at_their_longest(client: Client) -> None:
    tags = [{"key": "组" * 35 + str(number), "value": "值.-_a1" * 7} for number in range(10)]
    assert (await client.ok("POST", "streams", {**RTMP, "tag": tags}))["tag"] == tags
    await client.ok("PUT", "streams/stream1", {"tag": [{"key": "k", "value": ""}]})
    assert (await client.ok("GET", "streams/stream1"))["tag"] == [{"key": "k", "value": ""}]


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "ftp://camera.example/live",
        "camera.example/live",
        "http://",
        "http:///live",
        "http://camera.example:0/live",
        "http://camera.example:99999/live",
        "http://camera.example/a b",
        "http://camera.example/\x00",
        "http://[::1/live",
        "http://camera.example/" + "x" * 2048,
        "http://127.0.0.1/live",
        "http://localhost:8080/live",
        "http://10.1.2.3/live",
        "http://169.254.169.254/latest",
        "http://[::1]/live",
        "http://[::ffff:192.168.1.1]/live",
        "http://224.0.0.1/live",
    ],
)
async def test_urls_that_nothing_is_pulled_from(client: Client, url: str | None) -> None:
    await client.refused("VIS.0207", "POST", "streams", {**PULL, "url": url})


async def test_names_are_unique_over_all_projects(client: Client, world: World) -> None:
    await client.ok("POST", "streams", RTMP)
    await client.refused("VIS.0201", "POST", "streams", RTMP)
    other = await world.accounts.add_project("other", NOW)
    await world.accounts.add_user("eve", "other", Role.OPERATOR, "Secret-1234", NOW)
    token, _ = await world.accounts.log_in("eve", "Secret-1234", NOW)
    foreign = Client(client.http, other.project_id, token)
    await foreign.refused("VIS.0201", "POST", "streams", RTMP)
    key = await add_key(client)
    await foreign.refused("VIS.0104", "POST", "streams", {**RTMP, "name": "mine", "access_key": key})
    for method, path, body in [
        ("GET", "streams/stream1", None),
        ("PUT", "streams/stream1", {"state": "ACTIVE"}),
        ("DELETE", "streams/stream1", None),
        ("GET", "streams/stream1/endpoint", None),
    ]:
        await foreign.refused("VIS.0202", method, path, body)
    assert await foreign.ok("GET", "streams") == []


async def test_update_is_partial(client: Client, world: World) -> None:
    key = await add_key(client)
    await client.ok("POST", "streams", {**RTMP, "description": "old", "tag": [{"key": "a", "value": "b"}]})
    before = await client.ok("GET", "streams/stream1")
    world.now += timedelta(minutes=1)
    for change in (
        {"description": "new"},
        {"share_type": "public"},
        {"access_key": key},
        {"tag": [{"key": "c", "value": ""}]},
        {"state": "active"},
        {"encode_type": "h264"},
    ):
        assert await client.ok("PUT", "streams/stream1", change) == {"result": "success"}
    after = await client.ok("GET", "streams/stream1")
    assert after == {
        **before,
        "description": "new",
        "share_type": "PUBLIC",
        "access_key": key,
        "tag": [{"key": "c", "value": ""}],
        "state": "ACTIVE",
        "updated_at": "2026-03-01T08:01:00Z",
    }
    await client.ok("PUT", "streams/stream1", {"access_key": "", "tag": [], "description": ""})
    after = await client.ok("GET", "streams/stream1")
    assert (after["access_key"], after["tag"], after["description"]) == ("", [], "")


async def test_update_refuses_and_changes_nothing(client: Client) -> None:
    await client.ok("POST", "streams", RTMP)
    before = await client.ok("GET", "streams/stream1")
    for code, change in [
        ("VIS.0213", {"encode_type": "H265"}),
        ("VIS.0005", {"encode_type": "AV1"}),
        ("VIS.0005", {"access_type": "GB28181"}),
        ("VIS.0104", {"access_key": "UNKNOWN", "description": "new"}),
        ("VIS.0005", {"share_type": "SECRET"}),
        ("VIS.0005", {"state": "PAUSED"}),
        ("VIS.0005", {"description": "x" * 501}),
        ("VIS.0005", {"tag": [{"key": "#", "value": ""}]}),
        ("VIS.0207", {"access_type": "HTTP-FLV"}),
        ("VIS.0207", {"access_type": "HTTP-FLV", "url": "ftp://camera.example"}),
    ]:
        await client.refused(code, "PUT", "streams/stream1", change)
    assert await client.ok("GET", "streams/stream1") == before
    await client.refused("VIS.0202", "PUT", "streams/unknown", {"state": "ACTIVE"})


async def test_the_access_type_changes_only_while_stopped(client: Client) -> None:
    key = await add_key(client)
    await client.ok("POST", "streams", {**RTMP, "access_key": key})
    await client.ok("PUT", "streams/stream1", {"state": "ACTIVE"})
    pulled = {"access_type": "HTTP-FLV", "url": "http://camera.example/live"}
    await client.refused("VIS.0206", "PUT", "streams/stream1", pulled)
    await client.refused("VIS.0206", "PUT", "streams/stream1", {**pulled, "state": "STOPPED"})
    await client.ok("PUT", "streams/stream1", {"access_type": "rtmp"})
    await client.ok("PUT", "streams/stream1", {"state": "STOPPED"})
    await client.ok("PUT", "streams/stream1", {**pulled, "state": "ACTIVE"})
    stream = await client.ok("GET", "streams/stream1")
    assert (stream["access_type"], stream["url"], stream["state"]) == (*pulled.values(), "ACTIVE")
    assert "access_key" not in stream
    assert (await client("DELETE", f"credentials/aksks/{key}")).status_code == 204  # it is the stream's no more


async def test_starting_and_stopping_twice_is_no_error(opened: Opener) -> None:
    _, client = await opened(quotas={"active_stream": 1})
    await client.ok("POST", "streams", RTMP)
    for state in ("ACTIVE", "ACTIVE", "STOPPED", "STOPPED", "ACTIVE"):
        await client.ok("PUT", "streams/stream1", {"state": state})
        assert (await client.ok("GET", "streams/stream1"))["state"] == state


async def test_delete(client: Client) -> None:
    await client.ok("POST", "streams", RTMP)
    await client.ok("PUT", "streams/stream1", {"state": "ACTIVE"})
    assert await client.ok("DELETE", "streams/stream1") == {"result": "success"}
    await client.refused("VIS.0202", "DELETE", "streams/stream1")
    await client.refused("VIS.0202", "GET", "streams/stream1")
    await client.ok("POST", "streams", RTMP)  # the name is free again


@pytest.mark.usefixtures("nvr")
async def test_streams_of_channels_change_with_their_channel_only(client: Client) -> None:
    await client.refused("VIS.0006", "PUT", f"streams/{AUTOMATIC}", {"description": "mine"})
    await client.refused("VIS.0006", "DELETE", f"streams/{AUTOMATIC}")
    assert (await client.ok("GET", f"streams/{AUTOMATIC}"))["access_type"] == "GB28181"


async def test_quotas_hold_under_concurrent_calls(opened: Opener) -> None:
    _, client = await opened(quotas={"stream": 20, "active_stream": 7})
    names = [f"s{number}" for number in range(40)]
    answers = await asyncio.gather(*(client("POST", "streams", {**RTMP, "name": name}) for name in names))
    assert [answer.status_code for answer in answers].count(200) == 20
    assert {answer.json().get("error_code") for answer in answers} == {None, "VIS.0014"}
    made = [stream["name"] for stream in await client.ok("GET", "streams")]
    answers = await asyncio.gather(*(client("PUT", f"streams/{name}", {"state": "ACTIVE"}) for name in made * 2))
    assert len(await client.ok("GET", "streams", stream_state="ACTIVE")) == 7
    quota = (await client.ok("GET", "subscription"))["quota"]
    assert (quota["stream"]["used"], quota["active_stream"]["used"]) == (20, 7)
    active = [stream["name"] for stream in await client.ok("GET", "streams", stream_state="ACTIVE")]
    await asyncio.gather(*(client.ok("DELETE", f"streams/{name}") for name in active))
    quota = (await client.ok("GET", "subscription"))["quota"]
    assert (quota["stream"]["used"], quota["active_stream"]["used"]) == (13, 0)


async def test_changes_at_once_do_not_undo_each_other(client: Client) -> None:
    await client.ok("POST", "streams", RTMP)
    changes: list[dict[str, Any]] = [
        {"state": "ACTIVE"},
        {"description": "new"},
        {"share_type": "PUBLIC"},
        {"tag": [{"key": "a", "value": "b"}]},
    ]
    await asyncio.gather(*(client.ok("PUT", "streams/stream1", change) for change in changes))
    stream = await client.ok("GET", "streams/stream1")
    for change in changes:
        assert stream.items() >= change.items()


async def test_lists_hold_every_kind(client: Client, world: World) -> None:
    await client.ok("POST", "streams", {**RTMP, "name": "Gate-b", "share_type": "PUBLIC"})
    world.now += timedelta(seconds=1)
    await client.ok("POST", "streams", {**PULL, "name": "gate-a"})
    await client.ok("PUT", "streams/gate-a", {"state": "ACTIVE"})
    for query, names in [
        ({}, ["Gate-b", "gate-a"]),
        ({"name": "GATE"}, ["Gate-b", "gate-a"]),
        ({"stream_state": "Active"}, ["gate-a"]),
        ({"retention_state": "stopped", "stream_state": "stopped"}, ["Gate-b"]),
    ]:
        assert [stream["name"] for stream in await client.ok("GET", "streams", **query)] == names, query
    for order, names in [
        ("access_type", ["gate-a", "Gate-b"]),
        ("share_type", ["gate-a", "Gate-b"]),
        ("state", ["gate-a", "Gate-b"]),
        ("created_at", ["Gate-b", "gate-a"]),
    ]:
        page = await client.ok("GET", "streams", offset=1, limit=5, order_by=order)
        assert [stream["name"] for stream in page["entries"]] == names, order


async def test_the_endpoint_of_an_rtmp_stream(client: Client) -> None:
    key = await add_key(client)
    await client.ok("POST", "streams", {**RTMP, "access_key": key})
    await client.refused("VIS.0204", "GET", "streams/stream1/endpoint")
    await client.ok("PUT", "streams/stream1", {"state": "ACTIVE"})
    endpoint = await client.ok("GET", "streams/stream1/endpoint")
    assert endpoint["push_flow_protocol"] == "RTMP"
    assert endpoint["push_flow_address"] == "rtmp://gateway.example:1935/default/stream1"  # the secret part is not here
    assert endpoint["pull_flow_address"] == endpoint["addresses"]["http_flv"]
    assert "?expires=" in endpoint["pull_flow_address"]
    await client.ok("PUT", "streams/stream1", {"share_type": "PUBLIC"})
    endpoint = await client.ok("GET", "streams/stream1/endpoint")
    assert endpoint["pull_flow_address"] == "http://gateway.example/default/stream1.live.flv"


async def test_the_endpoint_of_a_pulled_stream_says_what_is_wrong(client: Client, world: World) -> None:
    await client.ok("POST", "streams", PULL)
    await client.ok("PUT", "streams/stream2", {"state": "ACTIVE"})
    (receiver,) = world.relay.open
    endpoint = await client.ok("GET", "streams/stream2/endpoint")
    assert (endpoint["push_flow_protocol"], endpoint["push_flow_address"]) == ("HTTP-FLV", "")

    def happens(kind: str, **detail: str) -> None:
        world.traffic.handle_media(Event(kind, receiver, detail, round(world.now.timestamp() * 1000)))

    happens("connect_failed", reason="connection refused", retry_ms="1000")
    assert "connection refused" in await client.refused("VIS.0212", "GET", "streams/stream2/endpoint")
    happens("connected", peer="192.0.2.7:80")
    await client.ok("GET", "streams/stream2/endpoint")
    world.now += timedelta(seconds=11)
    await client.refused("VIS.0211", "GET", "streams/stream2/endpoint")
    happens("first_packet")
    world.relay.live["default", "stream2"] = Live(transport="http-flv")
    await client.ok("GET", "streams/stream2/endpoint")
    flow = (await client.ok("GET", "streams/stream2"))["stream_flow_info"]
    assert (flow["is_publishing"], flow["bw_in"], flow["num_play_clients"]) == (True, "102.883 Kb/s", 2)
    happens("disconnected", reason="reset")
    flow = (await client.ok("GET", "streams/stream2"))["stream_flow_info"]
    assert flow == {"is_publishing": False, "bytes_in": "131.471 MB", "bytes_out": "15.775 GB"}


async def test_what_runs_follows_the_calls(client: Client, world: World) -> None:
    await client.ok("POST", "streams", PULL)
    assert world.relay.open == {}
    await client.ok("PUT", "streams/stream2", {"state": "ACTIVE"})
    assert list(world.relay.open.values()) == [("default", "stream2")]
    await client.ok("PUT", "streams/stream2", {"share_type": "PUBLIC"})
    assert world.relay.told[-1] == ("private", "stream2", False)
    await client.ok("DELETE", "streams/stream2")
    assert world.relay.open == {}


async def test_a_stream_that_is_being_deleted(client: Client, world: World) -> None:
    await client.ok("POST", "streams", RTMP)
    await client.ok("PUT", "streams/stream1", {"state": "ACTIVE"})
    async with world.traffic.sources.turn("default", "stream1"):  # something else of it is being done
        deletion = asyncio.create_task(client("DELETE", "streams/stream1"))
        while not world.gateway.streams.deleting:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await client.refused("VIS.0203", "PUT", "streams/stream1", {"state": "STOPPED"})
        await client.refused("VIS.0203", "DELETE", "streams/stream1")
        await client.refused("VIS.0203", "GET", "streams/stream1/endpoint")
    assert (await deletion).status_code == 200
