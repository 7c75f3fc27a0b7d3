"""MESSAGE and NOTIFY over real sockets: whose word counts, and who reads it."""

import pytest

from gateway.gb28181.charset import Charset
from gateway.gb28181.manscdp import Root, build
from gateway.gb28181.markup import Element
from gateway.gb28181.messages import Alarm, Keepalive, MediaStatus, Unknown
from gateway.gb28181.messages.device import write_keepalive
from gateway.gb28181.messages.events import Alarm as AlarmMessage
from gateway.gb28181.messages.events import write_alarm, write_media_status
from gateway.gb28181.notices import DeviceOnline, MessageReceived
from sip.failures import RequestTimeoutError
from tests.gateway.gb28181.conftest import CAMERA, NVR, Running
from tests.gateway.gb28181.scripted_device import until


def deviations(running: Running, device_id: str = NVR) -> dict[str, int]:
    device = running.server.directory.get(device_id)
    assert device is not None
    return dict(device.deviations.as_dict())


def told(running: Running) -> list[object]:
    return [notice.message for notice in running.notices if isinstance(notice, MessageReceived)]


async def test_a_stranger_gets_403_and_after_too_many_no_answer(running: Running) -> None:
    async with running.device() as device:
        assert await device.keepalive() == 403
        for _ in range(49):
            await device.keepalive()
        with pytest.raises(RequestTimeoutError):
            await device.keepalive(seconds=0.3)
        assert running.server.messages.counters.strangers >= 51
        assert running.endpoint.counters["transactions.unanswered"] == 0, "silence must cost others nothing"


async def test_a_keepalive_moves_with_the_port_of_a_nat_and_says_so(running: Running) -> None:
    async with running.device() as device:
        await device.register()
        before = running.server.directory.flow(NVR)
        await device.move()
        assert await device.keepalive() == 200
        after = running.server.directory.flow(NVR)
        assert before is not None
        assert after is not None
        assert before.remote.port != after.remote.port
        assert deviations(running)["udp-port-moved"] == 1
        moved = [notice for notice in running.notices if isinstance(notice, DeviceOnline) and notice.moved]
        assert len(moved) == 1


async def test_a_device_cannot_take_the_place_of_another(running: Running) -> None:
    async with running.device() as device, running.device(CAMERA) as camera:
        await device.register()
        await camera.register()
        at = running.server.directory.flow(NVR)
        assert (await camera.send(write_keepalive(Keepalive(sn=1, device_id=NVR)), sender=NVR)).status == 200
        assert running.server.directory.flow(NVR) == at


async def test_only_for_itself_and_its_own(running: Running) -> None:
    async with running.device() as device, running.device(CAMERA) as camera:
        await device.register()
        await camera.register()
        await device.send(write_alarm(AlarmMessage(sn=1, device_id=CAMERA, priority=1, method=2)))
        assert deviations(running)["speaks-for-another"] == 1
        assert told(running) == []
        await device.send(write_alarm(AlarmMessage(sn=1, device_id="34020000001340000009", priority=1, method=2)))
        assert deviations(running)["deviceid-foreign"] == 1
        assert [type(message) for message in told(running)] == [Alarm]


async def test_an_alarm_by_message_is_acknowledged_and_one_by_notify_is_not(running: Running) -> None:
    async with running.device() as device:
        await device.register()
        alarm = write_alarm(AlarmMessage(sn=911, device_id=NVR, priority=1, method=2))
        await device.send(alarm, method="NOTIFY")
        await device.send(alarm)
        await until(lambda: device.count("Alarm") == 1)
        (answer,) = [document for document in device.asked if document.command == "Alarm"]
        assert (answer.root, answer.sn, answer.element.value("Result")) == (Root.RESPONSE, 911, "OK")


async def test_a_keepalive_with_a_fault_is_told(running: Running) -> None:
    async with running.device() as device:
        await device.register()
        faulty = Keepalive(sn=1, device_id=NVR, ok=False, faulty=("34020000001310000001",))
        assert (await device.send(write_keepalive(faulty))).status == 200
        assert told(running) == [faulty]


async def test_a_channel_in_from_is_its_devices(running: Running) -> None:
    async with running.device() as device:
        await device.register()
        status = MediaStatus(sn=35, device_id="34020000001310000001", notify_type="121")
        assert (await device.send(write_media_status(status), sender="34020000001310000001")).status == 200
        assert told(running) == [status]


async def test_what_nobody_reads_is_counted_and_shown(running: Running) -> None:
    async with running.device() as device:
        await device.register()
        await device.send(build(Root.NOTIFY, "AcmeDoorbell", 1, NVR, [Element("Pressed", "1")]))
        await device.send(build(Root.RESPONSE, "PresetQuery", 77, NVR, [Element("Result", "OK")]))
        await device.send(build(Root.QUERY, "Catalog", 78, NVR))
        registered = running.server.directory.get(NVR)
        assert registered is not None
        assert registered.undispatched["Notify/AcmeDoorbell"] == 1
        assert registered.undispatched["Response/PresetQuery"] == 1
        assert registered.undispatched["Query/Catalog"] == 1
        assert isinstance(told(running)[0], Unknown)


async def test_unreadable_and_empty_bodies_are_answered_200_and_harmless(running: Running) -> None:
    async with running.device() as device:
        await device.register()
        for body in (b"", b"\x00\x01", b"<Notify>", b"<!DOCTYPE a><Notify/>", b"{}"):
            assert (await device.send(body)).status == 200
        assert deviations(running)["manscdp-unreadable"] == 4
        assert await device.keepalive() == 200


async def test_the_charset_set_for_a_device_decides(running: Running) -> None:
    async with running.device() as device:
        await device.register()
        registered = running.server.directory.get(NVR)
        assert registered is not None
        registered.charset = Charset.UTF_8
        assert registered.writing is Charset.UTF_8
        head = f"<Notify><CmdType>Alarm</CmdType><SN>1</SN><DeviceID>{NVR}</DeviceID>"
        await device.send(f"{head}<AlarmDescription>é</AlarmDescription></Notify>".encode())
        (alarm,) = told(running)
        assert isinstance(alarm, Alarm)
        assert alarm.description == "é"
