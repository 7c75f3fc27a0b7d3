"""Who may ask, and what is answered while nothing is there; the rest is in tests/e2e/test_diagnosis.py."""

import pytest

from gateway.accounts.model import Role
from gateway.gb28181.registrar import UNKNOWN_DEVICE
from gateway.gb28181.trace import TRACED_AT_ONCE
from sip.flow import Address, Flow
from tests.api.conftest import Client
from tests.api.world import NOW, World

NVR = "34020000001180000001"
CHANNEL = "34020000001310000001"
FLOW = Flow("UDP", Address("192.0.2.1", 5080), Address("198.51.100.7", 5060))


@pytest.fixture(autouse=True)
async def nvr(client: Client, credential: str) -> None:
    await client.ok("POST", "devices", {"type": "NVR", "username": credential})


async def test_a_device_that_never_registered_and_who_may_be_it(client: Client, world: World) -> None:
    world.refusals.note("34020000001180000099", FLOW, UNKNOWN_DEVICE)
    found = await client.ok("GET", f"/gb/v1/devices/{NVR}/diagnosis")
    assert (found["channel_id"], found["call"], found["main"]["code"]) == (None, None, "never_registered")
    assert [one["code"] for one in found["findings"]] == ["never_registered", "stranger"]
    assert found["addresses"]["sip"] == "192.0.2.1:5080"
    (stranger,) = (await client.ok("GET", "/gb/v1/strangers"))["strangers"]
    assert (stranger["device_id"], stranger["source"]) == ("34020000001180000099", "198.51.100.7:5060 (UDP)")


async def test_a_channel_that_nobody_invited(client: Client, world: World) -> None:
    await world.register(NVR, client.project_id)
    found = await client.ok("GET", f"/gb/v1/channels/{NVR}/{CHANNEL}/diagnosis")
    assert (found["call"]["under_way"], found["call"]["media"]) == (False, None)
    answer = await client("GET", f"/gb/v1/channels/{NVR}/{CHANNEL}/packets")
    assert (answer.status_code, "invite the channel" in answer.json()["detail"]) == (409, True)


async def test_only_what_is_the_projects_own(client: Client) -> None:
    for path in ("devices/1/diagnosis", "devices/1/trace", "devices/1/deviations", f"channels/{NVR}/1/diagnosis"):
        assert (await client("GET", f"/gb/v1/{path}")).status_code == 404


async def test_a_viewer_sees_the_diagnosis_and_no_traffic(client: Client, world: World) -> None:
    await world.register(NVR, client.project_id)
    password = await world.accounts.add_user("guest", "default", Role.VIEWER, None, NOW)
    client.token, _ = await world.accounts.log_in("guest", password, world.now)
    assert (await client("GET", f"/gb/v1/channels/{NVR}/{CHANNEL}/diagnosis")).status_code == 200
    for method, path in (
        ("GET", f"channels/{NVR}/{CHANNEL}/packets"),
        ("GET", f"devices/{NVR}/trace"),
        ("PUT", f"devices/{NVR}/trace"),
        ("DELETE", f"devices/{NVR}/trace"),
        ("GET", "strangers"),
    ):
        assert (await client(method, f"/gb/v1/{path}")).status_code == 403, path


async def test_only_so_many_traces(client: Client, world: World) -> None:
    assert (await client.ok("PUT", f"/gb/v1/devices/{NVR}/trace"))["on"]
    assert (await client("DELETE", f"/gb/v1/devices/{NVR}/trace")).status_code == 204
    for number in range(TRACED_AT_ONCE):
        world.gateway.traces.start(f"{number:020}")  # type: ignore[arg-type]
    assert (await client("PUT", f"/gb/v1/devices/{NVR}/trace")).status_code == 409
