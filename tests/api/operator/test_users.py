"""Users, projects and what everybody may do about themselves, under /gb/v1."""

import asyncio
from typing import Any

import pytest

from gateway.accounts.model import Role
from tests.api.conftest import Client
from tests.api.world import World

PASSWORD = "Secret-1234"


async def made(client: Client, name: str, role: str = "operator", **more: Any) -> dict[str, Any]:
    answer = await client("POST", "/gb/v1/users", {"name": name, "role": role, "password": PASSWORD, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def enter(client: Client, world: World, name: str, project: str | None = None) -> Client:
    token, access = await world.accounts.log_in(name, PASSWORD, world.now, project_name=project)
    return Client(client.http, access.project.project_id, token)


async def told(client: Client, status: int, method: str, path: str, body: Any = None) -> str:
    """The detail of a refusal."""
    answer = await client(method, path, body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    return str(answer.json()["detail"])


async def test_users_are_made_shown_changed_and_deleted(client: Client, world: World) -> None:
    first = await made(client, "li")
    assert (first["role"], first["groups"], first["enabled"], first["own"]) == ("operator", None, True, True)
    assert "password" not in first
    answer = await client("POST", "/gb/v1/users", {"name": "wang", "role": "Viewer"})
    await world.accounts.log_in("wang", answer.json()["password"], world.now)
    users = (await client.ok("GET", "/gb/v1/users"))["users"]
    assert {user["name"]: user["role"] for user in users} == {
        "admin": "administrator",
        "li": "operator",
        "wang": "viewer",
    }
    changed = await client.ok("PUT", "/gb/v1/users/wang", {"role": "operator"})
    assert changed["role"] == "operator"
    assert (await client("DELETE", "/gb/v1/users/wang")).status_code == 204
    assert "wang" in await told(client, 404, "GET", "/gb/v1/users/wang")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (409, {"name": "admin", "role": "viewer"}),
        (400, {"name": "a b", "role": "viewer"}),
        (400, {"name": "li", "role": "king"}),
        (400, {"name": "li", "role": "viewer", "password": "short"}),
        (400, {"name": "li", "role": "administrator", "groups": []}),
        (404, {"name": "li", "role": "viewer", "groups": ["0" * 32]}),
        (400, {"name": "li"}),
    ],
)
async def test_users_that_are_refused(client: Client, status: int, body: dict[str, Any]) -> None:
    assert await told(client, status, "POST", "/gb/v1/users", body)
    assert len((await client.ok("GET", "/gb/v1/users"))["users"]) == 1


async def test_what_shuts_a_user_out(client: Client, world: World) -> None:
    await made(client, "li")
    li = await enter(client, world, "li")
    key = (await li("POST", "/gb/v1/access-keys", {})).json()["access_key"]
    assert (await client.ok("PUT", "/gb/v1/users/li", {"enabled": False}))["enabled"] is False
    await li.refused("VIS.0001", "GET", "devices")
    answer = await client("POST", "/v3/auth/tokens", log_in("li"))
    assert answer.status_code in {401, 403}
    await client.ok("PUT", "/gb/v1/users/li", {"enabled": True})
    await li.refused("VIS.0001", "GET", "devices")
    li = await enter(client, world, "li")
    (kept,) = (await li.ok("GET", "/gb/v1/access-keys"))["access_keys"]
    assert (kept["access_key"], kept["enabled"]) == (key, False)
    await client.ok("PUT", "/gb/v1/users/li/password", {"password": "Other-12345"})
    await li.refused("VIS.0001", "GET", "devices")
    made_up = (await client.ok("PUT", "/gb/v1/users/li/password", {}))["password"]
    token, _ = await world.accounts.log_in("li", made_up, world.now)
    li = Client(client.http, client.project_id, token)
    assert len((await client.ok("GET", "/gb/v1/users/li/tokens"))["tokens"]) == 1
    assert (await client("DELETE", "/gb/v1/users/li/tokens")).status_code == 204
    await li.refused("VIS.0001", "GET", "devices")


def log_in(name: str, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    identity = {"methods": ["password"], "password": {"user": {"name": name, "password": password}}}
    return {"auth": {"identity": identity}, **more}


async def test_own_password_and_tokens(client: Client, world: World) -> None:
    await made(client, "li", "viewer")
    li, other = await enter(client, world, "li"), await enter(client, world, "li")
    me = await li.ok("GET", "/gb/v1/me")
    assert (me["name"], me["role"], me["project"]["name"], me["account_admin"]) == ("li", "viewer", "default", False)
    tokens = (await li.ok("GET", "/gb/v1/me/tokens"))["tokens"]
    assert len(tokens) == 2
    assert all(str(li.token) not in str(token) for token in tokens)
    third = await enter(client, world, "li")
    for token in tokens:
        await third("DELETE", f"/gb/v1/me/tokens/{token['token_id']}")
    for one in (li, other):
        await one.refused("VIS.0001", "GET", "devices")
    li = await enter(client, world, "li")
    assert (await li("DELETE", f"/gb/v1/me/tokens/{tokens[0]['token_id']}")).status_code == 404
    await told(li, 403, "PUT", "/gb/v1/me/password", {"password": "wrong", "new_password": "Other-12345"})
    await told(li, 400, "PUT", "/gb/v1/me/password", {"password": PASSWORD, "new_password": "short"})
    change = {"password": PASSWORD, "new_password": "Other-12345"}
    assert (await li("PUT", "/gb/v1/me/password", change)).status_code == 204
    await li.refused("VIS.0001", "GET", "devices")
    await world.accounts.log_in("li", "Other-12345", world.now)


@pytest.mark.parametrize("role", ["operator", "viewer"])
async def test_only_administrators_look_after_users(client: Client, world: World, role: str) -> None:
    await made(client, "li", role)
    li = await enter(client, world, "li")
    for method, path, body in [
        ("GET", "/gb/v1/users", None),
        ("POST", "/gb/v1/users", {"name": "x", "role": "viewer"}),
        ("PUT", "/gb/v1/users/li", {"role": "administrator"}),
        ("PUT", "/gb/v1/users/admin/password", {}),
        ("DELETE", "/gb/v1/users/admin", None),
        ("GET", "/gb/v1/groups", None),
        ("POST", "/gb/v1/groups", {"name": "x"}),
        ("POST", "/gb/v1/projects", {"name": "x"}),
    ]:
        await told(li, 403, method, path, body)


async def test_the_last_administrator_stays(client: Client, world: World) -> None:
    await made(client, "li", "administrator")
    for method, path, body in [
        ("PUT", "/gb/v1/users/admin", {"enabled": False}),
        ("PUT", "/gb/v1/users/admin", {"account_admin": False}),
        ("DELETE", "/gb/v1/users/admin", None),
    ]:
        assert "account administrator stays" in await told(client, 409, method, path, body)
    await client.ok("PUT", "/gb/v1/users/li", {"account_admin": True})
    await client.ok("PUT", "/gb/v1/users/admin", {"role": "viewer"})
    li = await enter(client, world, "li")
    assert "last administrator" in await told(li, 409, "PUT", "/gb/v1/users/li", {"role": "operator"})
    assert "last administrator" in await told(li, 409, "DELETE", "/gb/v1/users/li/role")
    assert "last administrator" in await told(li, 409, "DELETE", "/gb/v1/users/li")
    assert (await li("DELETE", "/gb/v1/users/admin")).status_code == 204


async def test_a_user_may_enter_several_projects(client: Client, world: World) -> None:
    north = (await client("POST", "/gb/v1/projects", {"name": "north"})).json()["project_id"]
    await made(client, "li", "viewer")
    in_north = await enter(client, world, "admin", "north")
    await told(in_north, 400, "PUT", "/gb/v1/users/li", {"enabled": True, "groups": None})
    let_in = await in_north.ok("PUT", "/gb/v1/users/li", {"role": "operator"})
    assert (let_in["role"], let_in["own"]) == ("operator", False)
    li, li_north = await enter(client, world, "li"), await enter(client, world, "li", "north")
    await li.refused("VIS.0006", "POST", "subscription")
    await li_north.ok("POST", "subscription")
    assert {one["id"] for one in (await li.ok("GET", "/v3/projects"))["projects"]} == {client.project_id, north}
    for scope in ({"project": {"id": north}}, {"project": {"name": "north"}}):
        for body in (log_in("li", scope=scope), {"auth": {**log_in("li")["auth"], "scope": scope}}):
            answer = await client("POST", "/v3/auth/tokens", body)
            assert answer.json()["token"]["project"]["id"] == north
            assert answer.json()["token"]["roles"][0]["name"] == "operator"
    await li_north.refused("VIS.0006", "GET", f"/v1/{client.project_id}/devices")
    assert (await in_north("DELETE", "/gb/v1/users/li/role")).status_code == 204
    await li_north.refused("VIS.0001", "GET", "devices")
    await li.ok("GET", "devices")


async def test_a_projects_administrator_has_no_say_beyond_it(client: Client, world: World) -> None:
    """Whoever could set the password of a user of two projects could enter the other one."""
    await client("POST", "/gb/v1/projects", {"name": "north"})
    in_north = await enter(client, world, "admin", "north")
    await made(in_north, "zhao", "administrator")
    await made(client, "li", "viewer")
    await in_north.ok("PUT", "/gb/v1/users/li", {"role": "viewer"})
    zhao = await enter(client, world, "zhao")
    for name in ("li", "admin"):
        for method, path, body in [
            ("PUT", f"/gb/v1/users/{name}/password", {"password": "Taken-over-1"}),
            ("PUT", f"/gb/v1/users/{name}", {"enabled": False}),
            ("DELETE", f"/gb/v1/users/{name}", None),
            ("GET", f"/gb/v1/users/{name}/tokens", None),
            ("DELETE", f"/gb/v1/users/{name}/tokens", None),
        ]:
            await told(zhao, 403, method, path, body)
    await told(zhao, 403, "PUT", "/gb/v1/users/zhao", {"account_admin": True})
    await made(client, "wang", "viewer")
    await told(zhao, 404, "PUT", "/gb/v1/users/wang", {"role": "viewer"})
    await told(zhao, 403, "POST", "/gb/v1/projects", {"name": "south"})
    await zhao.ok("PUT", "/gb/v1/users/li", {"role": "operator"})
    assert [one["name"] for one in (await zhao.ok("GET", "/gb/v1/projects"))["projects"]] == ["north"]
    await told(zhao, 404, "GET", f"/gb/v1/projects/{client.project_id}")
    quotas = {"quotas": {"device": 10**6}}
    await told(zhao, 403, "PUT", f"/gb/v1/projects/{zhao.project_id}", quotas)


async def test_projects(client: Client, world: World, credential: str) -> None:
    answer = await client("POST", "/gb/v1/projects", {"name": "north", "quotas": {"device": 1}})
    north = answer.json()
    assert (answer.status_code, north["own_quotas"], north["quotas"]["device"]) == (201, {"device": 1}, 1)
    assert north["quotas"]["stream"] == 100_000
    await told(client, 409, "POST", "/gb/v1/projects", {"name": "north"})
    await told(client, 400, "POST", "/gb/v1/projects", {"name": "../x"})
    await told(client, 400, "POST", "/gb/v1/projects", {"name": "x", "quotas": {"cameras": 1}})
    await told(client, 400, "POST", "/gb/v1/projects", {"name": "x", "quotas": {"device": -1}})
    assert {one["name"] for one in (await client.ok("GET", "/gb/v1/projects"))["projects"]} == {"default", "north"}
    there = await enter(client, world, "admin", "north")
    await there.ok("POST", "credentials/codes", {"username": "0200", "password": PASSWORD})
    await there.ok("POST", "devices", {"type": "IPC", "username": "0200"})
    await there.refused("VIS.0014", "POST", "devices", {"type": "IPC", "username": "0200"})
    url = f"/gb/v1/projects/{north['project_id']}"
    assert (await client.ok("PUT", url, {"quotas": {}}))["quotas"]["device"] == 100_000
    await there.ok("POST", "devices", {"type": "IPC", "username": "0200"})
    assert "not empty" in await told(client, 409, "DELETE", url)
    for device in await there.ok("GET", "devices"):
        await there.ok("DELETE", f"devices/{device['device_id']}")
    await there.ok("DELETE", "credentials/codes/0200")
    await made(there, "zhao", "operator")
    assert "not empty" in await told(client, 409, "DELETE", url)
    assert (await there("DELETE", "/gb/v1/users/zhao")).status_code == 204
    assert (await client("DELETE", url)).status_code == 204
    await told(client, 404, "GET", url)
    await there.refused("VIS.0001", "GET", "devices")
    assert await told(client, 409, "DELETE", f"/gb/v1/projects/{client.project_id}")


async def test_a_role_that_is_taken_away_ends_what_its_token_may(client: Client, world: World) -> None:
    await made(client, "li", "operator")
    li = await enter(client, world, "li")
    await client.ok("PUT", "/gb/v1/users/li", {"role": "viewer"})
    await li.refused("VIS.0006", "POST", "subscription")
    assert Role.OPERATOR.includes(Role.VIEWER)


async def test_a_restricted_user_is_so_from_the_first_moment(client: Client, world: World) -> None:
    """Else whatever ends the gateway in between leaves a user who sees everything."""
    group_id = (await client("POST", "/gb/v1/groups", {"name": "north"})).json()["group_id"]
    for number in range(5):
        making = asyncio.create_task(made(client, f"li{number}", groups=[group_id]))
        seen = await world.store.accounts.members(name=f"li{number}")
        while not seen:
            seen = await world.store.accounts.members(name=f"li{number}")
        assert [one.groups for one in seen] == [frozenset({group_id})]
        await making
