"""§4.3: devices and channels."""

from datetime import timedelta

import pytest

from gateway.devices.model import ChannelId, DeviceId, InvitationStatus, StateCause
from gateway.errors import GatewayError, UnavailableError
from tests.api.conftest import Client, Opener
from tests.api.world import World

IPC = "34020000001320000001"
NVR = "34020000001180000001"
CHANNEL = "34020000001310000001"


@pytest.fixture
async def nvr(client: Client, world: World, credential: str) -> str:
    """The path of a registered NVR with three channels."""
    await client.ok("POST", "devices", {"type": "NVR", "username": credential, "suffix": "xc"})
    await world.register(NVR, client.project_id, channels=3)
    return f"devices/{NVR}"


@pytest.fixture
async def ipc(client: Client, world: World, credential: str) -> str:
    """The path of a registered IPC."""
    await client.ok("POST", "devices", {"type": "IPC", "username": credential})
    await world.register(IPC, client.project_id)
    return f"devices/{IPC}"


async def test_create_answers_the_ids(client: Client, credential: str) -> None:
    body = {"type": "ipc", "username": credential, "quantity": 2, "suffix": "abc", "description": "description"}
    assert await client.ok("POST", "devices", body) == {"device_id_list": [IPC, "34020000001320000002"]}
    assert (await client.ok("POST", "devices", {"type": "nvr", "username": credential}))["device_id_list"] == [NVR]


async def test_ids_may_be_given(client: Client, credential: str) -> None:
    body = {"type": "IPC", "username": credential, "device_id_list": ["camera1", "340200000013200001"]}
    assert (await client.ok("POST", "devices", body))["device_id_list"] == body["device_id_list"]
    await client.refused("VIS.0301", "POST", "devices", body)
    body["device_id_list"] = ["camera2", "camera2"]
    await client.refused("VIS.0301", "POST", "devices", body)


async def test_what_is_wrong_is_named(client: Client, credential: str) -> None:
    for change, named in [
        ({"type": "DVR"}, "type"),
        ({"type": None}, "type"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": -1}, "quantity"),
        ({"quantity": "two"}, "quantity"),
        ({"quantity": 1.5}, "quantity"),
        ({"quantity": 20_000}, "quantity"),
        ({"suffix": "x" * 31}, "suffix"),
        ({"suffix": "a b"}, "suffix"),
        ({"suffix": "门"}, "suffix"),
        ({"description": "x" * 501}, "description"),
        ({"device_id_list": ["a/b"]}, "device_id_list"),
        ({"device_id_list": ["x" * 33]}, "device_id_list"),
    ]:
        body = {"type": "IPC", "username": credential, **change}
        assert named in await client.refused("VIS.0005", "POST", "devices", body)


async def test_type_and_credential_are_needed(client: Client, credential: str) -> None:
    assert "type" in await client.refused("VIS.0005", "POST", "devices", {"username": credential})
    assert "username" in await client.refused("VIS.0005", "POST", "devices", {"type": "IPC"})
    await client.refused("VIS.0102", "POST", "devices", {"type": "IPC", "username": "unknown"})


async def test_the_quota_holds(opened: Opener) -> None:
    _, client = await opened(quotas={"device": 3})
    await client.ok("POST", "credentials/codes", {"username": "0100", "password": "Secret-1234"})
    await client.refused("VIS.0014", "POST", "devices", {"type": "IPC", "username": "0100", "quantity": 4})
    await client.ok("POST", "devices", {"type": "IPC", "username": "0100", "quantity": 2})
    await client.refused("VIS.0014", "POST", "devices", {"type": "IPC", "username": "0100", "quantity": 2})
    assert len(await client.ok("GET", "devices")) == 2


async def test_a_device_is_told_with_its_channels(client: Client, nvr: str) -> None:
    device = await client.ok("GET", nvr)
    channels = device.pop("channels")
    assert device == {
        "device_id": NVR,
        "channels_query": "QUERIED",
        "state": "ONLINE",
        "type": "NVR",
        "username": "0100",
        "suffix": "xc",
        "description": "",
        "created_at": "2026-03-01T08:00:00Z",
        "updated_at": "2026-03-01T08:00:00Z",
    }
    stream_id = channels[0].pop("stream_id")
    assert (stream_id[:7], len(stream_id)) == ("stream-", 15)
    assert channels[0] == {
        "device_id": NVR,
        "channel_id": CHANNEL,
        "stream_name": f"channel_{NVR}_{CHANNEL}_xc",
        "suffix": "xc",
        "invitation_status": "ONLINE",
        "tcp_priority": "FALSE",
        "tcp_support": "FALSE",
        "created_at": "2026-03-01T08:00:00Z",
        "updated_at": "2026-03-01T08:00:00Z",
    }
    assert [channel["channel_id"][-1] for channel in channels] == ["1", "2", "3"]
    await client.refused("VIS.0302", "GET", "devices/unknown")


async def test_list_whole_filtered_and_paged(client: Client, world: World, nvr: str, ipc: str) -> None:
    world.now += timedelta(minutes=1)
    await client.ok("POST", "devices", {"type": "IPC", "username": "0100"})
    every = await client.ok("GET", "devices")
    assert [(device["device_id"], device["state"], len(device["channels"])) for device in every] == [
        (NVR, "ONLINE", 3),
        (IPC, "ONLINE", 1),
        ("34020000001320000002", "UNREGISTERED", 0),
    ]
    for query, found in [
        ({"type": "ipc"}, 2),
        ({"state": "unregistered"}, 1),
        ({"state": "online", "type": "NVR"}, 1),
        ({"state": "offline"}, 0),
        ({"device_id": "132000"}, 2),
        ({"device_id": "%"}, 0),
    ]:
        assert len(await client.ok("GET", "devices", **query)) == found, query
    page = await client.ok("GET", "devices", offset=2, limit=5, sort="desc", order_by="DEVICE_ID")
    assert (page["total"], [device["device_id"] for device in page["entries"]]) == (3, [IPC, NVR])
    assert await client.ok("GET", "devices", offset=4, limit=5) == {"total": 3, "entries": []}
    ignored = await client.ok("GET", "devices", sort="DESC", order_by="device_id")
    assert [device["device_id"] for device in ignored] == [device["device_id"] for device in every]


async def test_lists_that_are_refused(client: Client) -> None:
    for query, named in [
        ({"offset": 1}, "limit"),
        ({"limit": 10}, "offset"),
        ({"offset": 0, "limit": 10}, "offset"),
        ({"offset": 100_001, "limit": 10}, "offset"),
        ({"offset": 1, "limit": 0}, "limit"),
        ({"offset": 1, "limit": 1001}, "limit"),
        ({"offset": "a", "limit": 1}, "offset"),
        ({"offset": 1, "limit": 1, "sort": "UP"}, "sort"),
        ({"offset": 1, "limit": 1, "order_by": "state"}, "order_by"),
        ({"type": "DVR"}, "type"),
        ({"state": "GONE"}, "state"),
    ]:
        assert named in await client.refused("VIS.0005", "GET", "devices", **query)


async def test_a_registered_device_is_not_deleted(client: Client, world: World, ipc: str) -> None:
    await client.refused("VIS.0303", "DELETE", ipc)
    await world.lose(IPC, client.project_id)
    assert await client.ok("DELETE", ipc) == {"result": "success"}
    await client.refused("VIS.0302", "DELETE", ipc)
    assert await client.ok("GET", "streams") == []


async def test_a_registered_channel_is_not_deleted(client: Client, world: World, nvr: str) -> None:
    channel = f"{nvr}/channels/{CHANNEL}"
    strategy = {"start_time": "10:00", "end_time": "18:00", "total_length": 120, "state": "ACTIVE"}
    await client.ok("PUT", f"{channel}/access-strategy", strategy)
    await client.refused("VIS.0307", "DELETE", channel)
    await world.lose(NVR, client.project_id)
    assert await client.ok("DELETE", channel) == {"result": "success"}
    assert world.forgotten == [(NVR, CHANNEL)]
    await client.refused("VIS.0304", "DELETE", channel)
    await client.refused("VIS.0302", "DELETE", f"devices/unknown/channels/{CHANNEL}")
    assert [one["channel_id"][-1] for one in (await client.ok("GET", nvr))["channels"]] == ["2", "3"]
    assert len(await client.ok("GET", "streams")) == 2
    assert (await client.ok("GET", "subscription"))["quota"]["random_access_time"]["used"] == 0
    await world.register(NVR, client.project_id, channels=3)
    assert (await client.ok("GET", nvr))["channels"][0]["invitation_status"] == "ONLINE", "named again, it is back"


async def test_an_nvr_is_asked_for_its_channels(client: Client, world: World, nvr: str) -> None:
    assert await client.ok("PUT", f"{nvr}/channel-refresh") == {"result": "success"}
    assert (await client.ok("GET", nvr))["channels_query"] == "QUERYING"
    await client.refused("VIS.0311", "PUT", f"{nvr}/channel-refresh")
    await world.lose(NVR, client.project_id)
    await client.refused("VIS.0312", "PUT", f"{nvr}/channel-refresh")
    await client.refused("VIS.0302", "PUT", "devices/unknown/channel-refresh")


async def test_only_an_nvr_is_asked(client: Client, ipc: str) -> None:
    await client.refused("VIS.0311", "PUT", f"{ipc}/channel-refresh")


async def test_invite_and_cancel(client: Client, world: World, ipc: str) -> None:
    channel = f"{ipc}/channels/{CHANNEL}"
    assert await client.ok("PUT", channel, {"state": "active"}) == {"result": "success"}
    assert (await client.ok("GET", ipc))["channels"][0]["invitation_status"] == "INVITE_SUCCESS"
    assert (await client.ok("GET", f"streams/channel_{IPC}_{CHANNEL}"))["state"] == "ACTIVE"
    await client.refused("VIS.0308", "PUT", channel, {"state": "ACTIVE"})
    assert await client.ok("PUT", channel, {"state": "STOPPED"}) == {"result": "success"}
    assert (await client.ok("GET", f"streams/channel_{IPC}_{CHANNEL}"))["state"] == "STOPPED"
    await client.refused("VIS.0309", "PUT", channel, {"state": "STOPPED"})
    await world.lose(IPC, client.project_id)
    await client.refused("VIS.0308", "PUT", channel, {"state": "ACTIVE"})
    await client.refused("VIS.0304", "PUT", f"{ipc}/channels/unknown", {"state": "ACTIVE"})
    await client.refused("VIS.0302", "PUT", f"devices/unknown/channels/{CHANNEL}", {"state": "ACTIVE"})


async def test_failures_of_calls(client: Client, world: World, ipc: str) -> None:
    channel = f"{ipc}/channels/{CHANNEL}"
    world.calls.error = GatewayError("no answer within 10 s")
    assert await client.refused("VIS.0305", "PUT", channel, {"state": "ACTIVE"}) == "no answer within 10 s"
    await client.refused("VIS.0306", "PUT", channel, {"state": "STOPPED"})
    world.calls.error = UnavailableError("secret detail")
    assert "secret" not in await client.refused("VIS.0008", "PUT", channel, {"state": "ACTIVE"})


async def test_active_streams_have_a_quota(opened: Opener) -> None:
    world, client = await opened(quotas={"active_stream": 1})
    await client.ok("POST", "credentials/codes", {"username": "0100", "password": "Secret-1234"})
    await client.ok("POST", "devices", {"type": "NVR", "username": "0100"})
    await world.register(NVR, client.project_id, channels=2)
    await client.ok("PUT", f"devices/{NVR}/channels/{CHANNEL}", {"state": "ACTIVE"})
    await client.refused("VIS.0014", "PUT", f"devices/{NVR}/channels/34020000001310000002", {"state": "ACTIVE"})
    await client.ok("PUT", f"devices/{NVR}/channels/{CHANNEL}", {"state": "STOPPED"})
    await client.ok("PUT", f"devices/{NVR}/channels/34020000001310000002", {"state": "ACTIVE"})


async def test_changes_that_are_refused(client: Client, ipc: str) -> None:
    for body, named in [
        ({}, "state"),
        ({"state": "ON"}, "state"),
        ({"state": "ACTIVE", "tcp_priority": "YES"}, "tcp_priority"),
        ({"state": "ACTIVE", "suffix": "x" * 31}, "suffix"),
        ({"state": "ACTIVE", "suffix": "a b"}, "suffix"),
        ({"state": 1}, "state"),
    ]:
        assert named in await client.refused("VIS.0005", "PUT", f"{ipc}/channels/{CHANNEL}", body)


@pytest.mark.parametrize("value", ["TRUE", "true", True])
async def test_tcp_priority(client: Client, ipc: str, value: str | bool) -> None:
    await client.ok("PUT", f"{ipc}/channels/{CHANNEL}", {"state": "ACTIVE", "tcp_priority": value})
    assert (await client.ok("GET", ipc))["channels"][0]["tcp_priority"] == "TRUE"
    await client.ok("PUT", f"{ipc}/channels/{CHANNEL}", {"tcp_priority": "FALSE"})
    assert (await client.ok("GET", ipc))["channels"][0]["tcp_priority"] == "FALSE"


async def test_an_nvrs_channel_cannot_prefer_tcp(client: Client, nvr: str) -> None:
    body = {"state": "ACTIVE", "tcp_priority": "TRUE"}
    await client.refused("VIS.0313", "PUT", f"{nvr}/channels/{CHANNEL}", body)
    await client.ok("PUT", f"{nvr}/channels/{CHANNEL}", {**body, "tcp_priority": "FALSE"})


async def test_a_suffix_renames_the_stream(client: Client, nvr: str) -> None:
    channel = f"{nvr}/channels/{CHANNEL}"
    await client.ok("PUT", channel, {"state": "STOPPED", "suffix": "gate-1"})
    changed = (await client.ok("GET", nvr))["channels"][0]
    assert (changed["suffix"], changed["stream_name"]) == ("gate-1", f"channel_{NVR}_{CHANNEL}_gate-1")
    await client.refused("VIS.0202", "GET", f"streams/channel_{NVR}_{CHANNEL}_xc")
    await client.ok("PUT", channel, {"suffix": ""})
    assert (await client.ok("GET", f"streams/channel_{NVR}_{CHANNEL}"))["stream_id"] == changed["stream_id"]


@pytest.mark.parametrize("status", list(InvitationStatus))
async def test_a_suffix_changes_only_while_nothing_is_invited(
    client: Client, world: World, nvr: str, status: InvitationStatus
) -> None:
    channel = await world.store.channels.get(DeviceId(NVR), ChannelId(CHANNEL))
    assert channel is not None
    await world.set_channel(channel, status, StateCause.INVITE)
    if status.value in {"UNREGISTERED", "ONLINE", "OFFLINE"}:
        await client.ok("PUT", f"{nvr}/channels/{CHANNEL}", {"suffix": "other"})
    else:
        await client.refused("VIS.0308", "PUT", f"{nvr}/channels/{CHANNEL}", {"suffix": "other"})
        await client.ok("PUT", f"{nvr}/channels/{CHANNEL}", {"suffix": "xc"})
