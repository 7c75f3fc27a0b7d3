"""Who watches a stream, as operators see it."""

from gateway.accounts.model import Role
from tests.api.conftest import Client
from tests.api.operator.test_streams import add
from tests.api.world import Viewer, World

VIEWERS = "/gb/v1/streams/stream1/viewers"


async def test_viewers_are_listed_and_sent_away(client: Client, world: World) -> None:
    await add(client)
    assert await client.ok("GET", VIEWERS) == {"viewers": []}
    world.relay.watching["default", "stream1"] = [Viewer(7), Viewer(9, protocol="hls")]
    listed = (await client.ok("GET", VIEWERS))["viewers"]
    assert listed[0] == {
        "id": 7,
        "protocol": "http-flv",
        "peer": "192.0.2.9:40000",
        "since": "2026-03-01T08:00:00Z",
        "bytes_out": 1000,
        "skips": 0,
        "user_agent": "VLC",
    }
    assert (await client("DELETE", f"{VIEWERS}/7")).status_code == 204
    assert [one["id"] for one in (await client.ok("GET", VIEWERS))["viewers"]] == [9]
    assert (await client("DELETE", f"{VIEWERS}/7")).status_code == 404
    assert (await client("DELETE", f"{VIEWERS}/x")).status_code == 404
    entries = (await client.ok("GET", "/gb/v1/audit"))["entries"]
    kick = next(entry for entry in entries if "viewers" in entry["call"] and not entry["error"])
    assert kick["call"] == "DELETE /gb/v1/streams/{stream_name}/viewers/{viewer_id}"
    assert kick["target"] == {"stream_name": "stream1", "viewer_id": "7"}


async def test_viewers_of_other_streams_are_left_alone(client: Client, world: World) -> None:
    await add(client)
    world.relay.watching["other", "elsewhere"] = [Viewer(7)]
    assert (await client("DELETE", f"{VIEWERS}/7")).status_code == 404
    assert world.relay.watching["other", "elsewhere"] == [Viewer(7)]
    assert (await client("GET", "/gb/v1/streams/unknown/viewers")).status_code == 404


async def test_only_operators_send_viewers_away(client: Client, world: World) -> None:
    await add(client)
    world.relay.watching["default", "stream1"] = [Viewer(7)]
    password = await world.accounts.add_user("viewer", "default", Role.VIEWER, None, world.now)
    client.token, _ = await world.accounts.log_in("viewer", password, world.now)
    assert (await client("GET", VIEWERS)).status_code == 200
    assert (await client("DELETE", f"{VIEWERS}/7")).status_code == 403
