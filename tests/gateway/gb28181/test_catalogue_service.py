"""Asking devices, over real sockets: information, catalogue, what comes of wrong and missing answers."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.devices.errors import DeviceOfflineError, NotNvrError, RefreshingError
from gateway.devices.model import CatalogueStatus, Channel, Device, DeviceId
from gateway.gb28181.manscdp import Document, Root, build
from gateway.gb28181.messenger import NoAnswerError, SerialNumbers
from gateway.gb28181.notices import CatalogueChanged
from gateway.store import Store
from tests.gateway.gb28181.conftest import CAMERA, NVR, Running
from tests.gateway.gb28181.scripted_device import ScriptedDevice, answer, catalogue, item, until


def channel(number: int) -> str:
    return f"3402000000131000{number:04d}"


INFO = "<Result>OK</Result><Manufacturer>Acme</Manufacturer><Model>N16</Model><Firmware>1</Firmware>"


def script(*pages: str) -> Callable[[Document], list[bytes]]:
    """A device that tells about itself and sends these pages for its catalogue."""

    def reply(document: Document) -> list[bytes]:
        if document.root is not Root.QUERY:
            return []
        match document.command:
            case "DeviceInfo":
                return [answer(document, INFO)]
            case "DeviceStatus":
                return [
                    answer(
                        document,
                        "<Result>OK</Result><Online>ONLINE</Online><DeviceTime>2026-03-05T08:00:00</DeviceTime>",
                    )
                ]
            case "Catalog":
                return [answer(document, inner) for inner in pages]
        return []

    return reply


async def device_of(store: Store, device_id: str = NVR) -> Device:
    device = await store.devices.get(DeviceId(device_id))
    assert device is not None
    return device


async def channels_of(store: Store, device_id: str = NVR) -> dict[str, Channel]:
    return {
        c.channel_id: c for c in (await store.channels.of_devices([DeviceId(device_id)])).get(DeviceId(device_id), ())
    }


async def catalogue_is(store: Store, status: CatalogueStatus, device_id: str = NVR) -> None:
    async with asyncio.timeout(20):
        while (await device_of(store, device_id)).catalogue is not status:  # noqa: ASYNC110  (a database sets no event)
            await asyncio.sleep(0.01)


async def registered(device: ScriptedDevice, store: Store) -> None:
    await device.register()
    await catalogue_is(store, CatalogueStatus.QUERYING, device.device_id)


async def test_a_device_that_registers_is_asked_and_each_channel_gets_a_stream(
    running: Running, provisioned: Store
) -> None:
    pages = script(catalogue(item(channel(1), "East"), sum_num=2), catalogue(item(channel(2), status="OFF"), sum_num=2))
    async with running.device(script=pages) as device:
        await device.register()
        await catalogue_is(provisioned, CatalogueStatus.QUERIED)
        stored = await device_of(provisioned)
        assert (stored.manufacturer, stored.model, stored.firmware) == ("Acme", "N16", "1")
        channels = await channels_of(provisioned)
        assert {code: (c.name, c.reported_on, c.status.value) for code, c in channels.items()} == {
            channel(1): ("East", True, "ONLINE"),
            channel(2): ("Gate", False, "OFFLINE"),
        }
        assert channels[channel(1)].stream_name == f"channel_{NVR}_{channel(1)}"
        changes = [notice for notice in running.notices if isinstance(notice, CatalogueChanged)]
        assert [len(notice.change.added) for notice in changes] == [2]
        hot = running.server.directory.get(NVR)
        assert hot is not None
        assert hot.codes == {channel(1), channel(2)}
        assert hot.clock_drift is not None


async def test_a_camera_that_tells_no_catalogue_is_its_own_channel(running: Running, provisioned: Store) -> None:
    async with running.device(CAMERA, script=script()) as device:
        await registered(device, provisioned)
        await catalogue_is(provisioned, CatalogueStatus.IDEL, CAMERA)
        assert list(await channels_of(provisioned, CAMERA)) == [CAMERA]
        assert device.count("Catalog") == 2  # asked again with a new SN
        assert len({document.sn for document in device.asked if document.command == "Catalog"}) == 2


async def test_a_camera_that_lists_itself_is_its_own_channel(running: Running, provisioned: Store) -> None:
    async with running.device(CAMERA, script=script(catalogue(item(CAMERA, "Door")))) as device:
        await device.register()
        await catalogue_is(provisioned, CatalogueStatus.QUERIED, CAMERA)
        assert {code: c.name for code, c in (await channels_of(provisioned, CAMERA)).items()} == {CAMERA: "Door"}


async def test_nothing_is_deleted_by_an_empty_an_incomplete_or_a_broken_answer(
    running: Running, provisioned: Store
) -> None:
    async with running.device(script=script(catalogue(item(channel(1)), item(channel(2))))) as device:
        await device.register()
        await catalogue_is(provisioned, CatalogueStatus.QUERIED)
        for pages in (["<SumNum>0</SumNum>"], [catalogue(item(channel(1)), sum_num=2)], ["<Result>ERROR</Result>"], []):
            device.script = script(*pages)
            await running.server.catalogues.refresh(await device_of(provisioned))
            await until(lambda: not running.server.catalogues._running)
            found = await channels_of(provisioned)
            assert {code: c.reported_on for code, c in found.items()} == {channel(1): True, channel(2): True}, pages


async def test_a_complete_answer_turns_off_what_it_leaves_out(running: Running, provisioned: Store) -> None:
    async with running.device(script=script(catalogue(item(channel(1)), item(channel(2))))) as device:
        await device.register()
        await catalogue_is(provisioned, CatalogueStatus.QUERIED)
        device.script = script(catalogue(item(channel(1))))
        await running.server.catalogues.refresh(await device_of(provisioned))
        await until(lambda: not running.server.catalogues._running)
        found = await channels_of(provisioned)
        assert {code: c.reported_on for code, c in found.items()} == {channel(1): True, channel(2): False}
        change = running.notices[-1]
        assert isinstance(change, CatalogueChanged)
        assert [c.channel_id for c in change.change.turned_off] == [channel(2)]


async def test_what_may_not_be_refreshed(running: Running, provisioned: Store) -> None:
    with pytest.raises(DeviceOfflineError):
        await running.server.catalogues.refresh(await device_of(provisioned))
    with pytest.raises(NotNvrError):
        await running.server.catalogues.refresh(await device_of(provisioned, CAMERA))
    async with running.device() as device:
        await registered(device, provisioned)
        with pytest.raises(RefreshingError):
            await running.server.catalogues.refresh(await device_of(provisioned))


async def test_a_tree_with_groups_is_kept(running: Running, provisioned: Store) -> None:
    group, organisation = "34020000002150000001", "34020000002160000001"
    told = catalogue(
        item(group, "G"),
        item(organisation, "O", more=f"<BusinessGroupID>{group}</BusinessGroupID>"),
        item(channel(1), "C", more=f"<ParentID>{NVR}/{organisation}</ParentID>"),
    )
    async with running.device(script=script(told)) as device:
        await device.register()
        await catalogue_is(provisioned, CatalogueStatus.QUERIED)
        nodes = {node.node_id: node.parent_id for node in await provisioned.channels.nodes(NVR)}
        assert nodes == {group: NVR, organisation: group}
        assert (await channels_of(provisioned))[channel(1)].parent_id == organisation


async def test_new_items_in_a_notification_are_merged_and_an_off_is_only_checked(
    running: Running, provisioned: Store
) -> None:
    async with running.device(script=script(catalogue(item(channel(1))))) as device:
        await device.register()
        await catalogue_is(provisioned, CatalogueStatus.QUERIED)
        added = item(channel(2), "New", more="<Event>ADD</Event>")
        off = f"<Item><DeviceID>{channel(1)}</DeviceID><Event>OFF</Event></Item>"
        empty = build(Root.NOTIFY, "Catalog", 5, NVR).decode()
        body = empty.replace("</DeviceID>", f"</DeviceID>{catalogue(added, off)}", 1)
        await device.send(body.encode(), method="NOTIFY")
        await until(lambda: running.server.introductions.waiting == 1)
        await until(lambda: any(isinstance(n, CatalogueChanged) and n.change.added for n in running.notices[1:]))
        await until(lambda: len(running.server.directory.get(NVR).codes) == 2)  # type: ignore[union-attr]
        found = await channels_of(provisioned)
        assert {code: c.reported_on for code, c in found.items()} == {channel(1): True, channel(2): True}


async def test_a_query_is_matched_by_its_sn_and_a_wrong_one_is_forgiven_once(
    running: Running, provisioned: Store
) -> None:
    def wrong(document: Document) -> list[bytes]:
        if document.command != "DeviceInfo":
            return []
        return [build(Root.RESPONSE, "DeviceInfo", 0, NVR).replace(b"</Response>", b"<Result>OK</Result></Response>")]

    async with running.device(script=wrong) as device:
        await device.register()
        hot = running.server.directory.get(NVR)
        assert hot is not None
        await until(lambda: "sn-wrong" in hot.deviations.as_dict())


async def test_a_device_that_answers_nothing_is_given_up(running: Running, provisioned: Store) -> None:
    async with running.device() as device:
        await registered(device, provisioned)
        hot = running.server.directory.get(NVR)
        assert hot is not None
        with pytest.raises(NoAnswerError):
            await running.server.queries.ask(hot, "PresetQuery", tries=1)
        assert running.server.queries._open.keys() <= {(NVR, "DeviceInfo"), (NVR, "DeviceStatus")}
        running.server.directory.move(hot, None)
        with pytest.raises(DeviceOfflineError):
            await running.server.queries.ask(hot, "PresetQuery")


def test_serial_numbers_stay_in_bounds_and_together() -> None:
    serials = SerialNumbers(2**31 - 4)
    taken = [serials.take(3) for _ in range(3)]
    assert all(1 <= number <= 2**31 - 3 for number in taken)
    assert serials.take() not in range(taken[-1], taken[-1] + 3)


async def test_a_query_under_way_ends_with_the_server(running: Running, provisioned: Store) -> None:
    async with running.device() as device:
        await registered(device, provisioned)
    # leaving the fixture must neither hang nor leave the device QUERYING for ever: see `reset_catalogues`
