"""Keepalive, DeviceInfo and DeviceStatus (GB/T 28181-2016 §A.2.5.1, §A.2.6.5, §A.2.6.6), and bare results."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.gb28181.charset import Charset
from gateway.gb28181.manscdp import Document, Root, build
from gateway.gb28181.markup import Element
from gateway.gb28181.messages.fields import Reader, optional

FAULTY_MAX: Final = 64
ALARMS_MAX: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """A sign of life; `faulty` names sub-devices with a fault."""

    sn: int | None
    device_id: str
    ok: bool = True
    faulty: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """What a device says about itself; None where it says nothing."""

    sn: int | None
    device_id: str
    ok: bool = True
    name: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    firmware: str | None = None
    channels: int | None = None
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus:
    """How a device says it is."""

    sn: int | None
    device_id: str
    ok: bool = True
    """Result of the query."""
    online: bool = True
    normal: bool = True
    """Status OK; `reason` says why not."""
    reason: str | None = None
    encoding: bool | None = None
    recording: bool | None = None
    device_time: datetime | None = None
    duties: tuple[tuple[str, str], ...] = ()
    """Alarm inputs and ONDUTY (armed), OFFDUTY or ALARM."""
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """A Response that carries a Result and little else: DeviceControl, DeviceConfig, Alarm, Broadcast."""

    command: str
    sn: int | None
    device_id: str
    ok: bool
    reason: str | None = None
    deviations: tuple[str, ...] = ()


def read_keepalive(document: Document) -> Keepalive:
    """Reads Notify/Keepalive."""
    reader = Reader(document.element)
    info = document.element.find("Info")
    faulty = [child.text for child in info.all("DeviceID") if child.text][:FAULTY_MAX] if info is not None else []
    return Keepalive(
        sn=document.sn,
        device_id=document.device_id,
        ok=reader.switch("Status", default=True),
        faulty=tuple(faulty),
        deviations=tuple(reader.deviations),
    )


def write_keepalive(message: Keepalive, charset: Charset = Charset.GB2312) -> bytes:
    """The body of a Notify/Keepalive."""
    fields = [Element("Status", "OK" if message.ok else "ERROR")]
    if message.faulty:
        fields.append(Element("Info", children=[Element("DeviceID", code) for code in message.faulty]))
    return build(Root.NOTIFY, "Keepalive", message.sn or 0, message.device_id, fields, charset=charset)


def read_device_info(document: Document) -> DeviceInfo:
    """Reads Response/DeviceInfo; the form of 2011 counts its cameras as MaxCamera."""
    reader = Reader(document.element)
    return DeviceInfo(
        sn=document.sn,
        device_id=document.device_id,
        ok=reader.switch("Result", default=True),
        name=reader.text("DeviceName"),
        manufacturer=reader.text("Manufacturer"),
        model=reader.text("Model"),
        firmware=reader.text("Firmware"),
        channels=reader.integer("Channel", 0, 100_000)
        if "Channel" in reader
        else reader.integer("MaxCamera", 0, 100_000),
        deviations=tuple(reader.deviations),
    )


def write_device_info(message: DeviceInfo, charset: Charset = Charset.GB2312) -> bytes:
    """The body of a Response/DeviceInfo."""
    fields = [
        *optional("DeviceName", message.name),
        Element("Result", "OK" if message.ok else "ERROR"),
        *optional("Manufacturer", message.manufacturer),
        *optional("Model", message.model),
        *optional("Firmware", message.firmware),
        *optional("Channel", message.channels),
    ]
    return build(Root.RESPONSE, "DeviceInfo", message.sn or 0, message.device_id, fields, charset=charset)


def read_device_status(document: Document) -> DeviceStatus:
    """Reads Response/DeviceStatus."""
    reader = Reader(document.element)
    duties = [
        (entry.text("DeviceID", 32) or "", entry.text("DutyStatus", 16) or "") for entry in reader.items("Alarmstatus")
    ]
    return DeviceStatus(
        sn=document.sn,
        device_id=document.device_id,
        ok=reader.switch("Result", default=True),
        online=(reader.text("Online") or "ONLINE").upper() != "OFFLINE",
        normal=reader.switch("Status", default=True),
        reason=reader.text("Reason"),
        encoding=reader.switch("Encode", default=False) if "Encode" in reader else None,
        recording=reader.switch("Record", default=False) if "Record" in reader else None,
        device_time=reader.time("DeviceTime"),
        duties=tuple(duties[:ALARMS_MAX]),
        deviations=tuple(reader.deviations),
    )


def write_device_status(message: DeviceStatus, charset: Charset = Charset.GB2312) -> bytes:
    """The body of a Response/DeviceStatus."""
    fields = [
        Element("Result", "OK" if message.ok else "ERROR"),
        Element("Online", "ONLINE" if message.online else "OFFLINE"),
        Element("Status", "OK" if message.normal else "ERROR"),
        *optional("Reason", message.reason),
        *optional("Encode", _on_off(message.encoding)),
        *optional("Record", _on_off(message.recording)),
        *optional("DeviceTime", message.device_time),
    ]
    if message.duties:
        items = [
            Element("Item", children=[Element("DeviceID", code), Element("DutyStatus", duty)])
            for code, duty in message.duties
        ]
        fields.append(Element("Alarmstatus", children=items, attributes={"Num": str(len(items))}))
    return build(Root.RESPONSE, "DeviceStatus", message.sn or 0, message.device_id, fields, charset=charset)


def _on_off(value: bool | None) -> str | None:
    return None if value is None else "ON" if value else "OFF"


def read_result(document: Document) -> CommandResult:
    """Reads a Response that carries a Result."""
    reader = Reader(document.element)
    return CommandResult(
        command=document.command,
        sn=document.sn,
        device_id=document.device_id,
        ok=reader.switch("Result", default=True),
        reason=reader.text("Reason"),
        deviations=tuple(reader.deviations),
    )


def write_result(message: CommandResult, charset: Charset = Charset.GB2312) -> bytes:
    """The body of a Response that carries a Result."""
    fields = [Element("Result", "OK" if message.ok else "ERROR"), *optional("Reason", message.reason)]
    return build(Root.RESPONSE, message.command, message.sn or 0, message.device_id, fields, charset=charset)


def write_query(command: str, sn: int, device_id: str, charset: Charset = Charset.GB2312) -> bytes:
    """The body of a Query that names nothing but its target: DeviceInfo, DeviceStatus, PresetQuery …"""
    return build(Root.QUERY, command, sn, device_id, (), charset=charset)
