"""Record plans, as operators make them and give them to streams."""

from datetime import timedelta
from typing import Any

import pytest

from tests import s3
from tests.api.conftest import Client, Opener
from tests.api.operator.test_users import enter, made
from tests.api.world import World

PLANS = "/gb/v1/record-plans"
NIGHT = [
    {"days": ["SAT", "FRI"], "start": "22:00", "end": "24:00"},
    {"days": ["SAT", "SUN"], "start": "00:00", "end": "05:30"},
    {"days": ["SUN"], "start": "05:00", "end": "06:00"},
]
KEPT = {"retention_in_hour": 1, "store_type": "local", "timezone": "GMT+8:00"}


@pytest.fixture
async def streams(client: Client) -> list[str]:
    """Two with a retention that is not active, and one without."""
    for name in ("door", "gate", "yard"):
        await client.ok("POST", "streams", {"name": name, "access_type": "RTMP", "encode_type": "H264"})
    for name in ("door", "gate"):
        await client.ok("PUT", f"streams/{name}/retention", KEPT)
    return ["door", "gate", "yard"]


async def make(client: Client, **changes: Any) -> Any:
    answer = await client("POST", PLANS, {"name": "nights", "week": NIGHT, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_plan_is_made_changed_and_deleted(client: Client, world: World) -> None:
    plan = await make(client)
    assert (plan["timezone"], plan["streams"]) == ("GMT+08:00", 0)
    assert plan["week"] == [
        {"days": ["FRI", "SAT"], "start": "22:00", "end": "24:00"},
        {"days": ["SAT"], "start": "00:00", "end": "05:30"},
        {"days": ["SUN"], "start": "00:00", "end": "06:00"},
    ]
    assert (plan["wanted"], plan["changes_at"]) == (False, "2026-03-06T14:00:00Z")  # it is Sunday, 16:00 in UTC+8
    where = f"{PLANS}/{plan['plan_id']}"
    week = [{"days": ["SUN"], "start": "09:00", "end": "10:00"}]
    changed = (await client("PUT", where, {"timezone": "Europe/London", "week": week, "name": "mass"})).json()
    assert (changed["name"], changed["wanted"]) == ("mass", False)
    world.now += timedelta(hours=1)
    assert (await client.ok("GET", where))["wanted"]
    assert [one["name"] for one in (await client.ok("GET", PLANS))["plans"]] == ["mass"]
    assert (await client("DELETE", where)).status_code == 204
    assert (await client("GET", where)).status_code == 404


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": ""}, "name"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"week": [{"days": ["MON"], "start": "22:00", "end": "06:00"}]}, "week"),
        ({"week": [{"days": ["Mo"], "start": "10:00", "end": "11:00"}]}, "days"),
        ({"week": [{"days": ["MON"], "start": "10:00", "end": "11:60"}]}, "end"),
        ({"week": [{"days": ["MON"], "start": "10:00"}]}, "end"),
    ],
)
async def test_what_cannot_be_is_refused(client: Client, wrong: dict[str, Any], field: str) -> None:
    answer = await client("POST", PLANS, {"name": "nights", "week": NIGHT, **wrong})
    assert answer.status_code == 400
    assert field in answer.json()["detail"]


async def test_a_plan_is_shared_and_tells_what_is_recorded_because_of_it(
    client: Client, world: World, streams: list[str]
) -> None:
    plan = await make(client, week=[{"days": ["SUN"], "start": "00:00", "end": "24:00"}])
    where = f"{PLANS}/{plan['plan_id']}"
    refused = await client("PUT", f"{where}/streams", {"add": streams})
    assert (refused.status_code, "yard" in refused.json()["detail"]) == (400, True)
    assert (await client("PUT", f"{where}/streams", {"add": ["nobody"]})).status_code == 404
    given = (await client("PUT", f"{where}/streams", {"add": streams[:2]})).json()
    assert (given["streams"], given["wanted"], len(world.plan_changes)) == (2, True, 1)
    listed = await client.ok("GET", f"{PLANS}/recording")
    assert (listed["total"], [one["stream_name"] for one in listed["streams"]]) == (2, ["door", "gate"])
    assert {one["plan_name"] for one in listed["streams"]} == {"nights"}
    assert (await client("DELETE", where)).status_code == 409
    other = await make(client, name="other", week=[])
    await client("PUT", f"{PLANS}/{other['plan_id']}/streams", {"add": ["door"]})
    assert (await client.ok("GET", f"{PLANS}/recording"))["total"] == 1
    paged = await client.ok("GET", PLANS, offset=1, limit=1)
    assert (paged["total"], [one["name"] for one in paged["plans"]]) == (2, ["other"])
    assert (await client.ok("GET", f"{where}/streams"))["streams"][0]["stream_name"] == "gate"
    world.now += timedelta(hours=9)  # Monday in UTC+8
    assert (await client.ok("GET", f"{PLANS}/recording"))["total"] == 0
    assert (await client.ok("GET", f"{where}/streams"))["total"] == 1
    await client("PUT", f"{where}/streams", {"remove": ["gate"]})
    assert (await client("DELETE", where)).status_code == 204


async def test_viewers_look_and_changes_are_written_down(client: Client, world: World) -> None:
    plan = await make(client)
    await made(client, "looker", "viewer")
    looker = await enter(client, world, "looker")
    assert (await looker.ok("GET", PLANS))["plans"]
    assert (await looker("PUT", f"{PLANS}/{plan['plan_id']}", {"name": "mine"})).status_code == 403
    entries = (await client.ok("GET", "/gb/v1/audit"))["entries"]
    found = next(one for one in entries if one["call"] == "POST /gb/v1/record-plans")
    assert found["target"]["plan_id"] == plan["plan_id"]


async def test_a_bucket_is_written_to_before_a_plan_records_into_it(
    opened: Opener, s3_server: s3.Server, bucket: str, broken: tuple[int, s3.Faults]
) -> None:
    port, faults = broken
    _, client = await opened(object_storage=s3_server.storage(port))
    kept = KEPT | {"store_type": "obs", "bucket": bucket, "path": ""}
    for name in ("door", "gate"):
        await client.ok("POST", "streams", {"name": name, "access_type": "RTMP", "encode_type": "H264"})
        await client.ok("PUT", f"streams/{name}/retention", kept)
    plan = await make(client)
    where = f"{PLANS}/{plan['plan_id']}/streams"
    faults.answer = (403, s3.DENIED)
    answer = await client("PUT", where, {"add": ["door", "gate"]})
    assert answer.status_code == 403
    assert bucket in answer.json()["detail"]
    faults.heal()
    assert (await client.ok("GET", f"{PLANS}/{plan['plan_id']}"))["streams"] == 0
    assert (await client.ok("PUT", where, {"add": ["door", "gate"]}))["streams"] == 2
    assert [method for method, _ in faults.requests].count("HEAD") == 1, "the same place is tried once"
    assert await s3_server.objects(bucket) == {}
