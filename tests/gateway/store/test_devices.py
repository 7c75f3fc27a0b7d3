"""Devices, registrations and their states in the database."""

import asyncio
from datetime import timedelta

import pytest

from gateway.devices.model import (
    CatalogueStatus,
    DeviceId,
    DeviceState,
    DeviceType,
    Registration,
    StateCause,
    StateEvent,
)
from gateway.errors import ConflictError, InvalidError, NotFoundError, QuotaError
from gateway.paging import Page
from gateway.scope import Scope
from gateway.store import DeviceFilter, DeviceInfo, NewDevices, Store
from tests.gateway.store.samples import NOW, PROJECT

DOMAIN = "3402000000"
FIRST = DeviceId(f"{DOMAIN}1320000001")


def new(type_: DeviceType = DeviceType.IPC, credential: str = "0100", suffix: str = "") -> NewDevices:
    return NewDevices(
        project_id=PROJECT, type=type_, credential=credential, suffix=suffix, description="a camera", at=NOW
    )


def registration(device_id: DeviceId, cseq: int = 2) -> Registration:
    return Registration(
        device_id=device_id,
        contact=f"sip:{device_id}@198.51.100.7:5060",
        transport="UDP",
        remote_host="198.51.100.7",
        remote_port=5060,
        local_host="192.0.2.1",
        local_port=5080,
        call_id="1@198.51.100.7",
        cseq=cseq,
        registered_at=NOW,
        expires_at=NOW + timedelta(days=1),
        last_seen_at=NOW,
        keepalive_interval=None,
    )


def event(device_id: DeviceId, after: DeviceState, cause: StateCause, before: str = "UNREGISTERED") -> StateEvent:
    return StateEvent(
        at=NOW + timedelta(seconds=5),
        project_id=PROJECT,
        device_id=device_id,
        channel_id=None,
        before=before,
        after=after.value,
        cause=cause,
        detail="",
    )


def online(device_id: DeviceId) -> StateEvent:
    return event(device_id, DeviceState.ONLINE, StateCause.REGISTER)


async def create(store: Store, quantity: int = 1, type_: DeviceType = DeviceType.IPC) -> list[DeviceId]:
    return list(await store.devices.create(new(type_), domain=DOMAIN, quantity=quantity, quota=100))


async def test_ids_are_domain_type_zero_and_a_serial_number(store: Store) -> None:
    assert await create(store, 2) == [FIRST, f"{DOMAIN}1320000002"]
    assert await create(store, 1, DeviceType.NVR) == [f"{DOMAIN}1180000001"]


async def test_a_deleted_id_is_never_given_again(store: Store) -> None:
    (first,) = await create(store)
    assert await store.devices.delete(first, NOW)
    assert await create(store) == [f"{DOMAIN}1320000002"]


async def test_numbers_given_by_hand_are_left_out_even_after_deletion(store: Store) -> None:
    third = DeviceId(f"{DOMAIN}1320000003")
    await store.devices.add(new(), [DeviceId(f"{DOMAIN}1320000002"), third], quota=100)
    await store.devices.delete(third, NOW)
    assert await create(store, 2) == [FIRST, f"{DOMAIN}1320000004"]


async def test_a_given_id_must_be_free_and_nothing_is_made_otherwise(store: Store) -> None:
    await create(store)
    with pytest.raises(ConflictError):
        await store.devices.add(new(), [DeviceId("camera1"), FIRST], quota=100)
    assert await store.devices.get(DeviceId("camera1")) is None


async def test_the_quota_holds(store: Store) -> None:
    await store.devices.create(new(), domain=DOMAIN, quantity=3, quota=3)
    with pytest.raises(QuotaError):
        await store.devices.create(new(), domain=DOMAIN, quantity=1, quota=3)
    assert await store.devices.count(PROJECT) == 3


async def test_the_credential_must_be_the_projects(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no credential 0200"):
        await store.devices.create(new(credential="0200"), domain=DOMAIN, quantity=1, quota=3)


async def test_a_new_device_is_unregistered(store: Store) -> None:
    await create(store)
    device = await store.devices.get(FIRST)
    assert device is not None
    assert (device.state, device.catalogue) == (DeviceState.UNREGISTERED, CatalogueStatus.IDEL)
    assert (device.registered_at, device.created_at) == (None, NOW)
    assert [event.cause for _, event in await store.events.history(FIRST)] == [StateCause.PROVISION]


async def test_lists_are_filtered_sorted_and_paged(store: Store) -> None:
    ids = await create(store, 7)
    await create(store, 2, DeviceType.NVR)
    await store.devices.save_registration(registration(ids[3]), online(ids[3]))
    page = Page(offset=2, limit=3, order_by="device_id", descending=True)
    listing = await store.devices.list(Scope(PROJECT), DeviceFilter(type=DeviceType.IPC), page)
    assert (listing.total, [device.device_id for device in listing.entries]) == (7, [ids[4], ids[3], ids[2]])
    listing = await store.devices.list(Scope(PROJECT), DeviceFilter(state=DeviceState.ONLINE), None)
    assert [device.device_id for device in listing.entries] == [ids[3]]
    assert (await store.devices.list(Scope(PROJECT), DeviceFilter(device_id="1180000"), None)).total == 2
    assert (await store.devices.list(Scope("b" * 32), DeviceFilter(), None)).total == 0
    beyond = await store.devices.list(Scope(PROJECT), DeviceFilter(), Page(offset=9, limit=5))
    assert (beyond.total, list(beyond.entries)) == (9, [])


@pytest.mark.parametrize("part", ["%", "_", "\x00", "';--", "\\"])
async def test_a_filter_is_text_not_a_pattern(store: Store, part: str) -> None:
    await create(store)
    assert (await store.devices.list(Scope(PROJECT), DeviceFilter(device_id=part), None)).total == 0


async def test_what_cannot_be_stored_is_not_found_or_named(store: Store) -> None:
    try:
        assert await store.devices.get(DeviceId("a\x00b")) is None
    except InvalidError as error:
        assert error.field == "text"  # PostgreSQL keeps no NUL
    with pytest.raises((InvalidError, NotFoundError)):
        await store.devices.create(new(credential="a\x00b"), domain=DOMAIN, quantity=1, quota=3)
    assert await create(store) == [FIRST]


async def test_only_some_columns_may_be_sorted_by(store: Store) -> None:
    with pytest.raises(InvalidError, match="order_by"):
        await store.devices.list(Scope(PROJECT), DeviceFilter(), Page(offset=0, limit=1, order_by="password"))


async def test_a_registration_is_kept_with_the_state_it_brings(store: Store) -> None:
    await create(store, 3)
    await store.devices.save_registration(registration(FIRST), online(FIRST))
    await store.devices.save_registration(registration(FIRST, cseq=3))
    ((device, kept),) = [pair async for pair in store.devices.load_registrations()]
    assert kept == registration(FIRST, cseq=3)
    assert (device.state, device.registered_at) == (DeviceState.ONLINE, NOW)
    assert device.updated_at == NOW + timedelta(seconds=5)
    assert [event.cause for _, event in await store.events.history(FIRST)] == [
        StateCause.REGISTER,
        StateCause.PROVISION,
    ]


async def test_the_first_registration_ever_stays_known(store: Store) -> None:
    await create(store)
    await store.devices.save_registration(registration(FIRST), online(FIRST))
    offline = event(FIRST, DeviceState.OFFLINE, StateCause.UNREGISTER, "ONLINE")
    await store.devices.set_state(offline, ends_registration=True)
    assert [pair async for pair in store.devices.load_registrations()] == []
    device = await store.devices.get(FIRST)
    assert device is not None
    assert (device.state, device.registered_at) == (DeviceState.OFFLINE, NOW)


async def test_what_is_heard_of_a_deleted_device_is_refused(store: Store) -> None:
    with pytest.raises(NotFoundError):
        await store.devices.save_registration(registration(FIRST), online(FIRST))
    assert await store.events.history(FIRST) == []


async def test_an_online_device_is_not_deleted(store: Store) -> None:
    await create(store)
    await store.devices.save_registration(registration(FIRST), online(FIRST))
    assert not await store.devices.delete(FIRST, NOW)
    await store.devices.set_state(event(FIRST, DeviceState.OFFLINE, StateCause.KEEPALIVE_LOST, "ONLINE"))
    assert await store.devices.delete(FIRST, NOW)
    with pytest.raises(NotFoundError):
        await store.devices.delete(FIRST, NOW)
    assert (await store.events.history(FIRST))[0][1].cause is StateCause.DELETED


async def test_last_seen_is_written_behind(store: Store) -> None:
    ids = await create(store, 2)
    await store.devices.save_registration(registration(FIRST), online(FIRST))
    later = NOW + timedelta(minutes=1)
    await store.devices.touch(dict.fromkeys(ids, later))
    await store.devices.set_keepalive_interval(FIRST, 30.5)
    ((device, kept),) = [pair async for pair in store.devices.load_registrations()]
    assert (device.last_seen_at, kept.last_seen_at, kept.keepalive_interval) == (later, later, 30.5)


async def test_what_a_device_tells_of_itself_is_kept_and_bounded(store: Store) -> None:
    await create(store)
    await store.devices.set_info(FIRST, DeviceInfo(manufacturer="A\x00cme", model="M" * 9000))
    await store.devices.set_info(FIRST, DeviceInfo(gb_version="2.0"))
    device = await store.devices.get(FIRST)
    assert device is not None
    assert (device.manufacturer, device.model, device.gb_version) == ("Acme", "M" * 255, "2.0")


async def test_no_query_is_running_after_a_start(store: Store) -> None:
    await create(store)
    await store.devices.set_catalogue(FIRST, CatalogueStatus.QUERYING)
    await store.devices.reset_catalogues()
    device = await store.devices.get(FIRST)
    assert device is not None
    assert device.catalogue is CatalogueStatus.IDEL


async def test_many_registrations_at_once_share_commits_and_stream_in_order(store: Store) -> None:
    ids = await store.devices.create(new(), domain=DOMAIN, quantity=1203, quota=5000)
    commits = store.writer.commits
    await asyncio.gather(*(store.devices.save_registration(registration(i), online(i)) for i in ids))
    assert store.writer.commits - commits < 10
    assert [device.device_id async for device, _ in store.devices.load_registrations()] == list(ids)


async def test_one_deleted_device_does_not_spoil_the_registrations_of_others(store: Store) -> None:
    (first,) = await create(store)
    gone = DeviceId("gone")
    results = await asyncio.gather(
        *(store.devices.save_registration(registration(i), online(i)) for i in (first, gone)), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], NotFoundError)
    assert [device.device_id async for device, _ in store.devices.load_registrations()] == [first]
