"""Tokens and projects under /v3, and the gate before everything else."""

from datetime import timedelta
from typing import Any

from gateway.accounts.model import Role
from tests.api.conftest import Client
from tests.api.endpoints import IDS, endpoints
from tests.api.world import World

TOKENS = "/v3/auth/tokens"


def log_in(password: str = "Secret-1234", name: str = "admin", scope: Any = None) -> dict[str, Any]:
    user = {"name": name, "password": password, "domain": {"name": "account"}}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    return {"auth": auth if scope is None else {**auth, "scope": scope}}


async def test_a_token_comes_in_a_header_and_tells_its_project(client: Client, world: World) -> None:
    client.token = None
    answer = await client("POST", TOKENS, log_in())
    assert answer.status_code == 201
    token = answer.json()["token"]
    assert (token["project"]["id"], token["project"]["name"]) == (client.project_id, "default")
    assert token["issued_at"] == "2026-03-01T08:00:00.000000Z"
    assert token["expires_at"] == "2026-03-02T08:00:00.000000Z"
    assert (token["methods"], token["user"]["name"], token["roles"][0]["name"]) == (
        ["password"],
        "admin",
        "administrator",
    )
    client.token = answer.headers["X-Subject-Token"]
    assert await client.ok("GET", "devices") == []
    world.now += timedelta(hours=24)
    await client.refused("VIS.0001", "GET", "devices")


async def test_scopes(client: Client, world: World) -> None:
    other = await world.accounts.add_project("other", world.now)
    for scope in (
        {"project": {"name": "default"}},
        {"project": {"id": client.project_id}},
        {"domain": {"name": "account"}},
    ):
        assert (await client("POST", TOKENS, log_in(scope=scope))).status_code == 201
    for scope in ({"project": {"name": "other"}}, {"project": {"id": other.project_id}}):
        assert (await client("POST", TOKENS, log_in(scope=scope))).status_code == 403


async def test_a_wrong_name_or_password_is_401(client: Client) -> None:
    for name, password in [("admin", "wrong"), ("nobody", "Secret-1234")]:
        answer = await client("POST", TOKENS, log_in(password, name))
        assert answer.status_code == 401
        assert answer.json()["error"] == {
            "code": 401,
            "message": "the user name or the password is wrong",
            "title": "Unauthorized",
        }
        assert "X-Subject-Token" not in answer.headers


async def test_a_malformed_log_in_is_400(client: Client) -> None:
    for body in [
        {},
        {"auth": {}},
        {"auth": {"identity": {"methods": ["password"]}}},
        {"auth": {"identity": {"methods": ["token"], "password": {"user": {"name": "a", "password": "b"}}}}},
        {"auth": {"identity": {"password": {"user": {"name": 1, "password": "b"}}}}},
        [],
    ]:
        answer = await client("POST", TOKENS, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, 400)


async def test_projects_are_the_users_own(client: Client, world: World) -> None:
    await world.accounts.add_project("other", world.now)
    for path in ("/v3/projects", "/v3/auth/projects"):
        (project,) = (await client.ok("GET", path))["projects"]
        assert (project["id"], project["name"], project["enabled"]) == (client.project_id, "default", True)
        assert project["links"]["self"].endswith(client.project_id)
    client.token = None
    assert (await client("GET", "/v3/projects")).status_code == 401


async def test_a_token_can_be_taken_back(client: Client) -> None:
    assert (await client("DELETE", TOKENS)).status_code == 204
    await client.refused("VIS.0001", "GET", "devices")


async def test_another_users_token_cannot_be_taken_back(client: Client, world: World) -> None:
    password = await world.accounts.add_user("other", "default", Role.OPERATOR, None, world.now)
    other, _ = await world.accounts.log_in("other", password, world.now)
    headers = {"X-Auth-Token": other, "X-Subject-Token": str(client.token)}
    assert (await client.http.delete(TOKENS, headers=headers)).status_code == 400
    await client.ok("GET", "devices")


async def test_without_a_token_it_is_401_and_with_a_wrong_one_403(client: Client) -> None:
    own = client.token
    client.token = None
    answer = await client("GET", "devices")
    assert (answer.status_code, answer.json()["error_code"]) == (401, "VIS.0001")
    for wrong in ("wrong", "x" * 100_0, str(own)[:-1]):
        client.token = wrong
        await client.refused("VIS.0001", "GET", "devices")


async def test_a_foreign_project_is_refused_everywhere(client: Client) -> None:
    for endpoint in await endpoints(client, "/v1/"):
        await client.refused("VIS.0006", endpoint.method, endpoint.at({**IDS, "project_id": "0" * 32}), {})
        await client.refused("VIS.0002", endpoint.method, endpoint.at({**IDS, "project_id": "unknown"}), {})


async def test_a_viewer_changes_nothing(client: Client, world: World) -> None:
    password = await world.accounts.add_user("viewer", "default", Role.VIEWER, None, world.now)
    client.token, _ = await world.accounts.log_in("viewer", password, world.now)
    for endpoint in await endpoints(client, "/v1/"):
        if endpoint.method != "GET":
            path = endpoint.at({**IDS, "project_id": client.project_id})
            await client.refused("VIS.0006", endpoint.method, path, {})
    await client.ok("GET", "devices")


async def test_what_is_of_another_project_is_not_found(client: Client, world: World, credential: str) -> None:
    ids = (await client.ok("POST", "devices", {"type": "NVR", "username": credential}))["device_id_list"]
    await world.register(ids[0], client.project_id)
    stream = (await client.ok("GET", "streams"))[0]["name"]
    other = await world.accounts.add_project("other", world.now)
    password = await world.accounts.add_user("stranger", "other", Role.ADMINISTRATOR, None, world.now)
    token, _ = await world.accounts.log_in("stranger", password, world.now)
    stranger = Client(client.http, other.project_id, token)
    for path in ("devices", "streams", "credentials/codes", "credentials/aksks"):
        assert await stranger.ok("GET", path) == []
        assert (await stranger.ok("GET", path, offset=1, limit=10))["total"] == 0
    assert (await stranger.ok("GET", "/gb/v1/channels"))["total"] == 0
    assert (await stranger("GET", f"/gb/v1/devices/{ids[0]}")).status_code == 404
    assert (await stranger("GET", f"/gb/v1/devices/{ids[0]}/events")).status_code == 404
    assert (await stranger("GET", "/gb/v1/channels", device_id=ids[0])).status_code == 404
    channel = f"devices/{ids[0]}/channels/34020000001310000001"
    for code, method, path, body in [
        ("VIS.0302", "GET", f"devices/{ids[0]}", None),
        ("VIS.0302", "DELETE", f"devices/{ids[0]}", None),
        ("VIS.0302", "PUT", f"devices/{ids[0]}/channel-refresh", None),
        ("VIS.0302", "PUT", channel, {"state": "ACTIVE"}),
        ("VIS.0102", "POST", "devices", {"type": "IPC", "username": credential}),
        ("VIS.0102", "PUT", f"credentials/codes/{credential}", {"description": ""}),
        ("VIS.0102", "DELETE", f"credentials/codes/{credential}", None),
        ("VIS.0202", "GET", f"streams/{stream}", None),
        ("VIS.0202", "GET", f"streams/{stream}/endpoint", None),
        ("VIS.0101", "POST", "credentials/codes", {"username": credential, "password": "Hello-123"}),
    ]:
        await stranger.refused(code, method, path, body)
