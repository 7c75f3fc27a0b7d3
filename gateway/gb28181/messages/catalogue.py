"""Query, Response and Notify of Catalog (GB/T 28181-2016 §A.2.4.3, §A.2.6.4, §9.5; GB/T 28181-2022 §A.2.6.2).

Fields moved between the editions (into `Info`, out of it, or into `ExtraInfo`): each is looked for in every place.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from gateway.gb28181.charset import Charset
from gateway.gb28181.ids import Kind, kind_of
from gateway.gb28181.manscdp import Document, Root, build
from gateway.gb28181.markup import Element
from gateway.gb28181.messages.fields import Reader, decimal, optional

ITEMS_MAX: Final = 10_000
"""Items read of one message; more are dropped and counted."""
SUM_MAX: Final = 200_000
PARENTS_MAX: Final = 8


class Event(StrEnum):
    """What a notification says about an item (GB/T 28181-2022 §A.2.5.4)."""

    ON = "ON"
    OFF = "OFF"
    VLOST = "VLOST"
    DEFECT = "DEFECT"
    ADD = "ADD"
    DEL = "DEL"
    UPDATE = "UPDATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueItem:
    """One node of a device's catalogue: a channel, an alarm input, a group, a region …"""

    code: str
    name: str = ""
    on: bool = True
    """Status; unknown spellings count as on."""
    event: Event | None = None
    """Only in notifications."""
    parents: tuple[str, ...] = ()
    """ParentID split at `/`; empty if the device did not say."""
    parental: bool = False
    """Whether it says that it has children."""
    group_id: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    owner: str | None = None
    civil_code: str | None = None
    block: str | None = None
    address: str | None = None
    register_way: int | None = None
    secrecy: bool = False
    ip_address: str | None = None
    """Of the sub-device, as it says; never used to reach it."""
    port: int | None = None
    longitude: float | None = None
    """Degrees, WGS-84; None if unknown."""
    latitude: float | None = None
    ptz_type: int | None = None
    resolution: str | None = None
    streams: str | None = None
    """StreamNumberList, such as `0/1/2`."""

    @property
    def kind(self) -> Kind:
        """What its code says it is."""
        return kind_of(self.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class CataloguePage:
    """One Response of a query, or one notification."""

    notification: bool
    sn: int | None
    device_id: str
    sum_num: int | None
    """A hint only; None if absent or absurd."""
    items: tuple[CatalogueItem, ...]
    dropped: int = 0
    """Items that could not be understood or were too many."""
    failed: bool = False
    """Result ERROR."""
    deviations: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it says nothing at all, as a bare `Result` OK before the list does."""
        return self.sum_num is None and not self.items and not self.dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueQuery:
    """Asks for the items below `device_id`, optionally those added in a span of time."""

    sn: int
    device_id: str
    start: datetime | None = None
    end: datetime | None = None


def read_page(document: Document) -> CataloguePage:
    """Reads a Response or Notify; never fails: a broken item is dropped and counted."""
    reader = Reader(document.element)
    sum_num = reader.integer("SumNum", 0, SUM_MAX)
    items: list[CatalogueItem] = []
    dropped = 0
    for entry in reader.items("DeviceList"):
        item = _read_item(entry) if len(items) < ITEMS_MAX else None
        if item is None:
            dropped += 1
        else:
            items.append(item)
    if dropped:
        reader.deviations.append("item-dropped")
    return CataloguePage(
        notification=document.root is Root.NOTIFY,
        sn=document.sn,
        device_id=document.device_id,
        sum_num=sum_num,
        items=tuple(items),
        dropped=dropped,
        failed=not (items or dropped) and not reader.switch("Result", default=True),
        deviations=tuple(reader.deviations),
    )


def _read_item(reader: Reader) -> CatalogueItem | None:
    code = reader.identity("DeviceID")
    if code is None:
        return None
    info = reader.nested("Info") or reader.nested("ExtraInfo") or Reader(Element("Info"))
    longitude, latitude = _position(reader)
    return CatalogueItem(
        code=code,
        name=reader.text("Name") or "",
        on=reader.switch("Status", default=True),
        event=_event(reader),
        parents=_parents(reader),
        parental=_parental(reader),
        group_id=reader.identity("BusinessGroupID") or info.identity("BusinessGroupID"),
        manufacturer=reader.text("Manufacturer"),
        model=reader.text("Model"),
        owner=reader.text("Owner"),
        civil_code=reader.text("CivilCode", 64),
        block=reader.text("Block", 64),
        address=reader.text("Address"),
        register_way=reader.integer("RegisterWay", 0, 9),
        secrecy=reader.text("Secrecy") not in {None, "0"},
        ip_address=reader.text("IPAddress", 64),
        port=reader.integer("Port", 0, 65535),
        longitude=longitude,
        latitude=latitude,
        ptz_type=info.integer("PTZType", 0, 99) if "PTZType" in info else reader.integer("PTZType", 0, 99),
        resolution=info.text("Resolution", 64) or reader.text("Resolution", 64),
        streams=info.text("StreamNumberList", 64) or reader.text("StreamNumberList", 64),
    )


def _event(reader: Reader) -> Event | None:
    """The Event; some devices call it OperateType."""
    text = reader.text("Event", 16) or reader.text("OperateType", 16)
    try:
        return None if text is None else Event(text.upper())
    except ValueError:
        reader.deviations.append("event-unknown")
        return None


def _parents(reader: Reader) -> tuple[str, ...]:
    text = reader.text("ParentID") or ""
    return tuple(part.strip() for part in text.split("/", PARENTS_MAX)[:PARENTS_MAX] if part.strip())


def _parental(reader: Reader) -> bool:
    text = reader.text("Parental", 16)
    if text not in {None, "0", "1"}:
        reader.deviations.append("parental-spelling")
    return text not in {None, "0"}


def _position(reader: Reader) -> tuple[float | None, float | None]:
    """Longitude and latitude; both 0 means unknown, and one alone is nothing."""
    longitude, latitude = reader.number("Longitude", -180, 180), reader.number("Latitude", -90, 90)
    if longitude is None or latitude is None or (longitude == 0 and latitude == 0):
        return None, None
    return longitude, latitude


def write_query(query: CatalogueQuery, charset: Charset = Charset.GB2312) -> bytes:
    """The body of a Query/Catalog."""
    fields = [*optional("StartTime", query.start), *optional("EndTime", query.end)]
    return build(Root.QUERY, "Catalog", query.sn, query.device_id, fields, charset=charset)


def write_page(page: CataloguePage, charset: Charset = Charset.GB2312) -> bytes:
    """The body of a Response, or of a Notify; an empty one carries no list (GB/T 28181-2022 annex M)."""
    fields = optional("SumNum", page.sum_num)
    if page.items:
        items = [Element("Item", children=_write_item(item, page.notification)) for item in page.items]
        fields.append(Element("DeviceList", children=items, attributes={"Num": str(len(items))}))
    root = Root.NOTIFY if page.notification else Root.RESPONSE
    return build(root, "Catalog", page.sn or 0, page.device_id, fields, charset=charset)


def _write_item(item: CatalogueItem, notification: bool) -> list[Element]:
    head = [Element("DeviceID", item.code)]
    if notification and item.event is not None:
        head.append(Element("Event", item.event.value))
        if item.event not in {Event.ADD, Event.UPDATE}:
            return head
    info = [
        *optional("PTZType", item.ptz_type),
        *optional("Resolution", item.resolution),
        *optional("StreamNumberList", item.streams),
    ]
    return [
        *head,
        Element("Name", item.name),
        *optional("Manufacturer", item.manufacturer),
        *optional("Model", item.model),
        *optional("Owner", item.owner),
        *optional("CivilCode", item.civil_code),
        *optional("Block", item.block),
        *optional("Address", item.address),
        Element("Parental", str(int(item.parental))),
        *optional("ParentID", "/".join(item.parents) or None),
        *optional("RegisterWay", item.register_way),
        Element("Secrecy", str(int(item.secrecy))),
        *optional("IPAddress", item.ip_address),
        *optional("Port", item.port),
        Element("Status", "ON" if item.on else "OFF"),
        *optional("Longitude", decimal(item.longitude, 6)),
        *optional("Latitude", decimal(item.latitude, 6)),
        *optional("BusinessGroupID", item.group_id),
        *([Element("Info", children=info)] if info else []),
    ]
