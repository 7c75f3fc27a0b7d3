"""Device groups, and users who are restricted to some."""

from typing import Any

import pytest

from tests.api.conftest import Client
from tests.api.operator.test_users import enter, made, told
from tests.api.world import World

CHANNEL = "34020000001310000001"


class Site:
    """Three NVRs with a channel each; the first is of the group `gates`, to which `li` is restricted."""

    def __init__(self, ids: list[str], group: str, streams: list[str], li: Client) -> None:
        self.ids, self.group, self.streams, self.li = ids, group, streams, li


@pytest.fixture
async def site(client: Client, world: World, credential: str) -> Site:
    answer = await client.ok("POST", "devices", {"type": "NVR", "username": credential, "quantity": 3})
    ids = answer["device_id_list"]
    for device_id in ids:
        await world.register(device_id, client.project_id)
    await client.ok("POST", "streams", {"name": "pushed", "access_type": "RTMP", "encode_type": "H264"})
    group = (await client("POST", "/gb/v1/groups", {"name": "gates"})).json()["group_id"]
    await client.ok("PUT", f"/gb/v1/groups/{group}/devices", {"add": [ids[0]]})
    await made(client, "li", "operator", groups=[group])
    streams = [f"channel_{device_id}_{CHANNEL}" for device_id in ids]
    return Site(ids, group, streams, await enter(client, world, "li"))


async def test_groups_are_made_filled_and_deleted(client: Client, site: Site) -> None:
    (group,) = (await client.ok("GET", "/gb/v1/groups"))["groups"]
    assert (group["name"], group["devices"], group["group_id"]) == ("gates", 1, site.group)
    url = f"/gb/v1/groups/{site.group}"
    filled = await client.ok("PUT", f"{url}/devices", {"add": [site.ids[1], site.ids[0]], "remove": ["unknown"]})
    assert filled["devices"] == 2
    page = await client.ok("GET", f"{url}/devices", offset=1, limit=1)
    assert page == {"total": 2, "device_ids": [site.ids[1]]}
    await told(client, 404, "PUT", f"{url}/devices", {"add": [site.ids[2], "unknown"]})
    assert (await client.ok("PUT", f"{url}/devices", {"remove": [site.ids[0]]}))["devices"] == 1
    changed = await client.ok("PUT", url, {"name": "门口", "description": "north side"})
    assert (changed["name"], changed["description"]) == ("门口", "north side")
    await told(client, 409, "POST", "/gb/v1/groups", {"name": "门口"})
    for name in ("", " x", "a\x00", "x" * 65):
        await told(client, 400, "POST", "/gb/v1/groups", {"name": name})
    assert (await client("DELETE", url)).status_code == 204
    for method, path, body in [("GET", "", None), ("PUT", "", {}), ("DELETE", "", None), ("GET", "/devices", None)]:
        await told(client, 404, method, url + path, body)


async def test_a_restricted_user_sees_only_what_is_in_the_groups(client: Client, site: Site, world: World) -> None:
    li, (seen, hidden, _) = site.li, site.ids
    assert (await li.ok("GET", "/gb/v1/me"))["groups"] == [site.group]
    assert [device["device_id"] for device in await li.ok("GET", "devices")] == [seen]
    assert (await li.ok("GET", "devices", offset=1, limit=10))["total"] == 1
    assert [stream["name"] for stream in await li.ok("GET", "streams")] == [site.streams[0]]
    channels = await li.ok("GET", "/gb/v1/channels")
    assert (channels["total"], channels["channels"][0]["device_id"]) == (1, seen)
    for path in ("", "/events", "/diagnosis", "/deviations", "/trace"):
        await li.ok("GET", f"/gb/v1/devices/{seen}{path}")
        await told(li, 404, "GET", f"/gb/v1/devices/{hidden}{path}")
    await told(li, 404, "GET", f"/gb/v1/channels/{hidden}/{CHANNEL}/diagnosis")
    assert (await li("GET", "/gb/v1/channels", device_id=hidden)).status_code == 404
    await li.ok("GET", f"streams/{site.streams[0]}")
    for name in (site.streams[1], "pushed"):
        await li.refused("VIS.0202", "GET", f"streams/{name}")
        await li.refused("VIS.0202", "GET", f"streams/{name}/endpoint")


async def test_a_restricted_user_acts_only_on_what_is_in_the_groups(client: Client, site: Site, world: World) -> None:
    li, (seen, hidden, _) = site.li, site.ids
    await li.ok("PUT", f"devices/{seen}/channels/{CHANNEL}", {"state": "ACTIVE"})
    await li.refused("VIS.0302", "PUT", f"devices/{hidden}/channels/{CHANNEL}", {"state": "ACTIVE"})
    await li.refused("VIS.0302", "PUT", f"devices/{hidden}/channel-refresh")
    await told(li, 404, "PUT", f"/gb/v1/devices/{hidden}/trace")
    for device_id in (seen, hidden):
        await world.lose(device_id, client.project_id)
    await li.refused("VIS.0302", "DELETE", f"devices/{hidden}")
    await li.ok("DELETE", f"devices/{seen}")
    assert [device["device_id"] for device in await client.ok("GET", "devices")] == site.ids[1:]
    assert (await client.ok("GET", f"/gb/v1/groups/{site.group}"))["devices"] == 0


async def test_what_concerns_the_whole_project_is_shut_for_restricted_users(site: Site) -> None:
    for method, path, body in [
        ("POST", "devices", {"type": "IPC", "username": "0100"}),
        ("GET", "credentials/codes", None),
        ("POST", "streams", {"name": "x", "access_type": "RTMP", "encode_type": "H264"}),
        ("POST", "subscription", None),
    ]:
        await site.li.refused("VIS.0006", method, path, body)
    assert (await site.li("GET", "/gb/v1/strangers")).status_code == 403


async def test_restrictions_change_at_once(client: Client, site: Site) -> None:
    async def seen() -> list[Any]:
        return [site.ids.index(device["device_id"]) for device in await site.li.ok("GET", "devices")]

    assert await seen() == [0]
    await client.ok("PUT", f"/gb/v1/groups/{site.group}/devices", {"add": [site.ids[2]]})
    assert await seen() == [0, 2]
    await client.ok("PUT", "/gb/v1/users/li", {"role": "viewer"})
    assert await seen() == [0, 2]
    await client.ok("PUT", "/gb/v1/users/li", {"groups": []})
    assert await seen() == []
    await client.ok("PUT", "/gb/v1/users/li", {"groups": None})
    assert await seen() == [0, 1, 2]
    await client.ok("PUT", "/gb/v1/users/li", {"groups": [site.group]})
    await client("DELETE", f"/gb/v1/groups/{site.group}")
    assert await seen() == []


async def test_groups_of_other_projects_are_not_there(client: Client, site: Site, world: World) -> None:
    await client("POST", "/gb/v1/projects", {"name": "north"})
    there = await enter(client, world, "admin", "north")
    assert (await there.ok("GET", "/gb/v1/groups"))["groups"] == []
    for method, path, body in [
        ("GET", f"/gb/v1/groups/{site.group}", None),
        ("PUT", f"/gb/v1/groups/{site.group}", {"name": "x"}),
        ("PUT", f"/gb/v1/groups/{site.group}/devices", {"remove": [site.ids[0]]}),
        ("GET", f"/gb/v1/groups/{site.group}/devices", None),
        ("DELETE", f"/gb/v1/groups/{site.group}", None),
        ("POST", "/gb/v1/users", {"name": "x", "role": "viewer", "groups": [site.group]}),
    ]:
        await told(there, 404, method, path, body)
    mine = (await there("POST", "/gb/v1/groups", {"name": "gates"})).json()["group_id"]
    await told(there, 404, "PUT", f"/gb/v1/groups/{mine}/devices", {"add": [site.ids[0]]})
