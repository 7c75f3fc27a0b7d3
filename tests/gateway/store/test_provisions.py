"""What REGISTER is checked against."""

import asyncio

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.credentials.model import CredentialType
from gateway.devices.model import DeviceId, DeviceType, Provision
from gateway.store import CredentialFilter, NewDevices, SecretError, Store
from gateway.store.tables import credentials
from tests.gateway.store.samples import NOW, PROJECT, credential


@pytest.fixture
async def devices(store: Store) -> list[DeviceId]:
    """Five of the NORMAL credential, one of the ANONYMOUS."""
    await store.credentials.add(credential("anonymous1", CredentialType.ANONYMOUS), quota=10)
    ids: list[DeviceId] = []
    for username, quantity in (("0100", 5), ("anonymous1", 1)):
        new = NewDevices(
            project_id=PROJECT, type=DeviceType.IPC, credential=username, suffix="", description="", at=NOW
        )
        ids += await store.devices.create(new, domain="3402000000", quantity=quantity, quota=10)
    return ids


async def test_the_user_name_is_the_credentials_or_the_devices(store: Store, devices: list[DeviceId]) -> None:
    normal, anonymous = await store.devices.provision(devices[0]), await store.devices.provision(devices[5])
    assert normal is not None
    assert anonymous is not None
    assert (normal.username, normal.password) == ("0100", "Secret-1234")
    assert (anonymous.username, anonymous.password) == (devices[5], "Secret-1234")
    assert "Secret" not in repr(normal)


async def test_look_ups_that_wait_are_all_answered(store: Store, devices: list[DeviceId]) -> None:
    asked = [*devices, DeviceId("unknown"), DeviceId("unknown"), DeviceId("x" * 4000)]
    found = await asyncio.gather(*map(store.devices.provision, asked))
    assert [provision.device_id if provision else None for provision in found] == [*devices, None, None, None]


async def test_a_device_made_after_it_was_asked_for_is_found(store: Store, devices: list[DeviceId]) -> None:
    late = DeviceId("late")
    assert await store.devices.provision(late) is None
    new = NewDevices(project_id=PROJECT, type=DeviceType.IPC, credential="0100", suffix="", description="", at=NOW)
    await store.devices.add(new, [late], quota=10)
    assert await store.devices.provision(late) is not None


async def test_what_changes_is_forgotten(store: Store, devices: list[DeviceId]) -> None:
    for device_id in devices:
        await store.devices.provision(device_id)
    await store.credentials.update("0100", at=NOW, password="Other-1234")
    passwords = [provision.password for id_ in devices if (provision := await store.devices.provision(id_))]
    assert passwords == ["Other-1234"] * 5 + ["Secret-1234"]
    await store.devices.delete(devices[0], NOW)
    assert await store.devices.provision(devices[0]) is None


async def test_a_caller_that_goes_away_does_no_harm(store: Store, devices: list[DeviceId]) -> None:
    task = asyncio.create_task(store.devices.provision(devices[0]))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    assert await store.devices.provision(devices[0]) is not None


async def spoil(store: Store, username: str) -> None:
    """Makes the secret of a credential one that was sealed for another."""
    sealed = store.secrets.seal("x", "another")

    async def write(connection: AsyncConnection) -> None:
        await connection.execute(sa.update(credentials).where(credentials.c.username == username).values(secret=sealed))

    await store._database.writer.run(write)


async def test_a_password_that_cannot_be_read_is_the_misfortune_of_its_own_devices(
    store: Store, devices: list[DeviceId]
) -> None:
    await spoil(store, "anonymous1")
    found = await asyncio.gather(*map(store.devices.provision, devices), return_exceptions=True)
    assert [one.device_id for one in found[:5] if isinstance(one, Provision)] == devices[:5]
    assert isinstance(found[5], SecretError)


async def test_a_list_holds_what_cannot_be_read_with_a_secret_that_nobody_knows(
    store: Store, devices: list[DeviceId]
) -> None:
    await spoil(store, "anonymous1")
    listing = await store.credentials.list(PROJECT, CredentialFilter(), None)
    passwords = {one.username: one.password for one in listing.entries}
    assert passwords.keys() == {"0100", "anonymous1"}
    assert len(passwords["anonymous1"]) > 30
