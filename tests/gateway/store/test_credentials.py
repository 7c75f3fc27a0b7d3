"""Credentials in the database."""

from datetime import timedelta

import pytest

from gateway.credentials.model import CredentialType
from gateway.devices.model import DeviceType
from gateway.errors import ConflictError, NotFoundError, QuotaError
from gateway.paging import Page
from gateway.store import CredentialFilter, NewDevices, Store
from tests.gateway.store.samples import NOW, PROJECT, credential


async def test_a_user_name_is_taken_once(store: Store) -> None:
    with pytest.raises(ConflictError):
        await store.credentials.add(credential("0100"), quota=10)
    with pytest.raises(QuotaError):
        await store.credentials.add(credential("0200"), quota=1)
    assert await store.credentials.count(PROJECT) == 1


async def test_a_project_must_exist(store: Store) -> None:
    foreign = credential("0200")
    foreign = type(foreign)(
        **{name: getattr(foreign, name) for name in foreign.__slots__} | {"project_id": "b" * 32}  # type: ignore[arg-type]
    )
    with pytest.raises(NotFoundError, match="project"):
        await store.credentials.add(foreign, quota=10)


async def test_lists(store: Store) -> None:
    for number in range(3):
        await store.credentials.add(credential(f"Gate{number}", CredentialType.ANONYMOUS), quota=10)
    listing = await store.credentials.list(PROJECT, CredentialFilter(username="gATE"), None)
    assert (listing.total, [entry.username for entry in listing.entries]) == (3, ["Gate0", "Gate1", "Gate2"])
    page = Page(offset=1, limit=1, order_by="username", descending=True)
    listing = await store.credentials.list(PROJECT, CredentialFilter(type=CredentialType.ANONYMOUS), page)
    assert (listing.total, [entry.username for entry in listing.entries]) == (3, ["Gate1"])


async def test_a_change_may_be_refused(store: Store) -> None:
    def refuse(_invited: int) -> None:
        raise ConflictError("invited")

    later = NOW + timedelta(minutes=1)
    with pytest.raises(ConflictError, match="invited"):
        await store.credentials.update("0100", at=later, password="Other-1234", may_change_password=refuse)
    await store.credentials.update("0100", at=later, description="gate", may_change_password=refuse)
    changed = await store.credentials.get("0100")
    assert changed is not None
    assert (changed.password, changed.description, changed.updated_at) == ("Secret-1234", "gate", later)
    with pytest.raises(NotFoundError):
        await store.credentials.update("unknown", at=later, description="")


async def test_a_credential_in_use_stays(store: Store) -> None:
    new = NewDevices(project_id=PROJECT, type=DeviceType.IPC, credential="0100", suffix="", description="", at=NOW)
    (device_id,) = await store.devices.create(new, domain="3402000000", quantity=1, quota=10)
    with pytest.raises(ConflictError):
        await store.credentials.delete("0100")
    await store.devices.delete(device_id, NOW)
    await store.credentials.delete("0100")
    with pytest.raises(NotFoundError):
        await store.credentials.delete("0100")
