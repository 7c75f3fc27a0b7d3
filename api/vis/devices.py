"""Devices and their channels (§4.3)."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter, SkipValidation

from api.context import SCOPED, Authorised, Services
from api.errors import CancellationFailedError, InvitationFailedError
from api.services import Gateway
from api.vis.common import Done, choice, each, flag, optional, time, truth
from api.vis.strategies import StrategyBody, strategy_body
from gateway.access.errors import StrategyActiveError
from gateway.accounts.model import Project
from gateway.devices.errors import DeviceOfflineError, NotInvitableError, NotInvitedError, NotNvrError
from gateway.devices.model import Channel, Device, DeviceState, DeviceType
from gateway.errors import GatewayError, IllegalTransitionError, InvalidError, QuotaError, UnavailableError
from gateway.paging import Page
from gateway.store import ChannelUpdate, DeviceFilter
from gateway.streams.model import StreamState


class NewDevices(msgspec.Struct, kw_only=True):
    type: str
    """IPC or NVR."""
    username: str
    """User name of a GB28181 credential."""
    quantity: int | None = None
    suffix: str | None = None
    description: str | None = None
    device_id_list: list[str] | None = None
    """An extension: ids that the devices have already, one device for each."""


class DeviceIds(msgspec.Struct, kw_only=True):
    device_id_list: list[str]


class ChannelBody(msgspec.Struct, kw_only=True):
    device_id: str
    channel_id: str
    stream_id: str
    stream_name: str
    suffix: str
    invitation_status: str
    tcp_priority: str
    tcp_support: str
    created_at: str
    updated_at: str
    access_strategy: StrategyBody | msgspec.UnsetType = msgspec.UNSET
    """Left out while there is none."""


class DeviceBody(msgspec.Struct, kw_only=True):
    device_id: str
    channels_query: str
    state: str
    type: str
    username: str
    suffix: str
    channels: list[ChannelBody]
    description: str
    created_at: str
    updated_at: str


class DevicePage(msgspec.Struct, kw_only=True):
    total: int
    entries: list[DeviceBody]


class ChannelChange(msgspec.Struct, kw_only=True):
    state: str | None = None
    """ACTIVE invites, STOPPED hangs up."""
    tcp_priority: str | bool | None = None
    suffix: str | None = None


class DeviceController(Controller):
    path = "/{project_id:str}/devices"
    tags = ("devices",)

    @post(status_code=200, summary="Create devices")
    async def create(
        self, project_id: FromPath[str], data: JSONBody[NewDevices], request: Authorised, gateway: Services
    ) -> DeviceIds:
        ids = await gateway.devices.create(
            request.auth.project,
            type_=choice(DeviceType, data.type, "type"),
            username=data.username,
            quantity=1 if data.quantity is None else data.quantity,
            suffix=data.suffix or "",
            description=data.description or "",
            device_ids=data.device_id_list or (),
            at=gateway.clock(),
        )
        return DeviceIds(device_id_list=list(ids))

    @get(summary="List devices with their channels", opt=SCOPED)
    async def index(
        self,
        project_id: FromPath[str],
        request: Authorised,
        gateway: Services,
        page: NamedDependency[SkipValidation[Page | None]],
        device_id: FromQuery[str | None] = None,
        type_: Annotated[str | None, QueryParameter(name="type")] = None,
        device_state: Annotated[str | None, QueryParameter(name="state")] = None,
    ) -> DevicePage | list[DeviceBody]:
        wanted = DeviceFilter(
            device_id=device_id or None,
            type=optional(DeviceType, type_, "type"),
            state=optional(DeviceState, device_state, "state"),
        )
        listing, channels = await gateway.devices.list(request.auth.scope, wanted, page)
        entries = await each(listing.entries, lambda device: device_body(device, channels.get(device.device_id, ())))
        return entries if page is None else DevicePage(total=listing.total, entries=entries)

    @get("/{device_id:str}", summary="A device with its channels", opt=SCOPED)
    async def show(
        self, project_id: FromPath[str], device_id: FromPath[str], request: Authorised, gateway: Services
    ) -> DeviceBody:
        found = await gateway.devices.get(request.auth.scope, device_id)
        return device_body(found.device, found.channels)

    @delete("/{device_id:str}", status_code=200, summary="Delete a device that is not registered", opt=SCOPED)
    async def remove(
        self, project_id: FromPath[str], device_id: FromPath[str], request: Authorised, gateway: Services
    ) -> Done:
        await gateway.devices.delete(request.auth.scope, device_id, gateway.clock())
        return Done()

    @put("/{device_id:str}/channel-refresh", summary="Ask an NVR for its channels", opt=SCOPED)
    async def refresh(
        self, project_id: FromPath[str], device_id: FromPath[str], request: Authorised, gateway: Services
    ) -> Done:
        device = await gateway.devices.device(request.auth.scope, device_id)
        if device.type is not DeviceType.NVR:
            raise NotNvrError(f"device {device_id} is no NVR")
        if device.state is not DeviceState.ONLINE:
            raise DeviceOfflineError(f"device {device_id} is not registered")
        await gateway.catalogue.refresh(device)
        return Done()

    @put(
        "/{device_id:str}/channels/{channel_id:str}",
        summary="Invite a channel or hang up; change its settings",
        opt=SCOPED,
    )
    async def update_channel(
        self,
        project_id: FromPath[str],
        device_id: FromPath[str],
        channel_id: FromPath[str],
        data: JSONBody[ChannelChange],
        request: Authorised,
        gateway: Services,
    ) -> Done:
        """Settings are changed first. With settings `state` may be left out, and STOPPED is no error then."""
        change = ChannelUpdate(tcp_priority=truth(data.tcp_priority, "tcp_priority"), suffix=data.suffix)
        has_settings = change != ChannelUpdate()
        state = optional(StreamState, data.state, "state")
        if state is None and not has_settings:
            raise InvalidError("state", "ACTIVE or STOPPED")
        device = await gateway.devices.device(request.auth.scope, device_id)
        channel = await gateway.devices.channel(request.auth.scope, device_id, channel_id)
        if has_settings:
            channel = await gateway.devices.update_channel(device, channel, change, gateway.clock())
        if state is StreamState.ACTIVE:
            await _invite(gateway, request.auth.project, channel)
        elif state is StreamState.STOPPED:
            await _cancel(gateway, channel, may_be_idle=has_settings)
        return Done()

    @delete(
        "/{device_id:str}/channels/{channel_id:str}",
        status_code=200,
        summary="Delete a channel of a device that is not registered",
        opt=SCOPED,
    )
    async def remove_channel(
        self,
        project_id: FromPath[str],
        device_id: FromPath[str],
        channel_id: FromPath[str],
        request: Authorised,
        gateway: Services,
    ) -> Done:
        """An extension: what a device names no more goes, with its stream; what it names again comes back anew."""
        await gateway.devices.delete_channel(request.auth.scope, device_id, channel_id, gateway.clock())
        return Done()


async def _invite(gateway: Gateway, project: Project, channel: Channel) -> None:
    try:
        await gateway.invitations.invite(channel, quota=gateway.accounts.quotas.of(project, "active_stream"))
    except IllegalTransitionError as error:
        raise NotInvitableError(f"channel {channel.channel_id} is invited already, or offline") from error
    except (NotInvitableError, QuotaError, StrategyActiveError, UnavailableError):
        raise
    except GatewayError as error:
        raise InvitationFailedError(str(error)) from error


async def _cancel(gateway: Gateway, channel: Channel, *, may_be_idle: bool) -> None:
    try:
        await gateway.invitations.cancel(channel)
    except (NotInvitedError, IllegalTransitionError) as error:
        if not may_be_idle:
            raise NotInvitedError(f"channel {channel.channel_id} is not invited") from error
    except (StrategyActiveError, UnavailableError):
        raise
    except GatewayError as error:
        raise CancellationFailedError(str(error)) from error


def device_body(device: Device, channels: Sequence[Channel]) -> DeviceBody:
    """A device as every list shows it."""
    return DeviceBody(
        device_id=device.device_id,
        channels_query=device.catalogue.value,
        state=device.state.value,
        type=device.type.value,
        username=device.credential,
        suffix=device.suffix,
        channels=[_channel(channel) for channel in channels],
        description=device.description,
        created_at=time(device.created_at),
        updated_at=time(device.updated_at),
    )


def _channel(channel: Channel) -> ChannelBody:
    return ChannelBody(
        device_id=channel.device_id,
        channel_id=channel.channel_id,
        stream_id=channel.stream_id,
        stream_name=channel.stream_name,
        suffix=channel.suffix,
        invitation_status=channel.status.value,
        tcp_priority=flag(channel.tcp_priority),
        tcp_support=flag(channel.tcp_support),
        created_at=time(channel.created_at),
        updated_at=time(channel.updated_at),
        access_strategy=msgspec.UNSET if channel.strategy is None else strategy_body(channel.strategy),
    )
