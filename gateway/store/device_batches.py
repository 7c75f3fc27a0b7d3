"""What is written of devices behind their back: each function writes one batch in one transaction.

They are kinds of work of `Writer.batch`, which gathers what many tasks want written at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.devices.model import CatalogueStatus, DeviceId, DeviceState, Registration, StateEvent
from gateway.store.base import clip
from gateway.store.channels import set_channel_states
from gateway.store.events import append_events
from gateway.store.tables import UtcDateTime, devices, registrations
from gateway.store.writer import note_changed


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """What a device told about itself; None leaves what is known."""

    manufacturer: str | None = None
    model: str | None = None
    firmware: str | None = None
    user_agent: str | None = None
    gb_version: str | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """A registration that was proved, and the change of state that came with it."""

    registration: Registration
    event: StateEvent | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A change of a device's state, with those of its channels."""

    event: StateEvent
    channels: Sequence[StateEvent]
    ends_registration: bool


async def save_registrations(connection: AsyncConnection, items: Sequence[Saved]) -> None:
    """Many registrations at once; of a device that is there twice the last counts."""
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


async def set_states(connection: AsyncConnection, items: Sequence[Changed]) -> None:
    """States of devices and of their channels; registrations that end with them."""
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


async def touch(connection: AsyncConnection, items: Sequence[tuple[DeviceId, datetime]]) -> None:
    """When devices were last heard."""
    await connection.execute(
        sa.update(devices).where(devices.c.device_id == sa.bindparam("id")).values(last_seen_at=sa.bindparam("at")),
        [{"id": device_id, "at": at} for device_id, at in items],
    )


async def set_intervals(connection: AsyncConnection, items: Sequence[tuple[DeviceId, float]]) -> None:
    """Keepalive intervals that were learnt, in seconds."""
    await connection.execute(
        sa.update(registrations)
        .where(registrations.c.device_id == sa.bindparam("id"))
        .values(keepalive_interval=sa.bindparam("interval")),
        [{"id": device_id, "interval": interval} for device_id, interval in items],
    )


async def set_info(connection: AsyncConnection, items: Sequence[tuple[DeviceId, DeviceInfo]]) -> None:
    """What devices told about themselves, cut to a bounded length; what they left out stays."""
    names = ("manufacturer", "model", "firmware", "user_agent", "gb_version")
    await connection.execute(
        sa.update(devices)
        .where(devices.c.device_id == sa.bindparam("id"))
        .values(
            {name: sa.func.coalesce(sa.bindparam(f"new_{name}", type_=sa.Text), devices.c[name]) for name in names}
        ),
        [{"id": device_id} | {f"new_{name}": clip(getattr(info, name)) for name in names} for device_id, info in items],
    )


async def set_catalogue(connection: AsyncConnection, items: Sequence[tuple[DeviceId, CatalogueStatus]]) -> None:
    """How queries of catalogues stand."""
    await connection.execute(
        sa.update(devices).where(devices.c.device_id == sa.bindparam("id")).values(catalogue=sa.bindparam("status")),
        [{"id": device_id, "status": status.value} for device_id, status in items],
    )


def _registration_values(registration: Registration) -> dict[str, Any]:
    return {name: getattr(registration, name) for name in registrations.c.keys()}  # noqa: SIM118  (a column collection)
