"""The MANSCDP bodies that a simulated device writes, truthful or not. Pure."""

from datetime import datetime, timedelta

from gateway.gb28181.charset import Charset
from gateway.gb28181.manscdp import Document, Root
from gateway.gb28181.messages.catalogue import CatalogueItem, CataloguePage, write_page
from gateway.gb28181.messages.device import (
    CommandResult,
    DeviceInfo,
    DeviceStatus,
    Keepalive,
    write_device_info,
    write_device_status,
    write_keepalive,
    write_result,
)
from gateway.simulator.config import ChannelSpec, DeviceSpec
from gateway.simulator.misbehaviour import Misbehaviour

ITEMS_A_PAGE = 4
"""Items that fit a datagram below the MTU of most networks."""
_ANSWERED_COMMANDS = ("RecordCmd", "GuardCmd", "AlarmCmd", "HomePosition", "DeviceUpgrade")


class Answers:
    """Writes what one device says. The times given are aware."""

    def __init__(self, device: DeviceSpec, misbehaviour: Misbehaviour) -> None:
        self._device = device
        self._wrong = misbehaviour

    def keepalive(self, sn: int) -> bytes:
        """Notify/Keepalive."""
        return self._declared(write_keepalive(Keepalive(sn=sn, device_id=self._device.id), self._wrong.charset))

    def answer(self, query: Document, now: datetime) -> list[bytes]:
        """The Responses to a query or control, in order; none where the standard has none or nothing is known."""
        if query.root is Root.CONTROL:
            return self._control(query)
        if query.root is not Root.QUERY:
            return []
        match query.command:
            case "Catalog":
                return self._catalogue(query.sn)
            case "DeviceInfo":
                return [self._declared(self._info(query))]
            case "DeviceStatus":
                skewed = now + timedelta(seconds=self._wrong.clock_skew)
                status = DeviceStatus(sn=query.sn, device_id=query.device_id, encoding=True, device_time=skewed)
                return [self._declared(write_device_status(status, self._wrong.charset))]
        return []

    def _info(self, query: Document) -> bytes:
        device = self._device
        info = DeviceInfo(
            sn=query.sn,
            device_id=query.device_id,
            name=device.name,
            manufacturer="Simulated",
            model="IPC" if device.is_ipc else f"NVR-{len(device.channels)}",
            firmware="V1.0",
            channels=len(device.channels),
        )
        return write_device_info(info, self._wrong.charset)

    def _control(self, control: Document) -> list[bytes]:
        """Some commands are answered, PTZ and restart are not (GB/T 28181-2016 §9.3, annex A.2.3)."""
        if not any(control.element.value(name) for name in _ANSWERED_COMMANDS):
            return []
        result = CommandResult(command=control.command, sn=control.sn, device_id=control.device_id, ok=True)
        return [self._declared(write_result(result, self._wrong.charset))]

    def _catalogue(self, sn: int | None) -> list[bytes]:
        items = [self._item(channel) for channel in self._device.channels]
        total = len(items) if self._wrong.sum_num is None else self._wrong.sum_num
        if self._wrong.twice:
            items += items
        size = 1 if self._wrong.one_item else ITEMS_A_PAGE
        pages = [items[start : start + size] for start in range(0, len(items), size)] or [[]]
        if self._wrong.last_lost:
            pages.pop()
        return [self._page(sn, total, page) for page in pages]

    def _item(self, channel: ChannelSpec) -> CatalogueItem:
        return CatalogueItem(
            code=channel.id,
            name=channel.name + ("_东门&西门" if self._wrong.unescaped else ""),
            parents=() if channel.id == self._device.id else (self._device.id,),
            manufacturer="Simulated",
            model="CAM",
            owner="Owner",
            civil_code=self._device.id[:6],
            address="Gate 1",
            register_way=1,
            ptz_type=1,
            longitude=121.544120,
            latitude=31.221270,
        )

    def _page(self, sn: int | None, total: int, items: list[CatalogueItem]) -> bytes:
        page = CataloguePage(notification=False, sn=sn, device_id=self._device.id, sum_num=total, items=tuple(items))
        body = write_page(page, self._wrong.charset)
        if self._wrong.parental is not None:
            body = body.replace(b"<Parental>0<", f"<Parental>{self._wrong.parental}<".encode())
        return self._declared(body.replace(b"&amp;", b"&") if self._wrong.unescaped else body)

    def _declared(self, body: bytes) -> bytes:
        """The body with a declaration that may lie about its encoding."""
        declared: Charset | None = self._wrong.declare
        if declared is None:
            return body
        true = f'encoding="{self._wrong.charset.value}"'.encode()
        return body.replace(true, f'encoding="{declared.value}"'.encode(), 1)
