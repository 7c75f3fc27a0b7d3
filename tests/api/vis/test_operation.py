"""§4.5: operation statistics."""

from datetime import timedelta

import pytest

from gateway.devices.model import ChannelId, DeviceFilter, DeviceId, InvitationStatus, StateCause
from gateway.scope import Scope
from gateway.statistics.model import DeviceList
from tests.api.conftest import Client
from tests.api.world import Live, World

RATES = "operation/todayPacketReceivedRateDeviceList"
EVERY = [f"operation/{which}" for which in DeviceList] + [RATES]
CHANNEL = "34020000001310000001"


async def ids(client: Client, which: str, **query: object) -> list[str]:
    """The last digits of the devices that are listed."""
    return [device["device_id"][-1] for device in await client.ok("GET", f"operation/{which}", **query)]


async def wait(client: Client, world: World, time: timedelta) -> None:
    """Lets so much time pass; tokens do not last as long."""
    world.now += time
    client.token, _ = await world.accounts.log_in("admin", "Secret-1234", world.now)


@pytest.fixture
async def devices(client: Client, credential: str) -> list[str]:
    """Five IPCs that never registered."""
    body = {"type": "IPC", "username": credential, "quantity": 5}
    created: list[str] = (await client.ok("POST", "devices", body))["device_id_list"]
    return created


async def send(client: Client, world: World, device_id: str, expected: int, received: int) -> None:
    """Video comes from the first channel of the device."""
    channel = await world.store.channels.get(DeviceId(device_id), ChannelId(CHANNEL))
    assert channel is not None
    await world.set_channel(channel, InvitationStatus.INVITE_SUCCESS, StateCause.MEDIA)
    receiver = len(world.relay.live) + 1
    world.packets.opened(receiver, channel.device_id, channel.channel_id)
    name = (channel.app, channel.stream_name)
    world.relay.live[name] = Live(receiver=receiver, expected=expected, received=received)
    await world.packets.read()


async def test_devices_go_from_list_to_list(client: Client, world: World, devices: list[str]) -> None:
    assert [await ids(client, which) for which in DeviceList] == [[]] * 6
    for device_id in devices[:4]:
        await world.register(device_id, client.project_id)
    await send(client, world, devices[0], 100, 99)
    for which, found in {
        "pastOnlineDeviceList": "1234",
        "todayNewOnlineDeviceList": "1234",
        "todayDroppedDeviceList": "",
        "longTermOfflineDeviceList": "",
        "shortTermOfflineDeviceList": "",
        "notSendDataDeviceList": "234",
    }.items():
        assert await ids(client, which) == list(found), which
    await wait(client, world, timedelta(days=1))
    await world.lose(devices[1], client.project_id)
    await world.lose(devices[2], client.project_id)
    await world.register(devices[2], client.project_id)
    for which, found in {
        "pastOnlineDeviceList": "1234",
        "todayNewOnlineDeviceList": "",
        "todayDroppedDeviceList": "23",
        "longTermOfflineDeviceList": "",
        "shortTermOfflineDeviceList": "2",
        "notSendDataDeviceList": "234",
    }.items():
        assert await ids(client, which) == list(found), which
    assert await ids(client, "todayDroppedDeviceList", state="OFFLINE") == ["2"]
    await wait(client, world, timedelta(days=3))
    assert await ids(client, "shortTermOfflineDeviceList") == ["2"]
    assert await ids(client, "todayDroppedDeviceList") == []
    world.now += timedelta(seconds=1)
    assert await ids(client, "shortTermOfflineDeviceList") == []
    assert await ids(client, "longTermOfflineDeviceList") == ["2"]


async def test_today_ends_at_midnight_in_utc_8(client: Client, world: World, devices: list[str]) -> None:
    world.now = world.now.replace(hour=15, minute=59, second=59)  # 23:59:59 there
    await world.register(devices[0], client.project_id)
    assert await ids(client, "todayNewOnlineDeviceList") == ["1"]
    world.now += timedelta(seconds=1)
    assert await ids(client, "todayNewOnlineDeviceList") == []
    await world.register(devices[1], client.project_id)
    assert await ids(client, "todayNewOnlineDeviceList") == ["2"]
    world.now -= timedelta(seconds=1)  # the clock is set back: no device is new on two days
    assert await ids(client, "todayNewOnlineDeviceList") == ["1"]


async def test_entries_are_those_of_the_device_list(client: Client, world: World, devices: list[str]) -> None:
    await world.register(devices[0], client.project_id, channels=2)
    listed = await client.ok("GET", "operation/pastOnlineDeviceList")
    assert listed == [await client.ok("GET", f"devices/{devices[0]}")]
    assert len(listed[0]["channels"]) == 2


async def test_packet_rates(client: Client, world: World, devices: list[str]) -> None:
    for device_id in devices[:3]:
        await world.register(device_id, client.project_id)
    assert await client.ok("GET", RATES) == []
    await send(client, world, devices[0], 4511, 4511)
    await send(client, world, devices[1], 1000, 990)
    assert await client.ok("GET", RATES, offset=0, limit=1, sort="DESC", order_by="device_id") == {
        "total": 2,
        "entries": [
            {
                "device_id": devices[1],
                "channel_id": CHANNEL,
                "created_at": "2026-03-01T08:00:00Z",
                "updated_at": "2026-03-01T08:00:00Z",
                "state": "ONLINE",
                "packet_received_rate": "990/1000",
            }
        ],
    }
    await world.lose(devices[0], client.project_id)
    for query, found in [({}, 2), ({"state": "offline"}, 1), ({"device_id": devices[1][-6:]}, 1), ({"type": "NVR"}, 0)]:
        assert len(await client.ok("GET", RATES, **query)) == found, query
    await wait(client, world, timedelta(days=1))
    assert await client.ok("GET", RATES) == []


async def test_packet_sums_survive_a_restart(client: Client, world: World, devices: list[str]) -> None:
    await world.register(devices[0], client.project_id)
    await send(client, world, devices[0], 100, 100)
    await world.packets.write()
    again = World(world.store)
    await again.packets.read()
    sums = await again.gateway.statistics.packet_rates(Scope(client.project_id), DeviceFilter(), None)
    assert [str(entry.sums) for entry in sums.entries] == ["100/100"]


@pytest.mark.parametrize("path", EVERY)
async def test_parameters(client: Client, world: World, devices: list[str], path: str) -> None:
    for query, named in [
        ({"offset": 1}, "limit"),
        ({"limit": 10}, "offset"),
        ({"offset": -1, "limit": 10}, "offset"),
        ({"offset": 100_001, "limit": 10}, "offset"),
        ({"offset": 0, "limit": 0}, "limit"),
        ({"offset": 0, "limit": 1001}, "limit"),
        ({"offset": "a", "limit": 1}, "offset"),
        ({"offset": 0, "limit": 1, "sort": "UP"}, "sort"),
        ({"offset": 0, "limit": 1, "order_by": "state"}, "order_by"),
        ({"type": "DVR"}, "type"),
        ({"state": "GONE"}, "state"),
    ]:
        assert named in await client.refused("VIS.0005", "GET", path, **query)
    assert await client.ok("GET", path, sort="DESC", order_by="nothing") == []
    assert await client.ok("GET", path, device_id="\x00") == []
    for offset in (0, 100_000):
        assert await client.ok("GET", path, offset=offset, limit=1000) == {"total": 0, "entries": []}


async def test_pages_and_filters(client: Client, world: World, devices: list[str]) -> None:
    for number in (3, 1, 2):
        world.now += timedelta(minutes=1)
        await world.register(devices[number], client.project_id)
    await client.ok("POST", "devices", {"type": "NVR", "username": "0100"})
    await world.register("34020000001180000001", client.project_id)

    async def page(**query: object) -> list[str]:
        return [one["device_id"][10:] for one in (await client.ok("GET", path, **query))["entries"]]

    path = "operation/pastOnlineDeviceList"
    first = {"offset": 0, "limit": 2}
    assert await page(**first) == await page(offset=1, limit=2) == ["1320000002", "1320000003"]
    assert await page(offset=3, limit=2) == ["1320000004", "1180000001"]
    assert await page(**first, sort="desc") == ["1180000001", "1320000004"]
    assert await page(**first, order_by="device_id") == ["1180000001", "1320000002"]
    assert await page(**first, order_by="username", sort="asc") == ["1180000001", "1320000002"]
    assert await page(**first, order_by="UPDATED_AT") == ["1320000004", "1320000002"]
    assert await page(**first, type="nvr", state="online", device_id="118") == ["1180000001"]
    assert (await client.ok("GET", path, offset=1, limit=1))["total"] == 4


async def test_deleted_devices_are_in_no_list(client: Client, world: World, devices: list[str]) -> None:
    await world.register(devices[0], client.project_id)
    await send(client, world, devices[0], 10, 10)
    await world.lose(devices[0], client.project_id)
    assert await ids(client, "pastOnlineDeviceList") == ["1"]
    await client.ok("DELETE", f"devices/{devices[0]}")
    assert [await client.ok("GET", path) for path in EVERY] == [[]] * 7
