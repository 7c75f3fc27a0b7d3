"""What restricted callers are given by each list and look-up."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway.devices.model import CatalogueEntry, DeviceId, DeviceType
from gateway.devices.roster import Wanted
from gateway.devices.rosters import Rosters
from gateway.paging import Page
from gateway.scope import Scope
from gateway.store import DeviceFilter, NewDevices, Store, StreamFilter
from gateway.store.access_tables import group_devices, groups
from tests.gateway.store.samples import NOW, PROJECT

EVERYTHING = Scope(PROJECT)
GATES, YARD = "1" * 32, "2" * 32


@pytest.fixture
async def devices(store: Store) -> list[DeviceId]:
    """Six NVRs of one channel each: two of the group of gates, one of them and another of that of the yard."""
    new = NewDevices(project_id=PROJECT, type=DeviceType.NVR, credential="0100", suffix="", description="", at=NOW)
    ids = list(await store.devices.create(new, domain="3402000000", quantity=6, quota=10))
    for number, device_id in enumerate(ids):
        entry = CatalogueEntry(node_id=f"3402000000131000000{number}", name="gate", video=True, reported_on=True)
        at = NOW + timedelta(seconds=number)
        await store.channels.upsert_catalogue(device_id, [entry], complete=True, at=at)

    async def write(connection: sa.ext.asyncio.AsyncConnection) -> None:
        common = {"project_id": PROJECT, "description": "", "created_at": NOW}
        named = [{"group_id": GATES, "name": "gates"}, {"group_id": YARD, "name": "yard"}]
        await connection.execute(sa.insert(groups), [{**one, **common} for one in named])
        inside = [(GATES, ids[1]), (GATES, ids[3]), (YARD, ids[3]), (YARD, ids[4])]
        await connection.execute(
            sa.insert(group_devices), [{"group_id": group, "device_id": device} for group, device in inside]
        )

    await store._database.writer.run(write)
    return ids


@pytest.mark.parametrize(
    ("given", "seen"),
    [(None, range(6)), ({GATES}, (1, 3)), ({YARD}, (3, 4)), ({GATES, YARD}, (1, 3, 4)), (set(), ()), ({"3" * 32}, ())],
)
@pytest.mark.parametrize("page", [None, Page(offset=0, limit=10)])
async def test_lists_hold_what_is_in_the_groups_once(
    store: Store, devices: list[DeviceId], given: set[str] | None, seen: list[int], page: Page | None
) -> None:
    scope = Scope(PROJECT, None if given is None else frozenset(given))
    expected = [devices[number] for number in seen]
    listing = await store.devices.list(scope, DeviceFilter(), page)
    assert (listing.total, [device.device_id for device in listing.entries]) == (len(expected), expected)
    drawn = (await Rosters(store).of(PROJECT)).select(Wanted(among=await store.devices.ids_in(scope)), page)
    assert (drawn.total, drawn.entries) == (len(expected), expected)
    streams = await store.streams.list(scope, StreamFilter(), page)
    assert (streams.total, [stream.device_id for stream in streams.entries]) == (len(expected), expected)
    channels = await store.channels.page(scope, offset=0, limit=10)
    assert (channels.total, [channel.device_id for channel, _ in channels.entries]) == (len(expected), expected)


async def test_what_is_outside_is_not_there(store: Store, devices: list[DeviceId]) -> None:
    gates, foreign = Scope(PROJECT, frozenset({GATES})), Scope("b" * 32)
    names = {
        stream.device_id: stream.name for stream in (await store.streams.list(EVERYTHING, StreamFilter(), None)).entries
    }
    for number, device_id in enumerate(devices):
        assert (await store.devices.get(device_id, gates) is not None) == (number in {1, 3})
        assert (await store.streams.get(gates, names[device_id]) is not None) == (number in {1, 3})
        assert await store.devices.get(device_id, EVERYTHING) is not None
        assert await store.devices.get(device_id, foreign) is None
        assert await store.streams.get(foreign, names[device_id]) is None


async def test_groups_of_a_foreign_project_open_nothing(store: Store, devices: list[DeviceId]) -> None:
    foreign = Scope("b" * 32, frozenset({GATES, YARD}))
    assert (await store.devices.list(foreign, DeviceFilter(), None)).total == 0
    assert await store.devices.get(devices[1], foreign) is None


async def test_a_deleted_device_leaves_its_groups(store: Store, devices: list[DeviceId]) -> None:
    await store.devices.delete(devices[3], NOW)
    listing = await store.devices.list(Scope(PROJECT, frozenset({GATES, YARD})), DeviceFilter(), None)
    assert [device.device_id for device in listing.entries] == [devices[1], devices[4]]
