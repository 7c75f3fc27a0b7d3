"""Streams sent as RTP, as operators order it."""

from typing import Any

import pytest

from gateway.accounts.model import Role
from tests.api.conftest import Client
from tests.api.world import Live, World

PATH = "/gb/v1/streams/stream1/senders"
ORDER: dict[str, Any] = {"transport": "udp", "host": "203.0.114.7", "port": 30_000, "ssrc": 100_000_001}


@pytest.fixture
async def stream(client: Client, world: World) -> None:
    await client.ok("POST", "streams", {"name": "stream1", "access_type": "RTMP", "encode_type": "H264"})
    world.relay.live["default", "stream1"] = Live("default", "stream1")


@pytest.mark.usefixtures("stream")
async def test_a_sender_is_made_listed_and_deleted(client: Client, world: World) -> None:
    answer = await client("POST", PATH, ORDER)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["state"], made["peer"], made["ssrc"]) == ("sending", "203.0.114.7:30000", 100_000_001)
    listed = await client.ok("GET", PATH)
    assert listed == {"senders": [made], "ended": []}
    assert (await client("DELETE", f"{PATH}/{made['id']}")).status_code == 204
    assert (await client("DELETE", f"{PATH}/{made['id']}")).status_code == 404
    assert not world.relay.sent


@pytest.mark.usefixtures("stream")
async def test_a_stream_is_sent_over_the_connection_of_another_one(client: Client, world: World) -> None:
    order = {"over": "device1", "ssrc": 7, "payload": "es", "video": False, "rtcp": True}
    assert (await client("POST", PATH, order)).status_code == 404
    await client.ok("POST", "streams", {"name": "device1", "access_type": "RTMP", "encode_type": "H264"})
    assert (await client("POST", PATH, order)).status_code == 409, "nothing comes of it"
    world.relay.live["default", "device1"] = Live("default", "device1", receiver=5)
    answer = await client("POST", PATH, order)
    assert answer.status_code == 201, answer.text
    assert answer.json()["over"] is True
    (_, receiver, settings) = world.relay.told[-1]
    assert (receiver, settings["over"], settings["rtcp"]) == (1, 5, True)
    for wrong in ({"transport": "udp"}, {"over": None}, {"host": "203.0.114.7"}, {"port": 9}, {"over": ""}):
        assert (await client("POST", PATH, order | wrong)).status_code == 400, wrong


@pytest.mark.usefixtures("stream")
async def test_what_may_not_be_is_refused_with_the_reason(client: Client) -> None:
    for wrong in (
        {"host": "10.0.0.1"},
        {"host": "::ffff:127.0.0.1"},
        {"host": "239.1.1.1"},
        {"host": "camera.example"},
        {"host": None},
        {"port": 0},
        {"payload_type": 128},
        {"ssrc": 2**32},
        {"transport": "sctp"},
        {"video": False, "audio": False},
        {"transport": "tcp_active", "local_port": 5000},
        {"unknown": 1},
    ):
        answer = await client("POST", PATH, ORDER | wrong)
        assert answer.status_code == 400, (wrong, answer.text)
    assert (await client("POST", PATH, ORDER | {"local_port": 9})).status_code == 503


@pytest.mark.usefixtures("stream")
async def test_nothing_is_sent_of_what_does_not_flow_or_is_another_projects(client: Client, world: World) -> None:
    world.relay.live.clear()
    assert (await client("POST", PATH, ORDER)).status_code == 409
    assert (await client("POST", "/gb/v1/streams/unknown/senders", ORDER)).status_code == 404
    assert (await client("GET", "/gb/v1/streams/unknown/senders")).status_code == 404
    password = await world.accounts.add_user("viewer", "default", Role.VIEWER, None, world.now)
    client.token, _ = await world.accounts.log_in("viewer", password, world.now)
    assert (await client("POST", PATH, ORDER)).status_code == 403
    assert (await client("GET", PATH)).status_code == 200
