"""What the audit log holds of calls made over HTTP."""

from datetime import timedelta
from typing import Any

import pytest

from gateway.accounts.model import Role
from gateway.errors import UnavailableError
from tests.api.auth.test_keystone import log_in
from tests.api.conftest import Client
from tests.api.operator.test_users import enter, made
from tests.api.world import NOW, World

LOG_IN = "POST /v3/auth/tokens"


async def entries(client: Client, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.ok("GET", "/gb/v1/audit", **query))["entries"]
    return found


async def test_a_change_is_told_with_everything_but_secrets(client: Client, world: World) -> None:
    body = {"username": "gate1", "password": "Secret-1234", "description": "门口"}
    answer = await client.http.post(
        f"/v1/{client.project_id}/credentials/codes",
        json=body,
        headers={"X-Auth-Token": str(client.token), "X-Forwarded-For": "198.51.100.7"},
    )
    assert answer.status_code == 200
    (entry,) = await entries(client, call="codes")
    number, user_id = entry.pop("number"), entry.pop("user_id")
    proof = entry.pop("proof")
    assert (number > 0, len(user_id), proof[:6]) == (True, 32, "token ")
    assert entry == {
        "at": "2026-03-01T08:00:00Z",
        "project_id": client.project_id,
        "user_name": "admin",
        "address": "198.51.100.7",
        "call": "POST /v1/{project_id}/credentials/codes",
        "target": {"username": "gate1"},
        "changes": {"username": "gate1", "password": "***", "description": "门口"},
        "status": 200,
        "error": "",
        "request_id": answer.headers["X-request-id"],
    }
    tokens = (await client.ok("GET", "/gb/v1/me/tokens"))["tokens"]
    assert proof == f"token {tokens[0]['token_id']}"


async def test_what_was_made_and_what_was_refused(client: Client, world: World, credential: str) -> None:
    made_ids = await client.ok("POST", "devices", {"type": "IPC", "username": credential, "quantity": 2})
    await client.refused("VIS.0302", "DELETE", "devices/unknown")
    await client("DELETE", "/gb/v1/groups/unknown")
    password = await world.accounts.add_user("viewer", "default", Role.VIEWER, None, world.now)
    token, _ = await world.accounts.log_in("viewer", password, world.now)
    viewer = Client(client.http, client.project_id, token)
    await viewer.refused("VIS.0006", "DELETE", f"devices/{made_ids['device_id_list'][0]}")
    found = [
        (entry["user_name"], entry["call"].split()[0], entry["target"], entry["status"], entry["error"])
        for entry in await entries(client, limit=4)
        if entry["call"] != LOG_IN
    ]
    assert found == [
        ("viewer", "DELETE", {"device_id": made_ids["device_id_list"][0]}, 403, "VIS.0006"),
        ("admin", "DELETE", {"group_id": "unknown"}, 404, "VIS.0005"),
        ("admin", "DELETE", {"device_id": "unknown"}, 404, "VIS.0302"),
    ]
    (creation,) = await entries(client, target=made_ids["device_id_list"][1])
    assert creation["target"] == made_ids
    assert [one["user_name"] for one in await entries(client, outcome="refused")] == ["viewer", "admin", "admin"]


async def test_reading_and_strangers_leave_nothing(client: Client) -> None:
    before = await entries(client)
    await client.ok("GET", "devices")
    await client.refused("VIS.0302", "GET", "devices/unknown")
    nobody = Client(client.http, client.project_id, None)
    assert (await nobody("DELETE", "devices/unknown")).status_code == 401
    assert (await nobody("POST", "/nowhere", {})).status_code in {404, 405}
    assert await entries(client) == before


async def test_log_ins_are_told(client: Client, world: World) -> None:
    nobody = Client(client.http, client.project_id, None)
    assert (await nobody("POST", "/v3/auth/tokens", log_in())).status_code == 201
    assert (await nobody("POST", "/v3/auth/tokens", log_in("wrong"))).status_code == 401
    assert (await nobody("POST", "/v3/auth/tokens", log_in(name="stranger"))).status_code == 401
    scope = {"project": {"name": "nowhere"}}
    assert (await nobody("POST", "/v3/auth/tokens", log_in(scope=scope))).status_code == 403
    found = [(one["user_name"], one["proof"], one["error"]) for one in await entries(client, call=LOG_IN, limit=3)]
    assert found == [("admin", "password", "VIS.0006"), ("admin", "password", "VIS.0001"), ("admin", "password", "")]
    everywhere = await entries(client, call=LOG_IN, everywhere=True, user="stranger")
    assert [(one["project_id"], one["error"]) for one in everywhere] == [(None, "VIS.0001")]
    assert "wrong" not in str(await entries(client, everywhere=True))


async def test_the_log_is_filtered_and_paged(client: Client, world: World) -> None:
    for minute in range(5):
        world.now = NOW + timedelta(minutes=minute)
        await client("POST", "/gb/v1/groups", {"name": f"group {minute}"})
    window = {"since": "2026-03-01T08:01:00Z", "until": "2026-03-01T16:04:00+08:00", "call": "groups"}
    page = await client.ok("GET", "/gb/v1/audit", limit=2, **window)
    assert [one["changes"]["name"] for one in page["entries"]] == ["group 3", "group 2"]
    page = await client.ok("GET", "/gb/v1/audit", limit=2, before=page["next"], **window)
    assert ([one["changes"]["name"] for one in page["entries"]], page["next"]) == (["group 1"], None)
    for wrong in (
        {"since": "x"},
        {"limit": 0},
        {"before": -1},
        {"outcome": "x"},
        {"since": "0001-01-01T00:00:00+14:00"},
    ):
        assert (await client("GET", "/gb/v1/audit", **wrong)).status_code == 400


async def test_each_project_sees_its_own(client: Client, world: World) -> None:
    await client("POST", "/gb/v1/projects", {"name": "north"})
    there = await enter(client, world, "admin", "north")
    await made(there, "zhao", "administrator")
    zhao = await enter(client, world, "zhao", "north")
    assert {one["project_id"] for one in await entries(zhao, everywhere=True)} == {there.project_id}
    assert (await client.ok("GET", "/gb/v1/audit", user="zhao"))["entries"] == []
    await made(there, "li", "operator")
    li = await enter(client, world, "li", "north")
    assert (await li("GET", "/gb/v1/audit")).status_code == 403


async def test_no_answer_before_the_entry_is_kept(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_entry: object) -> None:
        raise UnavailableError("the disk is full")

    monkeypatch.setattr(world.store.audit, "append", fail)
    answer = await client("POST", "/gb/v1/groups", {"name": "gates"})
    assert (answer.status_code, answer.json()["title"]) == (503, "Service Unavailable")
    answer = await client("POST", "credentials/codes", {"username": "gate1", "password": "Secret-1234"})
    assert (answer.status_code, answer.json()["error_code"]) == (503, "VIS.0008")
    assert answer.headers["X-request-id"]
    answer = await client("DELETE", "/gb/v1/groups/unknown")
    assert (answer.status_code, answer.headers.get("X-Error-Reason")) == (503, None), "that was the answer not given"


async def test_old_entries_are_pruned(client: Client, world: World) -> None:
    await client("POST", "/gb/v1/groups", {"name": "gates"})
    world.now += timedelta(days=365)
    assert await world.gateway.audit.prune() == 0
    world.now += timedelta(seconds=1)
    assert await world.gateway.audit.prune() > 0


async def test_log_ins_that_fail_are_slowed(client: Client) -> None:
    nobody = Client(client.http, client.project_id, None)
    for _ in range(5):
        assert (await nobody("POST", "/v3/auth/tokens", log_in("wrong"))).status_code == 401
    for password in ("wrong", "Secret-1234"):
        answer = await nobody("POST", "/v3/auth/tokens", log_in(password))
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 2
        assert "try again in" in answer.json()["error"]["message"]
    change = {"password": "Secret-1234", "new_password": "Other-12345"}
    assert (await client("PUT", "/gb/v1/me/password", change)).status_code == 429
    assert len(await entries(client, outcome="refused", call="auth/tokens")) == 5
