"""State changes are written in order for each device, however they come, and survive a database that is away."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from gateway.devices.model import DeviceState, StateCause, StateEvent
from gateway.errors import UnavailableError
from gateway.gb28181.notices import DeviceOffline, Notices
from gateway.gb28181.state_writer import WAITING_MAX, StateWriter
from gateway.store import Store
from tests.gateway.gb28181.conftest import NVR
from tests.gateway.store.samples import NOW, PROJECT


def event(
    number: int, before: DeviceState = DeviceState.ONLINE, after: DeviceState = DeviceState.OFFLINE
) -> StateEvent:
    return StateEvent(
        at=NOW + timedelta(seconds=number),
        project_id=PROJECT,
        device_id=NVR,
        channel_id=None,
        before=before.value,
        after=after.value,
        cause=StateCause.KEEPALIVE_LOST,
        detail=str(number),
    )


async def details(store: Store) -> list[str]:
    return [each.detail for _, each in reversed(await store.events.history(NVR))][1:]


async def test_changes_are_written_in_order(provisioned: Store) -> None:
    writer = StateWriter(provisioned)
    task = asyncio.create_task(writer.run())
    for number in range(10):
        writer.put(NVR, event(number))
        await asyncio.sleep(0)
    async with writer.in_order(NVR):
        assert await details(provisioned) == [str(number) for number in range(10)]
    task.cancel()
    await asyncio.wait([task])
    assert writer.waiting == 0
    assert writer._queues == {}


@pytest.mark.parametrize("steps", range(6))
async def test_what_is_being_written_at_the_end_is_written_once(provisioned: Store, steps: int) -> None:
    writer = StateWriter(provisioned)
    task = asyncio.create_task(writer.run())
    writer.put(NVR, event(1))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await writer.flush()
    assert await details(provisioned) == ["1"]


async def test_a_write_in_front_waits_for_what_was_before_and_holds_up_what_is_after(provisioned: Store) -> None:
    writer = StateWriter(provisioned)
    writer.put(NVR, event(1))
    async with writer.in_order(NVR):
        assert await details(provisioned) == ["1"]
        writer.put(NVR, event(2))
        flushed = asyncio.create_task(writer.flush())
        await asyncio.sleep(0.05)
        assert await details(provisioned) == ["1"]
    await flushed
    assert await details(provisioned) == ["1", "2"]
    stored = await provisioned.devices.get(NVR)
    assert stored is not None
    assert stored.state is DeviceState.OFFLINE


async def test_a_database_that_is_away_keeps_a_bounded_number_and_they_are_written_later(
    provisioned: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_arguments: object, **_named: object) -> None:
        raise UnavailableError("away")

    writer = StateWriter(provisioned)
    with monkeypatch.context() as patch:
        patch.setattr(provisioned.devices, "set_state", away)
        for number in range(WAITING_MAX + 4):
            writer.put(NVR, event(number))
        await writer.flush()
        with pytest.raises(UnavailableError):
            async with writer.in_order(NVR):
                pass
    assert (writer.waiting, writer.dropped) == (1, 4)
    await writer.flush()
    assert await details(provisioned) == [str(number) for number in range(4, WAITING_MAX + 4)]
    assert writer.waiting == 0


async def test_a_change_that_cannot_be_written_stops_no_other(
    provisioned: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = provisioned.devices.set_state

    async def picky(change: StateEvent, **named: Any) -> None:
        if change.detail == "2":
            raise ValueError("this one")
        await write(change, **named)

    monkeypatch.setattr(provisioned.devices, "set_state", picky)
    writer = StateWriter(provisioned)
    for number in range(1, 4):
        writer.put(NVR, event(number))
    await writer.flush()
    async with writer.in_order(NVR):  # a REGISTER comes through
        assert await details(provisioned) == ["1", "3"]
    assert (writer.waiting, writer.dropped) == (0, 1)


async def test_a_change_of_a_deleted_device_is_let_go(provisioned: Store) -> None:
    writer = StateWriter(provisioned)
    assert await provisioned.devices.delete(NVR, NOW)
    writer.put(NVR, event(1))
    await writer.flush()
    assert writer.waiting == 0


def test_a_listener_that_fails_harms_no_other() -> None:
    notices, told = Notices(), []

    def fails(_notice: object) -> list[StateEvent]:
        raise RuntimeError("listener")

    def tells(notice: object) -> list[StateEvent]:
        told.append(notice)
        return [event(1)]

    notices.listen(fails)
    notices.listen(tells)
    notice = DeviceOffline(NVR, StateCause.UNREGISTER)
    assert notices.publish(notice) == [event(1)]
    assert told == [notice]
