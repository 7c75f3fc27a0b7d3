"""Groups of devices, which users may be restricted to."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from gateway.accounts.model import DeviceGroup
from gateway.accounts.rules import check_group_name
from gateway.devices.model import DeviceId
from gateway.errors import InvalidError
from gateway.paging import Listing
from gateway.store import Store
from gateway.text import check_description

GROUPS_MAX: Final = 1_000
"""Of one project."""
DEVICES_AT_ONCE: Final = 10_000
"""Put in or taken out by one call: bounds one transaction."""


class Groups:
    """Every call is for one project; a device may be in several of its groups, or in none."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, project_id: str, name: str, description: str, at: datetime) -> DeviceGroup:
        """InvalidError, ConflictError if the name is taken, QuotaError."""
        check_group_name(name)
        check_description(description)
        group = DeviceGroup(
            group_id=secrets.token_hex(16), project_id=project_id, name=name, description=description, created_at=at
        )
        await self._store.groups.add(group, quota=GROUPS_MAX)
        return group

    async def list(self, project_id: str) -> Sequence[DeviceGroup]:
        return await self._store.groups.list(project_id)

    async def get(self, project_id: str, group_id: str) -> DeviceGroup:
        """NotFoundError."""
        return await self._store.groups.get(project_id, group_id)

    async def change(self, project_id: str, group_id: str, *, name: str | None, description: str | None) -> DeviceGroup:
        """InvalidError, NotFoundError, ConflictError if the name is taken."""
        if name is not None:
            check_group_name(name)
        if description is not None:
            check_description(description)
        await self._store.groups.change(project_id, group_id, name=name, description=description)
        return await self.get(project_id, group_id)

    async def delete(self, project_id: str, group_id: str) -> None:
        """Its users stay restricted, to their other groups. NotFoundError."""
        await self._store.groups.delete(project_id, group_id)

    async def put_devices(
        self, project_id: str, group_id: str, *, add: Sequence[str], remove: Sequence[str]
    ) -> DeviceGroup:
        """Puts devices in and takes others out, all or none.

        InvalidError, NotFoundError for the group or a device to be added.
        """
        if len(add) + len(remove) > DEVICES_AT_ONCE:
            raise InvalidError("add", f"at most {DEVICES_AT_ONCE} devices at a time")
        if any("\x00" in device_id for device_id in (*add, *remove)):
            raise InvalidError("add", "ids of devices")
        wanted, unwanted = [DeviceId(text) for text in dict.fromkeys(add)], [DeviceId(text) for text in remove]
        await self._store.groups.put_devices(project_id, group_id, add=wanted, remove=unwanted)
        return await self.get(project_id, group_id)

    async def devices(self, project_id: str, group_id: str, *, offset: int, limit: int) -> Listing[DeviceId]:
        """NotFoundError."""
        return await self._store.groups.devices(project_id, group_id, offset=offset, limit=limit)
