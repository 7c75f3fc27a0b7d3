"""Groups of devices that users may be restricted to, for the project's administrators."""

from datetime import datetime

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.params import FromPath, JSONBody

from api.context import Authorised, Services, needs
from api.operator.paging import Limit, Offset
from gateway.accounts.model import DeviceGroup, Role


class GroupView(msgspec.Struct, kw_only=True):
    group_id: str
    name: str
    description: str
    created_at: datetime
    devices: int


class GroupList(msgspec.Struct, kw_only=True):
    groups: list[GroupView]


class NewGroup(msgspec.Struct, kw_only=True):
    name: str
    description: str = ""


class GroupChange(msgspec.Struct, kw_only=True):
    name: str | None = None
    description: str | None = None


class DeviceChange(msgspec.Struct, kw_only=True):
    """Ids of devices to put in and to take out, at most 10,000 together."""

    add: list[str] = []
    remove: list[str] = []


class GroupDevices(msgspec.Struct, kw_only=True):
    total: int
    device_ids: list[str]


class GroupController(Controller):
    path = "/groups"
    tags = ("groups",)
    opt = needs(Role.ADMINISTRATOR)

    @get(summary="Device groups of the project")
    async def index(self, request: Authorised, gateway: Services) -> GroupList:
        found = await gateway.groups.list(request.auth.project.project_id)
        return GroupList(groups=[_view(group) for group in found])

    @post(status_code=201, summary="Make a device group")
    async def create(self, data: JSONBody[NewGroup], request: Authorised, gateway: Services) -> GroupView:
        project_id = request.auth.project.project_id
        return _view(await gateway.groups.add(project_id, data.name, data.description, gateway.clock()))

    @get("/{group_id:str}", summary="A device group")
    async def show(self, group_id: FromPath[str], request: Authorised, gateway: Services) -> GroupView:
        return _view(await gateway.groups.get(request.auth.project.project_id, group_id))

    @put("/{group_id:str}", summary="Name or describe a device group anew")
    async def change(
        self, group_id: FromPath[str], data: JSONBody[GroupChange], request: Authorised, gateway: Services
    ) -> GroupView:
        project_id = request.auth.project.project_id
        return _view(await gateway.groups.change(project_id, group_id, name=data.name, description=data.description))

    @delete("/{group_id:str}", summary="Delete a device group; who was restricted to it sees the less")
    async def remove(self, group_id: FromPath[str], request: Authorised, gateway: Services) -> None:
        await gateway.groups.delete(request.auth.project.project_id, group_id)

    @get("/{group_id:str}/devices", summary="Ids of the devices in a group")
    async def devices(
        self,
        group_id: FromPath[str],
        request: Authorised,
        gateway: Services,
        offset: Offset = 0,
        limit: Limit = 100,
    ) -> GroupDevices:
        """`offset` counts the ids left out before the first."""
        project_id = request.auth.project.project_id
        listing = await gateway.groups.devices(project_id, group_id, offset=offset, limit=limit)
        return GroupDevices(total=listing.total, device_ids=list(listing.entries))

    @put("/{group_id:str}/devices", summary="Put devices into a group, take others out")
    async def put_devices(
        self, group_id: FromPath[str], data: JSONBody[DeviceChange], request: Authorised, gateway: Services
    ) -> GroupView:
        project_id = request.auth.project.project_id
        return _view(await gateway.groups.put_devices(project_id, group_id, add=data.add, remove=data.remove))


def _view(group: DeviceGroup) -> GroupView:
    return GroupView(
        group_id=group.group_id,
        name=group.name,
        description=group.description,
        created_at=group.created_at,
        devices=group.devices,
    )
