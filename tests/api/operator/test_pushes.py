"""Streams that are sent on to other servers, as operators set it up."""

import asyncio
import itertools
from typing import Any

import pytest

from gateway.accounts.model import Role
from gateway.background import Background
from gateway.errors import UnavailableError
from gateway.pushes import service
from gateway.pushes.service import Pushes
from media._core import CoreError, UnknownReceiverError
from tests.api.conftest import Client
from tests.api.world import Live, World
from tests.gateway.media_events import Event

KEY = "rtmp://live.example/app/abcd-efgh-1234?token=secret"
PUSHES = "/gb/v1/streams/stream1/pushes"


@pytest.fixture
async def stream(client: Client) -> None:
    await client.ok("POST", "streams", {"name": "stream1", "access_type": "RTMP", "encode_type": "H264"})


async def make(client: Client, url: str = KEY) -> Any:
    answer = await client("POST", PUSHES, {"url": url})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def begin(world: World, receiver: int = 70) -> None:
    world.relay.live["default", "stream1"] = Live(receiver=receiver)
    world.gateway.pushes.handle_media(Event("tracks", receiver, app="default", name="stream1"))
    await world.gateway.pushes.look()


@pytest.mark.usefixtures("stream")
async def test_an_address_may_ask_for_datagrams(client: Client, world: World) -> None:
    made = await make(client, url := "rtsp://live.example/app/cam#transport=udp")
    assert made["url"] == url
    await begin(world)
    assert world.relay.transports == {url: "udp"}
    answer = await client("POST", PUSHES, {"url": "rtmp://live.example/app/cam#transport=udp"})
    assert (answer.status_code, "rtsp:// alone" in answer.text) == (400, True)


@pytest.mark.usefixtures("stream")
async def test_a_push_is_kept_and_opened_with_its_stream(client: Client, world: World) -> None:
    made = await make(client)
    assert (made["url"], made["state"]) == ("rtmp://live.example/app/abcd…", "STOPPED")
    await begin(world)
    await begin(world)
    assert [told for told in world.relay.told if told[0] == "push"] == [("push", 70, KEY)]
    [push] = (await client.ok("GET", PUSHES))["pushes"]
    assert (push["push_id"], push["state"], push["bytes_out"], push["reason"]) == (made["push_id"], "PUSHING", 7, "")
    [opened] = world.relay.pushed
    detail = {"push": str(opened), "reason": "the server refused: no", "cause": "refused", "retry_ms": "1000"}
    world.gateway.pushes.handle_media(Event("push_failed", 70, detail, app="default", name="stream1"))
    [push] = (await client.ok("GET", PUSHES))["pushes"]
    assert (push["reason"], push["cause"], push["reason_code"]) == ("the server refused: no", "refused", "refused")
    assert push["failed_at"] is not None
    ended = Event(
        "push_ended", 70, {"push": str(opened), "reason": "the stream is over"}, app="default", name="stream1"
    )
    world.gateway.pushes.handle_media(ended)
    world.relay.pushed.clear()
    assert [push["state"] for push in (await client.ok("GET", PUSHES))["pushes"]] == ["STOPPED"]
    await begin(world, 71)
    assert world.relay.told[-1] == ("push", 71, KEY)

    world.relay.live.clear()
    again = Pushes(world.store, world.relay, lambda: world.now, allow_private=False)
    async with asyncio.timeout(20), Background() as background:
        background.spawn(again.run(), "pushes")
        while again.counts != {"wanted": 1, "open": 0}:  # noqa: ASYNC110  (a task tells nobody)
            await asyncio.sleep(0.01)
        world.relay.live["default", "stream1"] = Live(receiver=72)
        again.handle_media(Event("first_packet", 72, app="default", name="stream1"))
        while world.relay.told[-1] != ("push", 72, KEY):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    assert (await client("DELETE", f"{PUSHES}/{made['push_id']}")).status_code == 204
    assert (await client("DELETE", f"{PUSHES}/{made['push_id']}")).status_code == 404
    assert (await client.ok("GET", PUSHES))["pushes"] == []
    assert world.gateway.pushes.counts == {"wanted": 0, "open": 0}


@pytest.mark.usefixtures("stream")
async def test_what_cannot_be_is_refused(client: Client, world: World) -> None:
    for url in ("http://live.example/app/key", "rtmp://", "x" * 3000):
        assert (await client("POST", PUSHES, {"url": url})).status_code == 400, url
    assert (await client("POST", "/gb/v1/streams/unknown/pushes", {"url": KEY})).status_code == 404
    for _ in range(8):
        await make(client)
    assert (await client("POST", PUSHES, {"url": KEY})).status_code in (400, 403)
    logged = (await client.ok("GET", "/gb/v1/audit"))["entries"]
    assert "efgh" not in repr(logged)
    assert "abcd" in repr(logged)
    password = await world.accounts.add_user("viewer", "default", Role.VIEWER, None, world.now)
    client.token, _ = await world.accounts.log_in("viewer", password, world.now)
    assert (await client("POST", PUSHES, {"url": KEY})).status_code == 403
    assert len((await client.ok("GET", PUSHES))["pushes"]) == 8


@pytest.mark.usefixtures("stream")
async def test_a_deleted_stream_takes_its_pushes_with_it(client: Client, world: World) -> None:
    await make(client)
    assert (await client("DELETE", "streams/stream1")).status_code in (200, 204)
    assert await world.store.pushes.every() == []
    assert world.gateway.pushes.counts == {"wanted": 1, "open": 0}, "nobody told"
    await world.gateway.pushes.sweep()
    assert world.gateway.pushes.counts == {"wanted": 0, "open": 0}


@pytest.mark.usefixtures("stream")
async def test_another_stream_of_the_name_is_not_pushed_where_the_first_one_was(client: Client, world: World) -> None:
    await make(client)
    await begin(world)
    assert world.gateway.pushes.counts == {"wanted": 1, "open": 1}
    assert (await client("DELETE", "streams/stream1")).status_code in (200, 204)
    world.relay.live.clear()
    await client.ok("POST", "streams", {"name": "stream1", "access_type": "RTMP", "encode_type": "H264"})
    own = await make(client, "rtmp://live.example/app/other")
    await begin(world, 71)
    assert [told for told in world.relay.told if told[0] == "push"] == [
        ("push", 70, KEY),
        ("push", 71, "rtmp://live.example/app/other"),
    ]
    assert world.gateway.pushes.counts == {"wanted": 1, "open": 1}
    assert [push["push_id"] for push in (await client.ok("GET", PUSHES))["pushes"]] == [own["push_id"]]


@pytest.mark.usefixtures("stream")
async def test_while_the_database_is_away_what_was_stored_last_counts(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise UnavailableError("the database is away")

    await make(client)
    monkeypatch.setattr(world.store.streams, "find", away)
    await begin(world)
    assert ("push", 70, KEY) in world.relay.told


@pytest.mark.usefixtures("stream")
async def test_a_stream_that_begins_anew_while_the_database_is_asked_is_pushed_as_it_is_then(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(client)
    find = world.store.streams.find

    async def slowly(app: str, name: str) -> Any:
        world.relay.live[app, name] = Live(receiver=71)
        return await find(app, name)

    monkeypatch.setattr(world.store.streams, "find", slowly)
    await begin(world, 70)
    assert [told for told in world.relay.told if told[0] == "push"] == [("push", 71, KEY)]

    async def gone(app: str, name: str) -> Any:
        world.relay.live.clear()
        return await find(app, name)

    monkeypatch.setattr(world.store.streams, "find", gone)
    await begin(world, 72)
    assert [told for told in world.relay.told if told[0] == "push"] == [("push", 71, KEY)]


@pytest.mark.usefixtures("stream")
async def test_a_push_of_a_receiver_that_is_gone_is_closed(client: Client, world: World) -> None:
    await make(client)
    await begin(world, 70)
    [first] = world.relay.pushed
    await begin(world, 71)
    [second] = world.relay.pushed
    assert ("close push", first) in world.relay.told
    assert second != first
    assert world.gateway.pushes.counts == {"wanted": 1, "open": 1}


@pytest.mark.usefixtures("stream")
async def test_a_refusal_holds_until_the_push_is_opened_and_a_stream_that_ended_is_none(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(error: Exception) -> Any:
        def open_push(*_: Any, **__: Any) -> int:
            raise error

        return open_push

    await make(client)
    for error, cause in ((UnknownReceiverError("no receiver 70"), ""), (CoreError("too many pushes"), "refused_here")):
        with monkeypatch.context() as patch:
            patch.setattr(world.relay, "open_push", raising(error))
            await begin(world)
        [push] = (await client.ok("GET", PUSHES))["pushes"]
        assert (push["state"], push["cause"], push["failed_at"] is None) == ("STOPPED", cause, not cause)
    await begin(world)
    [push] = (await client.ok("GET", PUSHES))["pushes"]
    assert (push["state"], push["cause"], push["reason"], push["failed_at"]) == ("PUSHING", "", "", None)


@pytest.mark.usefixtures("stream")
async def test_pushes_without_a_stream_are_dropped_however_often_others_begin(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.ok("POST", "streams", {"name": "stream2", "access_type": "RTMP", "encode_type": "H264"})
    await make(client)
    assert (await client("POST", PUSHES.replace("stream1", "stream2"), {"url": KEY})).status_code == 201
    receivers = itertools.count(70)
    monkeypatch.setattr(service, "SWEEP_SECONDS", 0.5)
    pushes = Pushes(world.store, world.relay, lambda: world.now, allow_private=False)
    async with asyncio.timeout(20), Background() as background:
        background.spawn(pushes.run(), "pushes")
        while pushes.counts["wanted"] != 2:  # noqa: ASYNC110  (a task tells nobody)
            await asyncio.sleep(0.01)
        assert (await client("DELETE", "streams/stream2")).status_code in (200, 204)
        while pushes.counts["wanted"] != 1:
            pushes.handle_media(Event("tracks", next(receivers), app="default", name="stream1"))
            await asyncio.sleep(0.01)
