"""§4.4.5 to §4.4.8: AK/SK credentials."""

import re
from datetime import timedelta
from typing import Any

from tests.api.conftest import Client, Opener
from tests.api.world import World

KEYS = "credentials/aksks"


async def create(client: Client, name: str = "aksk_1") -> dict[str, Any]:
    created: dict[str, Any] = await client.ok("POST", KEYS, {"name": name, "description": "this is for device."})
    return created


async def test_create_shows_the_secret_once(client: Client, world: World) -> None:
    created = await create(client)
    access_key, secret_key = created.pop("access_key"), created.pop("secret_key")
    assert created == {
        "name": "aksk_1",
        "description": "this is for device.",
        "created_at": "2026-03-01T08:00:00Z",
        "updated_at": "2026-03-01T08:00:00Z",
    }
    assert re.fullmatch(r"[A-Z2-7]{32}", access_key)
    assert re.fullmatch(r"[A-Z2-7]{64}", secret_key)
    (listed,) = await client.ok("GET", KEYS)
    assert listed == {**created, "access_key": access_key}
    kept = await world.store.push_keys.get(client.project_id, access_key)
    assert kept is not None
    assert kept.secret_key == secret_key
    assert secret_key not in repr(kept)
    other = await create(client, "aksk_2")
    assert (other["access_key"], other["secret_key"]) != (access_key, secret_key)


async def test_what_is_wrong_is_named(client: Client) -> None:
    for change, named in [
        ({"name": ""}, "name"),
        ({"name": "x" * 33}, "name"),
        ({"name": "a.b"}, "name"),
        ({"name": "密钥"}, "name"),
        ({"name": None}, "name"),
        ({"description": "x" * 501}, "description"),
    ]:
        assert named in await client.refused("VIS.0005", "POST", KEYS, {"name": "aksk_1", **change})
    assert "name" in await client.refused("VIS.0005", "POST", KEYS, {})
    await client.ok("POST", KEYS, {"name": "A-b_9" + "x" * 27, "description": "x" * 500})


async def test_names_are_unique_in_a_project(client: Client) -> None:
    await create(client)
    await client.refused("VIS.0103", "POST", KEYS, {"name": "aksk_1"})


async def test_the_quota_holds_and_used_counts(opened: Opener) -> None:
    _, client = await opened(quotas={"aksk": 2})
    for name in ("a", "b"):
        await create(client, name)
    await client.refused("VIS.0014", "POST", KEYS, {"name": "c"})
    quota = (await client.ok("GET", "subscription"))["quota"]["aksk"]
    assert quota == {"total": 2, "used": 2}


async def test_update(client: Client, world: World) -> None:
    key = (await create(client))["access_key"]
    await create(client, "taken")
    world.now += timedelta(minutes=1)
    assert await client.ok("PUT", f"{KEYS}/{key}", {"name": "aksk_2", "description": "new"}) == {"result": "success"}
    (entry,) = await client.ok("GET", KEYS, name="aksk")
    assert (entry["name"], entry["description"]) == ("aksk_2", "new")
    assert (entry["created_at"], entry["updated_at"]) == ("2026-03-01T08:00:00Z", "2026-03-01T08:01:00Z")
    await client.ok("PUT", f"{KEYS}/{key}", {"name": "aksk_2"})
    await client.refused("VIS.0103", "PUT", f"{KEYS}/{key}", {"name": "taken"})
    await client.refused("VIS.0005", "PUT", f"{KEYS}/{key}", {"name": "a b"})
    await client.refused("VIS.0005", "PUT", f"{KEYS}/{key}", {"description": "x" * 501})
    await client.refused("VIS.0104", "PUT", f"{KEYS}/unknown", {"name": "aksk_3"})
    (entry,) = await client.ok("GET", KEYS, name="aksk")
    assert (entry["name"], entry["description"]) == ("aksk_2", "new")


async def test_update_as_the_examples_have_it(client: Client) -> None:
    """By name in the path, and with a capital letter."""
    await create(client)
    await client.ok("PUT", f"{KEYS}/aksk_1", {"name": "aksk_2", "Description": "capital"})
    (entry,) = await client.ok("GET", KEYS)
    assert (entry["name"], entry["description"]) == ("aksk_2", "capital")


async def test_list_filtered_and_paged(client: Client, world: World) -> None:
    keys = []
    for number in range(4):
        world.now += timedelta(seconds=1)
        keys.append((await create(client, f"Key{3 - number}"))["access_key"])
    assert [entry["access_key"] for entry in await client.ok("GET", KEYS)] == keys
    assert [entry["name"] for entry in await client.ok("GET", KEYS, name="kEY2")] == ["Key2"]
    part = keys[2][5:20].lower()
    assert [entry["access_key"] for entry in await client.ok("GET", KEYS, access_key=part)] == [keys[2]]
    page = await client.ok("GET", KEYS, offset=2, limit=2)
    assert (page["total"], [entry["access_key"] for entry in page["entries"]]) == (4, keys[1:3])
    for order in ("name", "access_key", "created_at", "updated_at"):
        up = await client.ok("GET", KEYS, offset=1, limit=9, order_by=order)
        down = await client.ok("GET", KEYS, offset=1, limit=9, order_by=order, sort="DESC")
        values = [entry[order] for entry in up["entries"]]
        assert values == sorted(values)
        assert down["entries"] == up["entries"][::-1]
    assert (await client.ok("GET", KEYS, offset=9, limit=9))["entries"] == []
    await client.refused("VIS.0005", "GET", KEYS, offset=1, limit=1, order_by="secret")
    await client.refused("VIS.0005", "GET", KEYS, offset=1)


async def test_delete_answers_nothing(client: Client) -> None:
    key = (await create(client))["access_key"]
    answer = await client("DELETE", f"{KEYS}/{key}")
    assert (answer.status_code, answer.content) == (204, b"")
    await client.refused("VIS.0104", "DELETE", f"{KEYS}/{key}")
    assert await client.ok("GET", KEYS) == []


async def test_a_key_in_use_stays(client: Client) -> None:
    key = (await create(client))["access_key"]
    stream = {"name": "s1", "access_type": "RTMP", "encode_type": "H264", "access_key": key}
    await client.ok("POST", "streams", stream)
    await client.refused("VIS.0107", "DELETE", f"{KEYS}/{key}")
    await client.ok("PUT", "streams/s1", {"access_key": ""})
    assert (await client("DELETE", f"{KEYS}/{key}")).status_code == 204
