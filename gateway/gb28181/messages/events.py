"""What devices report on their own: Alarm, MediaStatus, MobilePosition (GB/T 28181-2022 §A.2.5)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.gb28181.charset import Charset
from gateway.gb28181.manscdp import Document, Root, build
from gateway.gb28181.markup import Element
from gateway.gb28181.messages.fields import Reader, decimal, optional

POSITIONS_MAX: Final = 1000
END_OF_FILE: Final = "121"
"""NotifyType of MediaStatus: a played back or downloaded file has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm; `device_id` is the alarm input, the camera or the device."""

    sn: int | None
    device_id: str
    priority: int | None = None
    """1, the gravest, to 4."""
    method: int | None = None
    """1 telephone, 2 device, 3 SMS, 4 GPS, 5 video, 6 device fault, 7 other."""
    time: datetime | None = None
    description: str | None = None
    type: int | None = None
    event_type: int | None = None
    longitude: float | None = None
    latitude: float | None = None
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStatus:
    """The state of a session's media; 121 is the end of the file."""

    sn: int | None
    device_id: str
    notify_type: str
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a mobile device is: WGS-84 degrees, km/h, degrees clockwise from north, metres."""

    device_id: str
    time: datetime | None
    longitude: float
    latitude: float
    speed: float | None = None
    direction: float | None = None
    altitude: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MobilePosition:
    """One or more positions: the flat form of 2016 and the list of 2022."""

    sn: int | None
    device_id: str
    positions: tuple[Position, ...]
    deviations: tuple[str, ...] = ()


def read_alarm(document: Document) -> Alarm:
    """Reads Notify/Alarm; AlarmType is also found at the top level, the longitude also misspelt."""
    reader = Reader(document.element)
    info = reader.nested("Info") or Reader(Element("Info"))
    parameters = info.nested("AlarmTypeParam") or Reader(Element("AlarmTypeParam"))
    return Alarm(
        sn=document.sn,
        device_id=document.device_id,
        priority=reader.integer("AlarmPriority", 1, 4),
        method=reader.integer("AlarmMethod", 1, 7),
        time=reader.time("AlarmTime"),
        description=reader.text("AlarmDescription", 1024),
        type=info.integer("AlarmType", 0, 99) if "AlarmType" in info else reader.integer("AlarmType", 0, 99),
        event_type=parameters.integer("EventType", 0, 99),
        longitude=reader.number("Longitude" if "Longitude" in reader else "Longtitude", -180, 180),
        latitude=reader.number("Latitude", -90, 90),
        deviations=tuple(reader.deviations),
    )


def write_alarm(message: Alarm, charset: Charset = Charset.GB2312) -> bytes:
    """The body of a Notify/Alarm."""
    parameters = optional("EventType", message.event_type)
    info = [
        *optional("AlarmType", message.type),
        *([Element("AlarmTypeParam", children=parameters)] if parameters else []),
    ]
    fields = [
        *optional("AlarmPriority", message.priority),
        *optional("AlarmMethod", message.method),
        *optional("AlarmTime", message.time),
        *optional("AlarmDescription", message.description),
        *optional("Longitude", decimal(message.longitude, 6)),
        *optional("Latitude", decimal(message.latitude, 6)),
        *([Element("Info", children=info)] if info else []),
    ]
    return build(Root.NOTIFY, "Alarm", message.sn or 0, message.device_id, fields, charset=charset)


def read_media_status(document: Document) -> MediaStatus:
    """Reads Notify/MediaStatus."""
    reader = Reader(document.element)
    return MediaStatus(
        sn=document.sn,
        device_id=document.device_id,
        notify_type=reader.text("NotifyType", 8) or "",
        deviations=tuple(reader.deviations),
    )


def write_media_status(message: MediaStatus, charset: Charset = Charset.GB2312) -> bytes:
    """The body of a Notify/MediaStatus."""
    fields = [Element("NotifyType", message.notify_type)]
    return build(Root.NOTIFY, "MediaStatus", message.sn or 0, message.device_id, fields, charset=charset)


def read_mobile_position(document: Document) -> MobilePosition:
    """Reads Notify/MobilePosition; an empty list never falls back to the coordinates at the root."""
    reader = Reader(document.element)
    if document.element.find("DeviceList") is not None:
        entries = list(reader.items("DeviceList"))[:POSITIONS_MAX]
        positions = [_position(entry, "CaptureTime", document.device_id) for entry in entries]
    else:
        positions = [_position(reader, "Time", document.device_id)]
    return MobilePosition(
        sn=document.sn,
        device_id=document.device_id,
        positions=tuple(position for position in positions if position is not None),
        deviations=tuple(reader.deviations),
    )


def _position(reader: Reader, time: str, device_id: str) -> Position | None:
    longitude, latitude = reader.number("Longitude", -180, 180), reader.number("Latitude", -90, 90)
    if longitude is None or latitude is None:
        return None
    return Position(
        device_id=reader.identity("DeviceID") or device_id,
        time=reader.time(time),
        longitude=longitude,
        latitude=latitude,
        speed=reader.number("Speed", 0, 2000),
        direction=reader.number("Direction", 0, 360),
        altitude=reader.number("Altitude", -1000, 100_000),
    )
