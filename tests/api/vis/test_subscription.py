"""§4.1: POST and GET /v1/{project_id}/subscription."""

import pytest

from tests.api.conftest import Client, Opener
from tests.api.world import World


async def test_a_project_subscribes_once(client: Client) -> None:
    before = await client.ok("GET", "subscription")
    assert before["is_subscribed"] is False
    answer = await client.ok("POST", "subscription")
    assert answer["is_subscribed"] is True
    assert (answer["sip_ip"], answer["sip_port"]) == ("192.0.2.1", "5080")
    assert answer["created_at"] == "2026-03-01T08:00:00Z"
    assert len(answer["user_id"]) == 32
    assert await client.ok("GET", "subscription") == answer
    await client.refused("VIS.0018", "POST", "subscription")


async def test_quotas_are_told_with_what_is_used(client: Client, world: World, credential: str) -> None:
    await client.ok("POST", "devices", {"type": "NVR", "username": credential})
    await world.register("34020000001180000001", client.project_id, channels=3)
    await client.ok("PUT", "devices/34020000001180000001/channels/34020000001310000001", {"state": "ACTIVE"})
    quota = (await client.ok("GET", "subscription"))["quota"]
    assert quota == {
        "password": {"total": 10, "used": 1},
        "consecutive_access_time": {"total": 120, "used": 0},
        "random_access_time": {"total": 240, "used": 0},
        "stream": {"total": 100000, "used": 3},
        "active_stream": {"total": 200, "used": 1},
        "device": {"total": 100000, "used": 1},
        "aksk": {"total": 10, "used": 0},
    }


@pytest.mark.parametrize("path", ["devices", "streams", "credentials/codes"])
async def test_where_a_subscription_is_required_nothing_else_is_served(opened: Opener, path: str) -> None:
    _, client = await opened(subscription_required=True)
    await client.refused("VIS.0004", "GET", path)
    await client.ok("POST", "subscription")
    await client.ok("GET", path)
