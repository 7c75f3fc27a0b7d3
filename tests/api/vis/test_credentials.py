"""§4.4.1 to §4.4.4: GB28181 credentials."""

from datetime import timedelta
from typing import Any

import pytest

from tests.api.conftest import Client, Opener
from tests.api.world import World

NEW = {"username": "userJack", "password": "Hello-123", "type": "NORMAL", "description": "this is for device."}
CODES = "credentials/codes"


async def test_create_answers_everything_but_the_password(client: Client) -> None:
    assert await client.ok("POST", CODES, NEW) == {
        "username": "userJack",
        "description": "this is for device.",
        "type": "NORMAL",
        "created_at": "2026-03-01T08:00:00Z",
        "updated_at": "2026-03-01T08:00:00Z",
    }


@pytest.mark.parametrize("type_", ["normal", "Normal", None])
async def test_the_type_is_read_without_regard_to_case_and_normal_by_default(client: Client, type_: str | None) -> None:
    assert (await client.ok("POST", CODES, {**NEW, "type": type_}))["type"] == "NORMAL"


async def test_an_anonymous_credential_gets_a_name_of_its_own(client: Client, world: World) -> None:
    first = await client.ok("POST", CODES, {**NEW, "type": "anonymous"})
    second = await client.ok("POST", CODES, {"password": "Hello-123", "type": "ANONYMOUS"})
    assert first["username"] not in {"userJack", second["username"]}
    ids = await client.ok("POST", "devices", {"type": "IPC", "username": first["username"]})
    provision = await world.store.devices.provision(ids["device_id_list"][0])
    assert provision is not None
    assert (provision.username, provision.password) == (ids["device_id_list"][0], "Hello-123")


async def test_what_is_wrong_is_named(client: Client) -> None:
    for change, named in [
        ({"username": None}, "username"),
        ({"username": ""}, "username"),
        ({"username": "a-b"}, "username"),
        ({"username": "x" * 33}, "username"),
        ({"username": 5}, "username"),
        ({"type": "OTHER"}, "type"),
        ({"password": "Short-1"}, "password"),
        ({"password": "lowercase1"}, "password"),
        ({"password": "Hello 1234"}, "password"),
        ({"password": "A1-" + "x" * 30}, "password"),
        ({"description": "x" * 501}, "description"),
        ({"description": "\x00"}, "description"),
    ]:
        assert named in await client.refused("VIS.0005", "POST", CODES, {**NEW, **change})


async def test_a_password_is_needed(client: Client) -> None:
    assert "password" in await client.refused("VIS.0005", "POST", CODES, {"username": "userJack"})


async def test_the_password_is_not_the_user_name(client: Client) -> None:
    for password in ["Camera001", "100aremaC"]:
        await client.refused("VIS.0105", "POST", CODES, {"username": "Camera001", "password": password})


async def test_user_names_are_unique_over_all_projects(client: Client, world: World) -> None:
    await client.ok("POST", CODES, NEW)
    await client.refused("VIS.0101", "POST", CODES, NEW)


async def test_the_quota_holds(opened: Opener) -> None:
    _, client = await opened(quotas={"password": 1})
    await client.ok("POST", CODES, NEW)
    await client.refused("VIS.0014", "POST", CODES, {**NEW, "username": "other"})


async def test_list_whole_filtered_and_paged(client: Client, world: World) -> None:
    for number, type_ in enumerate(["NORMAL", "ANONYMOUS", "NORMAL", "NORMAL"]):
        world.now += timedelta(seconds=1)
        await client.ok("POST", CODES, {"username": f"User{number}", "password": "Hello-123", "type": type_})
    every = await client.ok("GET", CODES)
    assert [entry["username"] for entry in every if entry["type"] == "NORMAL"] == ["User0", "User2", "User3"]
    assert {frozenset(entry) for entry in every} == {
        frozenset({"username", "description", "type", "created_at", "updated_at"})
    }
    assert [entry["username"] for entry in await client.ok("GET", CODES, username="ser2")] == ["User2"]
    assert len(await client.ok("GET", CODES, type="anonymous")) == 1
    page = await client.ok("GET", CODES, offset=2, limit=2, type="normal")
    assert (page["total"], [entry["username"] for entry in page["entries"]]) == (3, ["User2", "User3"])
    page = await client.ok("GET", CODES, offset=1, limit=1, sort="desc", order_by="username", type="normal")
    assert [entry["username"] for entry in page["entries"]] == ["User3"]
    await client.refused("VIS.0005", "GET", CODES, type="other")
    assert "order_by" in await client.refused("VIS.0005", "GET", CODES, offset=1, limit=1, order_by="secret")


async def test_description_and_password_change(client: Client, world: World) -> None:
    await client.ok("POST", CODES, NEW)
    world.now += timedelta(minutes=1)
    change = {"password": "Hello-123", "new_password": "hello1", "description": "new"}
    assert await client.ok("PUT", f"{CODES}/userJack", change) == {"result": "success"}
    (entry,) = await client.ok("GET", CODES)
    assert (entry["description"], entry["updated_at"]) == ("new", "2026-03-01T08:01:00Z")
    credential = await world.store.credentials.get("userJack")
    assert credential is not None
    assert credential.password == "hello1"


async def test_a_device_registers_with_the_new_password_at_once(client: Client, world: World, credential: str) -> None:
    ids = await client.ok("POST", "devices", {"type": "IPC", "username": credential})
    assert (await world.store.devices.provision(ids["device_id_list"][0])).password == "Secret-1234"  # type: ignore[union-attr]
    await client.ok("PUT", f"{CODES}/{credential}", {"password": "Secret-1234", "new_password": "Other-1234"})
    assert (await world.store.devices.provision(ids["device_id_list"][0])).password == "Other-1234"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("VIS.0106", {"password": "Wrong-123", "new_password": "Other-123"}),
        ("VIS.0005", {"new_password": "Other-123"}),
        ("VIS.0005", {"password": "Hello-123", "new_password": "Hello-123"}),
        ("VIS.0005", {"password": "Hello-123", "new_password": "abc12"}),
        ("VIS.0005", {"password": "Hello-123", "new_password": "abcdef"}),
        ("VIS.0105", {"password": "Hello-123", "new_password": "userJack"}),
        ("VIS.0105", {"password": "Hello-123", "new_password": "kcaJresu"}),
        ("VIS.0005", {"description": "x" * 501}),
    ],
)
async def test_changes_that_are_refused(client: Client, code: str, change: dict[str, Any]) -> None:
    await client.ok("POST", CODES, NEW)
    await client.refused(code, "PUT", f"{CODES}/userJack", change)


async def test_no_new_password_while_a_device_sends_video(client: Client, world: World, credential: str) -> None:
    ids = await client.ok("POST", "devices", {"type": "IPC", "username": credential})
    device_id = ids["device_id_list"][0]
    await world.register(device_id, client.project_id)
    await client.ok("PUT", f"devices/{device_id}/channels/34020000001310000001", {"state": "ACTIVE"})
    change = {"password": "Secret-1234", "new_password": "Other-1234"}
    await client.refused("VIS.0109", "PUT", f"{CODES}/{credential}", change)
    await client.ok("PUT", f"{CODES}/{credential}", {"description": "still possible"})
    await client.ok("PUT", f"devices/{device_id}/channels/34020000001310000001", {"state": "STOPPED"})
    await client.ok("PUT", f"{CODES}/{credential}", change)


async def test_delete(client: Client, credential: str) -> None:
    await client.refused("VIS.0102", "DELETE", f"{CODES}/unknown")
    ids = await client.ok("POST", "devices", {"type": "IPC", "username": credential})
    await client.refused("VIS.0108", "DELETE", f"{CODES}/{credential}")
    await client.ok("DELETE", f"devices/{ids['device_id_list'][0]}")
    assert await client.ok("DELETE", f"{CODES}/{credential}") == {"result": "success"}
    await client.refused("VIS.0102", "DELETE", f"{CODES}/{credential}")
    await client.refused("VIS.0102", "PUT", f"{CODES}/{credential}", {"description": ""})
