"""Operation statistics (§4.5)."""

from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, QueryParameter, SkipValidation

from api.context import SCOPED, Authorised, Services
from api.vis.common import each, optional, page_from_zero, time
from api.vis.devices import DeviceBody, DevicePage, device_body
from gateway.devices.model import DeviceFilter, DeviceState, DeviceType
from gateway.paging import Page
from gateway.statistics.model import DeviceList, PacketRate


class PacketRateBody(msgspec.Struct, kw_only=True):
    device_id: str
    channel_id: str
    created_at: str
    updated_at: str
    state: str
    packet_received_rate: str
    """Packets that came of those that should have: 4511/4511."""


class PacketRatePage(msgspec.Struct, kw_only=True):
    total: int
    entries: list[PacketRateBody]


class OperationController(Controller):
    path = "/{project_id:str}/operation"
    tags = ("operation statistics",)
    dependencies = {"page": Provide(page_from_zero, sync_to_thread=False)}  # noqa: RUF012

    @get([f"/{which}" for which in DeviceList], summary="Devices by what became of them", opt=SCOPED)
    async def devices(
        self,
        project_id: FromPath[str],
        request: Authorised,
        gateway: Services,
        page: NamedDependency[SkipValidation[Page | None]],
        device_id: FromQuery[str | None] = None,
        type_: Annotated[str | None, QueryParameter(name="type")] = None,
        device_state: Annotated[str | None, QueryParameter(name="state")] = None,
    ) -> DevicePage | list[DeviceBody]:
        which = DeviceList(request.scope["path_template"].rpartition("/")[2])
        asked = _asked(device_id, type_, device_state)
        listing, channels = await gateway.statistics.devices(which, request.auth.scope, asked, page, gateway.clock())
        entries = await each(listing.entries, lambda device: device_body(device, channels.get(device.device_id, ())))
        return entries if page is None else DevicePage(total=listing.total, entries=entries)

    @get(
        "/todayPacketReceivedRateDeviceList",
        summary="How much of the video called for today came, by channel",
        opt=SCOPED,
    )
    async def packet_rates(
        self,
        project_id: FromPath[str],
        request: Authorised,
        gateway: Services,
        page: NamedDependency[SkipValidation[Page | None]],
        device_id: FromQuery[str | None] = None,
        type_: Annotated[str | None, QueryParameter(name="type")] = None,
        device_state: Annotated[str | None, QueryParameter(name="state")] = None,
    ) -> PacketRatePage | list[PacketRateBody]:
        asked = _asked(device_id, type_, device_state)
        listing = await gateway.statistics.packet_rates(request.auth.scope, asked, page)
        entries = await each(listing.entries, _rate)
        return entries if page is None else PacketRatePage(total=listing.total, entries=entries)


def _asked(device_id: str | None, type_: str | None, state: str | None) -> DeviceFilter:
    return DeviceFilter(
        device_id=device_id or None,
        type=optional(DeviceType, type_, "type"),
        state=optional(DeviceState, state, "state"),
    )


def _rate(rate: PacketRate) -> PacketRateBody:
    device = rate.device
    return PacketRateBody(
        device_id=device.device_id,
        channel_id=rate.channel_id,
        created_at=time(device.created_at),
        updated_at=time(device.updated_at),
        state=device.state.value,
        packet_received_rate=str(rate.sums),
    )
