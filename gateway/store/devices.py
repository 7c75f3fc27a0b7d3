"""Devices and their registrations in the database."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
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
from gateway.store.base import ROWS_AT_ONCE, Database, Sortable, clip, contains, one
from gateway.store.channels import set_channel_states
from gateway.store.credentials import lock_project
from gateway.store.events import append_events
from gateway.store.provisions import Provisions
from gateway.store.scoping import devices_of, within
from gateway.store.tables import (
    UtcDateTime,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """What a device told about itself; None leaves what is known."""

    manufacturer: str | None = None
    model: str | None = None
    firmware: str | None = None
    user_agent: str | None = None
    gb_version: str | None = None


@dataclass(frozen=True, slots=True)
class _Saved:
    registration: Registration
    event: StateEvent | None


@dataclass(frozen=True, slots=True)
class _Changed:
    event: StateEvent
    channels: Sequence[StateEvent]
    ends_registration: bool


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
        await self._batch(_save_registrations, _Saved(registration, event))

    async def load_registrations(self) -> AsyncIterator[tuple[Device, Registration]]:
        """Every device that holds a registration, expired or not: read at start."""
        found = [column.label(f"registration_{column.name}") for column in registrations.c]
        query = sa.select(devices, *found).join(registrations, registrations.c.device_id == devices.c.device_id)
        async for row in self._database.stream(query, devices.c.device_id):
            yield _device(row), _registration(row)

    async def touch(self, seen: Mapping[DeviceId, datetime]) -> None:
        """Writes behind when devices were last heard: many at a time, now and then."""
        await self._database.writer.batch(_touch, list(seen.items()))

    async def set_state(
        self, event: StateEvent, *, channels: Sequence[StateEvent] = (), ends_registration: bool = False
    ) -> None:
        """Sets the device's state to `event.after`, and the states of its channels with it, in one transaction."""
        await self._batch(_set_states, _Changed(event, channels, ends_registration))

    async def set_keepalive_interval(self, device_id: DeviceId, interval: float) -> None:
        """Keeps the interval that was learnt, in seconds."""
        await self._database.writer.batch(_set_intervals, [(device_id, interval)])

    async def set_info(self, device_id: DeviceId, info: DeviceInfo) -> None:
        """Keeps what the device told about itself, cut to a bounded length."""
        await self._database.writer.batch(_set_info, [(device_id, info)])

    async def set_catalogue(self, device_id: DeviceId, status: CatalogueStatus) -> None:
        """Sets `channels_query`."""
        await self._database.writer.batch(_set_catalogue, [(device_id, status)])

    async def reset_catalogues(self) -> None:
        """At start: no query is running, whatever is written."""

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(
                sa.update(devices)
                .where(devices.c.catalogue == CatalogueStatus.QUERYING.value)
                .values(catalogue=CatalogueStatus.IDEL.value)
            )

        await self._database.writer.run(write)

    async def _batch(self, kind: Any, item: _Saved | _Changed) -> None:
        try:
            await self._database.writer.batch(kind, [item])
        except sa.exc.IntegrityError as error:
            device_id = item.registration.device_id if isinstance(item, _Saved) else item.event.device_id
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


async def _save_registrations(connection: AsyncConnection, items: Sequence[_Saved]) -> None:
    latest = {item.registration.device_id: item.registration for item in items}  # a storm may hold one device twice
    await connection.execute(
        _upsert(connection.dialect.name), [_registration_values(registration) for registration in latest.values()]
    )
    events = {item.event.device_id: item.event for item in items if item.event is not None}
    await connection.execute(
        _REGISTERED, [_registered_values(one, events.get(one.device_id)) for one in latest.values()]
    )
    await append_events(connection, [item.event for item in items if item.event is not None])
    note_changed(connection, latest)


_REGISTERED: Final = (
    sa.update(devices)
    .where(devices.c.device_id == sa.bindparam("id"))
    .values(
        registered_at=sa.func.coalesce(devices.c.registered_at, sa.bindparam("registered", type_=UtcDateTime)),
        last_seen_at=sa.bindparam("seen"),
        state=sa.func.coalesce(sa.bindparam("after", type_=sa.Text), devices.c.state),
        updated_at=sa.func.coalesce(sa.bindparam("at", type_=UtcDateTime), devices.c.updated_at),
    )
)
"""One statement for the row of a device, whether its state changes with the registration or not."""


_GOES_OFFLINE: Final = sa.and_(
    sa.bindparam("after", type_=sa.String) == DeviceState.OFFLINE.value, devices.c.state != DeviceState.OFFLINE.value
)
"""An end of a registration that was silent before is not the moment at which it went offline."""


def _registered_values(registration: Registration, event: StateEvent | None) -> dict[str, Any]:
    return {
        "id": registration.device_id,
        "registered": registration.registered_at,
        "seen": registration.last_seen_at,
        "after": None if event is None else event.after,
        "at": None if event is None else event.at,
    }


def _upsert(dialect: str) -> sa.Insert:
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(registrations)
    upsert: sa.Insert = insert.on_conflict_do_update(
        index_elements=["device_id"],
        set_={column.name: insert.excluded[column.name] for column in registrations.c if not column.primary_key},
    )
    return upsert


async def _set_states(connection: AsyncConnection, items: Sequence[_Changed]) -> None:
    await _write_states(connection, [item.event for item in items])
    await set_channel_states(connection, [event for item in items for event in item.channels])
    ended = [{"id": item.event.device_id} for item in items if item.ends_registration]
    if ended:
        await connection.execute(sa.delete(registrations).where(registrations.c.device_id == sa.bindparam("id")), ended)


async def _write_states(connection: AsyncConnection, events: Sequence[StateEvent]) -> None:
    if not events:
        return
    await connection.execute(
        sa.update(devices)
        .where(devices.c.device_id == sa.bindparam("id"))
        .values(
            state=sa.bindparam("after"),
            updated_at=sa.bindparam("at"),
            last_offline_at=sa.case((_GOES_OFFLINE, sa.bindparam("at")), else_=devices.c.last_offline_at),
        ),
        [{"id": event.device_id, "after": event.after, "at": event.at} for event in events],
    )
    await append_events(connection, events)
    note_changed(connection, [event.device_id for event in events])


async def _touch(connection: AsyncConnection, items: Sequence[tuple[DeviceId, datetime]]) -> None:
    await connection.execute(
        sa.update(devices).where(devices.c.device_id == sa.bindparam("id")).values(last_seen_at=sa.bindparam("at")),
        [{"id": device_id, "at": at} for device_id, at in items],
    )


async def _set_intervals(connection: AsyncConnection, items: Sequence[tuple[DeviceId, float]]) -> None:
    await connection.execute(
        sa.update(registrations)
        .where(registrations.c.device_id == sa.bindparam("id"))
        .values(keepalive_interval=sa.bindparam("interval")),
        [{"id": device_id, "interval": interval} for device_id, interval in items],
    )


async def _set_info(connection: AsyncConnection, items: Sequence[tuple[DeviceId, DeviceInfo]]) -> None:
    names = ("manufacturer", "model", "firmware", "user_agent", "gb_version")
    await connection.execute(
        sa.update(devices)
        .where(devices.c.device_id == sa.bindparam("id"))
        .values(
            {name: sa.func.coalesce(sa.bindparam(f"new_{name}", type_=sa.Text), devices.c[name]) for name in names}
        ),
        [{"id": device_id} | {f"new_{name}": clip(getattr(info, name)) for name in names} for device_id, info in items],
    )


async def _set_catalogue(connection: AsyncConnection, items: Sequence[tuple[DeviceId, CatalogueStatus]]) -> None:
    await connection.execute(
        sa.update(devices).where(devices.c.device_id == sa.bindparam("id")).values(catalogue=sa.bindparam("status")),
        [{"id": device_id, "status": status.value} for device_id, status in items],
    )


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


def _registration_values(registration: Registration) -> dict[str, Any]:
    return {name: getattr(registration, name) for name in registrations.c.keys()}  # noqa: SIM118  (a column collection)


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
