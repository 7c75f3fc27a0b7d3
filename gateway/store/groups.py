"""Groups of devices in the database."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.model import DeviceGroup
from gateway.devices.model import DeviceId
from gateway.errors import ConflictError, NotFoundError, QuotaError
from gateway.paging import Listing
from gateway.store.access_tables import group_devices, groups
from gateway.store.base import Database
from gateway.store.credentials import lock_project
from gateway.store.tables import devices

ASKED_AT_ONCE: Final = 500


class GroupStore:
    """Every call is for one project; groups of others are not found."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, group: DeviceGroup, *, quota: int) -> None:
        """ConflictError if the project has a group of this name, QuotaError if it has `quota` groups."""

        async def write(connection: AsyncConnection) -> None:
            await lock_project(connection, group.project_id)
            count = sa.select(sa.func.count()).select_from(groups).where(groups.c.project_id == group.project_id)
            if int(await connection.scalar(count) or 0) >= quota:
                raise QuotaError("device groups", quota)
            await connection.execute(
                sa.insert(groups).values(
                    group_id=group.group_id,
                    project_id=group.project_id,
                    name=group.name,
                    description=group.description,
                    created_at=group.created_at,
                )
            )

        await self._run(write, group.name)

    async def list(self, project_id: str) -> Sequence[DeviceGroup]:
        """By name, with the number of devices in each."""
        return [_group(row) for row in await self._database.all(_query(project_id).order_by(groups.c.name))]

    async def get(self, project_id: str, group_id: str) -> DeviceGroup:
        """NotFoundError."""
        row = await self._database.first(_query(project_id).where(groups.c.group_id == group_id))
        if row is None:
            raise NotFoundError("device group", group_id)
        return _group(row)

    async def change(
        self, project_id: str, group_id: str, *, name: str | None = None, description: str | None = None
    ) -> None:
        """NotFoundError, ConflictError if the project has a group of this name."""
        given = {"name": name, "description": description}
        values = {field: value for field, value in given.items() if value is not None}

        async def write(connection: AsyncConnection) -> None:
            await _check_group(connection, project_id, group_id)
            if values:
                await connection.execute(sa.update(groups).where(groups.c.group_id == group_id).values(values))

        await self._run(write, name or "")

    async def delete(self, project_id: str, group_id: str) -> None:
        """Users who were restricted to it stay restricted, to what other groups they have. NotFoundError."""

        async def write(connection: AsyncConnection) -> None:
            await _check_group(connection, project_id, group_id)
            await connection.execute(sa.delete(groups).where(groups.c.group_id == group_id))

        await self._database.writer.run(write)

    async def put_devices(
        self, project_id: str, group_id: str, *, add: Sequence[DeviceId] = (), remove: Sequence[DeviceId] = ()
    ) -> None:
        """Puts devices into a group and takes others out, all or none.

        NotFoundError for the group, or for a device to be added that the project does not have.
        """

        async def write(connection: AsyncConnection) -> None:
            await _check_group(connection, project_id, group_id)
            insert = _insert(connection.dialect.name)
            for start in range(0, len(add), ASKED_AT_ONCE):
                part = add[start : start + ASKED_AT_ONCE]
                await _check_devices(connection, project_id, part)
                await connection.execute(insert, [{"group_id": group_id, "device_id": device_id} for device_id in part])
            for start in range(0, len(remove), ASKED_AT_ONCE):
                part = remove[start : start + ASKED_AT_ONCE]
                there = (group_devices.c.group_id == group_id, group_devices.c.device_id.in_(part))
                await connection.execute(sa.delete(group_devices).where(*there))

        await self._database.writer.run(write)

    async def devices(self, project_id: str, group_id: str, *, offset: int, limit: int) -> Listing[DeviceId]:
        """The ids of a group's devices, in order; NotFoundError."""
        group = await self.get(project_id, group_id)
        query = sa.select(group_devices.c.device_id).where(group_devices.c.group_id == group_id)
        page = query.order_by(group_devices.c.device_id).limit(limit).offset(offset)
        return Listing(group.devices, [DeviceId(row.device_id) for row in await self._database.all(page)])

    async def _run(self, write: Any, name: str) -> None:
        try:
            await self._database.writer.run(write)
        except sa.exc.IntegrityError as error:
            raise ConflictError(f"a device group named {name} exists already") from error


def _query(project_id: str) -> sa.Select[Any]:
    inside = (
        sa.select(sa.func.count())
        .select_from(group_devices)
        .where(group_devices.c.group_id == groups.c.group_id)
        .scalar_subquery()
    )
    return sa.select(groups, inside.label("devices")).where(groups.c.project_id == project_id)


def _insert(dialect: str) -> sa.Insert:
    """A device that is in the group already stays."""
    insert: sa.Insert = (
        (postgresql if dialect == "postgresql" else sqlite).insert(group_devices).on_conflict_do_nothing()
    )
    return insert


async def _check_group(connection: AsyncConnection, project_id: str, group_id: str) -> None:
    query = sa.select(groups.c.group_id).where(groups.c.group_id == group_id, groups.c.project_id == project_id)
    if await connection.scalar(query.with_for_update()) is None:
        raise NotFoundError("device group", group_id)


async def _check_devices(connection: AsyncConnection, project_id: str, device_ids: Sequence[DeviceId]) -> None:
    query = sa.select(devices.c.device_id).where(
        devices.c.project_id == project_id, devices.c.device_id.in_(device_ids)
    )
    known = set((await connection.scalars(query)).all())
    for device_id in device_ids:
        if device_id not in known:
            raise NotFoundError("device", device_id)


def _group(row: sa.Row[Any]) -> DeviceGroup:
    return DeviceGroup(
        group_id=row.group_id,
        project_id=row.project_id,
        name=row.name,
        description=row.description,
        created_at=row.created_at,
        devices=row.devices,
    )
