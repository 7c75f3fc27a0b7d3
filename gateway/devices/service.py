"""Devices and channels of a project: the rules over the store. What they do live is in `gateway.gb28181`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.accounts.model import Project
from gateway.accounts.quotas import Quotas
from gateway.devices.errors import (
    ChannelBusyError,
    ChannelRegisteredError,
    DeviceExistsError,
    DeviceRegisteredError,
    StreamExistsError,
    TcpPriorityError,
)
from gateway.devices.model import Channel, ChannelId, Device, DeviceId, DeviceState, DeviceType, InvitationStatus
from gateway.errors import ConflictError, InvalidError, NotFoundError, QuotaError
from gateway.paging import Listing, Page
from gateway.scope import Scope
from gateway.store import ChannelUpdate, DeviceFilter, NewDevices, Store
from gateway.text import check_description, check_suffix

QUANTITY_MAX: Final = 10_000
"""Devices made by one call, whatever the quota: bounds one transaction."""
RENAMEABLE: Final = frozenset({InvitationStatus.UNREGISTERED, InvitationStatus.ONLINE, InvitationStatus.OFFLINE})


@dataclass(frozen=True, slots=True)
class DeviceChannels:
    """A device with its channels."""

    device: Device
    channels: Sequence[Channel]


class Devices:
    """Every call is for one scope; what is outside of it is not found.

    `deleted` is told the id of each device that is no more, so that the hot state forgets it; `channel_deleted` those
    of each channel.
    """

    def __init__(
        self,
        store: Store,
        quotas: Quotas,
        *,
        domain: str,
        deleted: Callable[[DeviceId], None] = lambda _id: None,
        channel_deleted: Callable[[DeviceId, ChannelId], None] = lambda _device_id, _channel_id: None,
    ) -> None:
        self._store = store
        self._quotas = quotas
        self._domain = domain
        self._deleted = deleted
        self._channel_deleted = channel_deleted

    async def create(
        self,
        project: Project,
        *,
        type_: DeviceType,
        username: str,
        quantity: int = 1,
        suffix: str = "",
        description: str = "",
        device_ids: Sequence[str] = (),
        at: datetime,
    ) -> Sequence[DeviceId]:
        """Makes `quantity` devices with ids of their own, or one for each of `device_ids`.

        InvalidError, NotFoundError for an unknown credential, DeviceExistsError, QuotaError.
        """
        check_suffix(suffix)
        check_description(description)
        quota = self._quotas.of(project, "device")
        new = NewDevices(
            project_id=project.project_id,
            type=type_,
            credential=username,
            suffix=suffix,
            description=description,
            at=at,
        )
        if device_ids:
            return await self._add(new, [_device_id(text) for text in device_ids], quota)
        if quantity < 1:
            raise InvalidError("quantity", "at least 1")
        if quantity > quota:
            raise QuotaError("device", quota)
        if quantity > QUANTITY_MAX:
            raise InvalidError("quantity", f"at most {QUANTITY_MAX} at a time")
        return await self._store.devices.create(new, domain=self._domain, quantity=quantity, quota=quota)

    async def _add(self, new: NewDevices, device_ids: Sequence[DeviceId], quota: int) -> Sequence[DeviceId]:
        if len(device_ids) > QUANTITY_MAX:
            raise InvalidError("device_id_list", f"at most {QUANTITY_MAX} at a time")
        if len(set(device_ids)) < len(device_ids):
            raise DeviceExistsError("an id is given twice")
        try:
            await self._store.devices.add(new, device_ids, quota=quota)
        except ConflictError as error:
            raise DeviceExistsError("a device with one of these ids exists") from error
        return device_ids

    async def list(
        self, scope: Scope, wanted: DeviceFilter, page: Page | None
    ) -> tuple[Listing[Device], Mapping[DeviceId, Sequence[Channel]]]:
        """The devices, and the channels of each."""
        listing = await self._store.devices.list(scope, wanted, page)
        return listing, await self._store.channels.of_devices([device.device_id for device in listing.entries])

    async def get(self, scope: Scope, device_id: str) -> DeviceChannels:
        """NotFoundError."""
        device = await self.device(scope, device_id)
        channels = await self._store.channels.of_devices([device.device_id])
        return DeviceChannels(device, channels.get(device.device_id, ()))

    async def device(self, scope: Scope, device_id: str) -> Device:
        """The device alone; NotFoundError."""
        device = await self._store.devices.get(DeviceId(device_id), scope)
        if device is None:
            raise NotFoundError("device", device_id)
        return device

    async def channel(self, scope: Scope, device_id: str, channel_id: str) -> Channel:
        """NotFoundError, of the device or of the channel."""
        device = await self.device(scope, device_id)
        channel = await self._store.channels.get(device.device_id, ChannelId(channel_id))
        if channel is None:
            raise NotFoundError("channel", channel_id)
        return channel

    async def channels(
        self, scope: Scope, *, offset: int, limit: int, device_id: str | None = None
    ) -> Listing[tuple[Channel, DeviceState]]:
        """Channels with their device's state, in order of device and id; NotFoundError for an unknown device."""
        if device_id is not None:
            await self.device(scope, device_id)
        wanted = None if device_id is None else DeviceId(device_id)
        return await self._store.channels.page(scope, offset=offset, limit=limit, device_id=wanted)

    async def delete(self, scope: Scope, device_id: str, at: datetime) -> None:
        """Deletes a device that is not registered now, with all its channels and streams; its history stays.

        NotFoundError, DeviceRegisteredError.
        """
        device = await self.device(scope, device_id)
        if device.state is DeviceState.ONLINE or not await self._store.devices.delete(device.device_id, at):
            raise DeviceRegisteredError(f"device {device_id} is registered")
        self._deleted(device.device_id)

    async def delete_channel(self, scope: Scope, device_id: str, channel_id: str, at: datetime) -> None:
        """Deletes a channel of a device that is not registered now, with its stream; its history stays.

        It comes back, as a new one, if the device names it again. NotFoundError, ChannelRegisteredError.
        """
        channel = await self.channel(scope, device_id, channel_id)
        if not await self._store.channels.delete(channel.device_id, channel.channel_id, at):
            raise ChannelRegisteredError(f"channel {channel_id} belongs to a device that is registered")
        self._channel_deleted(channel.device_id, channel.channel_id)

    async def update_channel(self, device: Device, channel: Channel, change: ChannelUpdate, at: datetime) -> Channel:
        """Changes a channel's settings.

        TcpPriorityError for an NVR's, ChannelBusyError for another suffix while it is invited, StreamExistsError,
        InvalidError, NotFoundError.
        """
        if change.tcp_priority and device.type is DeviceType.NVR:
            raise TcpPriorityError("channels of an NVR cannot prefer TCP")
        if change.suffix is not None:
            check_suffix(change.suffix)
        try:
            return await self._store.channels.update(
                channel.device_id, channel.channel_id, change, at=at, may_rename=_refuse_while_invited
            )
        except ChannelBusyError:
            raise
        except ConflictError as error:
            raise StreamExistsError("a stream of this name exists") from error


def _refuse_while_invited(status: InvitationStatus) -> None:
    if status not in RENAMEABLE:
        raise ChannelBusyError(f"the suffix may not change while the channel is {status.value}")


def _device_id(text: str) -> DeviceId:
    """1 to 32 letters and digits; InvalidError."""
    if not (1 <= len(text) <= 32 and text.isascii() and text.isalnum()):
        raise InvalidError("device_id_list", "each 1 to 32 letters and digits")
    return DeviceId(text)
