"""Devices and their registrations in the database."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.devices.model import (
    CatalogueStatus,
    Device,
    DeviceFacts,
    DeviceFilter,
    DeviceId,
    DeviceState,
    DeviceType,
    Provision,
    Registration,
    StateCause,
    StateEvent,
)
from gateway.errors import ConflictError, NotFoundError, QuotaError
from gateway.paging import Listing, Page
from gateway.scope import Scope
from gateway.store import device_batches
from gateway.store.base import ROWS_AT_ONCE, Database, Sortable, contains, one
from gateway.store.credentials import lock_project
from gateway.store.device_batches import Changed, DeviceInfo, Saved
from gateway.store.events import append_events
from gateway.store.provisions import Provisions
from gateway.store.scoping import devices_of, within
from gateway.store.tables import (
    calls,
    channels,
    credentials,
    devices,
    registrations,
    serials,
    state_events,
    streams,
)
from gateway.store.writer import note_changed

SORTABLE: Final[Sortable] = {
    "created_at": devices.c.created_at,
    "device_id": devices.c.device_id,
    "username": devices.c.credential,
    "updated_at": devices.c.updated_at,
}
SERIALS: Final = 999_999
"""Serial numbers of one domain and type: six digits, counted from 1."""
TYPE_DIGITS: Final = {DeviceType.IPC: "132", DeviceType.NVR: "118"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDevices:
    """What devices that are made together have in common."""

    project_id: str
    type: DeviceType
    credential: str
    suffix: str
    description: str
    at: datetime


class DeviceStore:
    """Devices by id; ids are unique over all projects, for a device registers without naming one."""

    def __init__(self, database: Database, provisions: Provisions) -> None:
        self._database = database
        self._provisions = provisions

    async def create(self, new: NewDevices, *, domain: str, quantity: int, quota: int) -> Sequence[DeviceId]:
        """Makes devices with ids of their own: domain (10 digits), type, 0 and a serial number never given twice.

        NotFoundError for an unknown credential of the project, QuotaError beyond `quota` or out of numbers.
        """

        async def write(connection: AsyncConnection) -> Sequence[DeviceId]:
            await _check(connection, new, quantity, quota)
            ids = await _allocate(connection, f"{domain}{TYPE_DIGITS[new.type]}0", quantity)
            await _insert(connection, new, ids)
            return ids

        return await self._database.writer.run(write)

    async def add(self, new: NewDevices, device_ids: Sequence[DeviceId], *, quota: int) -> None:
        """Makes devices with given ids, all or none; ConflictError if one exists, otherwise as `create`."""

        async def write(connection: AsyncConnection) -> None:
            await _check(connection, new, len(device_ids), quota)
            await _insert(connection, new, device_ids)

        try:
            await self._database.writer.run(write)
        except sa.exc.IntegrityError as error:
            raise ConflictError("a device with this id exists already") from error

    async def get(self, device_id: DeviceId, scope: Scope | None = None) -> Device | None:
        """The device, if it is in the scope; without one, whosever it is."""
        query = sa.select(devices).where(devices.c.device_id == device_id)
        if scope is not None:
            query = query.where(*within(scope, devices.c.project_id, devices.c.device_id, by_device=True))
        row = await self._database.first(query)
        return None if row is None else _device(row)

    async def ids_in(self, scope: Scope) -> frozenset[str] | None:
        """The ids of the devices in a scope that is restricted to some groups; None if it is not restricted."""
        if scope.groups is None:
            return None
        return frozenset(row.device_id for row in await self._database.all(devices_of(scope.groups)))

    async def of_ids(self, device_ids: Sequence[DeviceId]) -> Sequence[Device]:
        """The devices in that order; those that are no more are left out."""
        found: dict[str, Device] = {}
        for start in range(0, len(device_ids), ROWS_AT_ONCE):
            query = sa.select(devices).where(devices.c.device_id.in_(device_ids[start : start + ROWS_AT_ONCE]))
            found |= {row.device_id: _device(row) for row in await self._database.all(query)}
        return [found[device_id] for device_id in device_ids if device_id in found]

    async def facts(self, device_ids: Sequence[str]) -> Sequence[DeviceFacts]:
        """What lists are drawn from, of at most ROWS_AT_ONCE devices; those that are no more are left out."""
        rows = await self._database.all(_FACTS.where(devices.c.device_id.in_(device_ids)))
        return [DeviceFacts._make(row) for row in rows]

    async def load_facts(self) -> AsyncIterator[DeviceFacts]:
        """Those of every device, in order of their ids: read at start."""
        async for row in self._database.stream(_FACTS, devices.c.device_id):
            yield DeviceFacts._make(row[:-1])

    async def list(self, scope: Scope, wanted: DeviceFilter, page: Page | None) -> Listing[Device]:
        """InvalidError if it may not be sorted so."""
        conditions = within(scope, devices.c.project_id, devices.c.device_id, by_device=True)
        if wanted.device_id is not None:
            conditions.append(contains(devices.c.device_id, wanted.device_id))
        if wanted.type is not None:
            conditions.append(devices.c.type == wanted.type.value)
        if wanted.state is not None:
            conditions.append(devices.c.state == wanted.state.value)
        return await self._database.list(
            sa.select(devices),
            key=devices.c.device_id,
            conditions=conditions,
            sortable=SORTABLE,
            page=page,
            value=_device,
        )

    async def count(self, project_id: str) -> int:
        """How many the project has."""
        return int(await self._database.scalar(_count(project_id)))

    async def provision(self, device_id: DeviceId) -> Provision | None:
        """What REGISTER is checked against; from memory mostly, and look-ups that wait are asked together."""
        return await self._provisions.get(device_id)

    async def delete(self, device_id: DeviceId, at: datetime) -> bool:
        """Deletes the device with its channels, streams and registration, unless it is ONLINE: then False.

        NotFoundError if there is none such. History is kept.
        """

        async def write(connection: AsyncConnection) -> bool:
            row = await one(connection, sa.select(devices).where(devices.c.device_id == device_id).with_for_update())
            if row is None:
                raise NotFoundError("device", device_id)
            if row.state == DeviceState.ONLINE.value:
                return False
            note_changed(connection, [device_id])
            for table in (channels, streams, calls, devices):
                await connection.execute(sa.delete(table).where(table.c.device_id == device_id))
            event = StateEvent(
                at=at,
                project_id=row.project_id,
                device_id=device_id,
                channel_id=None,
                before=row.state,
                after="",
                cause=StateCause.DELETED,
                detail="",
            )
            await append_events(connection, [event])
            return True

        deleted = await self._database.writer.run(write)
        self._provisions.forget_device(device_id)
        return deleted

    async def save_registration(self, registration: Registration, event: StateEvent | None = None) -> None:
        """Keeps what was proved at REGISTER; `event` if the state changed with it. NotFoundError if it was deleted."""
        await self._batch(device_batches.save_registrations, Saved(registration, event))

    async def load_registrations(self) -> AsyncIterator[tuple[Device, Registration]]:
        """Every device that holds a registration, expired or not: read at start."""
        found = [column.label(f"registration_{column.name}") for column in registrations.c]
        query = sa.select(devices, *found).join(registrations, registrations.c.device_id == devices.c.device_id)
        async for row in self._database.stream(query, devices.c.device_id):
            yield _device(row), _registration(row)

    async def touch(self, seen: Mapping[DeviceId, datetime]) -> None:
        """Writes behind when devices were last heard: many at a time, now and then."""
        await self._database.writer.batch(device_batches.touch, list(seen.items()))

    async def set_state(
        self, event: StateEvent, *, channels: Sequence[StateEvent] = (), ends_registration: bool = False
    ) -> None:
        """Sets the device's state to `event.after`, and the states of its channels with it, in one transaction."""
        await self._batch(device_batches.set_states, Changed(event, channels, ends_registration))

    async def set_keepalive_interval(self, device_id: DeviceId, interval: float) -> None:
        """Keeps the interval that was learnt, in seconds."""
        await self._database.writer.batch(device_batches.set_intervals, [(device_id, interval)])

    async def set_info(self, device_id: DeviceId, info: DeviceInfo) -> None:
        """Keeps what the device told about itself, cut to a bounded length."""
        await self._database.writer.batch(device_batches.set_info, [(device_id, info)])

    async def set_catalogue(self, device_id: DeviceId, status: CatalogueStatus) -> None:
        """Sets `channels_query`."""
        await self._database.writer.batch(device_batches.set_catalogue, [(device_id, status)])

    async def reset_catalogues(self) -> None:
        """At start: no query is running, whatever is written."""

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(
                sa.update(devices)
                .where(devices.c.catalogue == CatalogueStatus.QUERYING.value)
                .values(catalogue=CatalogueStatus.IDEL.value)
            )

        await self._database.writer.run(write)

    async def _batch(self, kind: Any, item: Saved | Changed) -> None:
        try:
            await self._database.writer.batch(kind, [item])
        except sa.exc.IntegrityError as error:
            device_id = item.registration.device_id if isinstance(item, Saved) else item.event.device_id
            raise NotFoundError("device", device_id) from error


async def _check(connection: AsyncConnection, new: NewDevices, quantity: int, quota: int) -> None:
    await lock_project(connection, new.project_id)
    known = sa.select(credentials.c.project_id).where(credentials.c.username == new.credential)
    if await connection.scalar(known) != new.project_id:
        raise NotFoundError("credential", new.credential)
    used = int(await connection.scalar(_count(new.project_id)) or 0)
    if used + quantity > quota:
        raise QuotaError("device", quota)


async def _allocate(connection: AsyncConnection, prefix: str, quantity: int) -> Sequence[DeviceId]:
    """The next free numbers; those that were given out by hand, now or ever before, are left out."""
    last = await connection.scalar(sa.select(serials.c.last).where(serials.c.prefix == prefix).with_for_update())
    if last is None:
        await connection.execute(sa.insert(serials).values(prefix=prefix, last=0))
    serial, ids = last or 0, list[DeviceId]()
    while len(ids) < quantity:
        size = min(quantity - len(ids), SERIALS - serial)
        if size <= 0:
            raise QuotaError(f"device ids {prefix}", SERIALS)
        part = [DeviceId(f"{prefix}{number:06d}") for number in range(serial + 1, serial + size + 1)]
        taken = await _taken(connection, part[0], part[-1])
        ids += [device_id for device_id in part if device_id not in taken]
        serial += size
    await connection.execute(sa.update(serials).where(serials.c.prefix == prefix).values(last=serial))
    return ids


async def _taken(connection: AsyncConnection, first: str, last: str) -> set[str]:
    there = sa.select(devices.c.device_id).where(devices.c.device_id.between(first, last))
    ever = sa.select(state_events.c.device_id).where(state_events.c.device_id.between(first, last))
    return set((await connection.scalars(there.union(ever))).all())


async def _insert(connection: AsyncConnection, new: NewDevices, device_ids: Sequence[DeviceId]) -> None:
    common = {
        "project_id": new.project_id,
        "type": new.type.value,
        "credential": new.credential,
        "state": DeviceState.UNREGISTERED.value,
        "catalogue": CatalogueStatus.IDEL.value,
        "suffix": new.suffix,
        "description": new.description,
        "created_at": new.at,
        "updated_at": new.at,
    }
    await connection.execute(sa.insert(devices), [{"device_id": device_id, **common} for device_id in device_ids])
    note_changed(connection, device_ids)
    event = {
        "at": new.at,
        "project_id": new.project_id,
        "channel_id": None,
        "before": "",
        "after": DeviceState.UNREGISTERED.value,
        "cause": StateCause.PROVISION.value,
        "detail": "",
    }
    await connection.execute(sa.insert(state_events), [{"device_id": device_id, **event} for device_id in device_ids])


def _count(project_id: str) -> sa.Select[int]:
    return sa.select(sa.func.count()).select_from(devices).where(devices.c.project_id == project_id)


_FACTS: Final = sa.select(
    devices.c.device_id,
    devices.c.project_id,
    devices.c.type,
    devices.c.credential,
    devices.c.state,
    devices.c.created_at,
    devices.c.updated_at,
    devices.c.registered_at,
    devices.c.last_offline_at,
    devices.c.first_media_at,
)
"""In the order of the fields of `DeviceFacts`."""


def _device(row: sa.Row[Any]) -> Device:
    return Device(
        device_id=DeviceId(row.device_id),
        project_id=row.project_id,
        type=DeviceType(row.type),
        credential=row.credential,
        state=DeviceState(row.state),
        catalogue=CatalogueStatus(row.catalogue),
        suffix=row.suffix,
        description=row.description,
        created_at=row.created_at,
        updated_at=row.updated_at,
        registered_at=row.registered_at,
        last_seen_at=row.last_seen_at,
        manufacturer=row.manufacturer,
        model=row.model,
        firmware=row.firmware,
        user_agent=row.user_agent,
        gb_version=row.gb_version,
    )


def _registration(row: sa.Row[Any]) -> Registration:
    return Registration(
        device_id=DeviceId(row.device_id),
        contact=row.registration_contact,
        transport=row.registration_transport,
        remote_host=row.registration_remote_host,
        remote_port=row.registration_remote_port,
        local_host=row.registration_local_host,
        local_port=row.registration_local_port,
        call_id=row.registration_call_id,
        cseq=row.registration_cseq,
        registered_at=row.registration_registered_at,
        expires_at=row.registration_expires_at,
        last_seen_at=row.last_seen_at or row.registration_registered_at,
        keepalive_interval=row.registration_keepalive_interval,
    )
