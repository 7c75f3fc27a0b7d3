"""MANSCDP messages as values: `read` gives the typed message of a document, an unknown one as it came."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.gb28181.manscdp import Document, Root
from gateway.gb28181.messages.catalogue import CataloguePage, read_page
from gateway.gb28181.messages.device import (
    CommandResult,
    DeviceInfo,
    DeviceStatus,
    Keepalive,
    read_device_info,
    read_device_status,
    read_keepalive,
    read_result,
)
from gateway.gb28181.messages.events import (
    Alarm,
    MediaStatus,
    MobilePosition,
    read_alarm,
    read_media_status,
    read_mobile_position,
)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A document that nobody reads, kept whole so that it can be shown and counted."""

    document: Document

    @property
    def deviations(self) -> tuple[str, ...]:
        """None of its own."""
        return ()


Message = (
    Keepalive
    | CataloguePage
    | DeviceInfo
    | DeviceStatus
    | CommandResult
    | Alarm
    | MediaStatus
    | MobilePosition
    | Unknown
)

_READERS: Final[dict[tuple[Root, str], Callable[[Document], Message]]] = {
    (Root.NOTIFY, "Keepalive"): read_keepalive,
    (Root.NOTIFY, "Catalog"): read_page,
    (Root.NOTIFY, "Alarm"): read_alarm,
    (Root.NOTIFY, "MediaStatus"): read_media_status,
    (Root.NOTIFY, "MobilePosition"): read_mobile_position,
    (Root.RESPONSE, "Catalog"): read_page,
    (Root.RESPONSE, "DeviceInfo"): read_device_info,
    (Root.RESPONSE, "DeviceStatus"): read_device_status,
    (Root.RESPONSE, "DeviceControl"): read_result,
    (Root.RESPONSE, "DeviceConfig"): read_result,
    (Root.RESPONSE, "Alarm"): read_result,
    (Root.RESPONSE, "Broadcast"): read_result,
}


def read(document: Document) -> Message:
    """The typed message of a document; Unknown for what nobody reads."""
    reader = _READERS.get((document.root, document.command))
    return Unknown(document) if reader is None else reader(document)


__all__ = [
    "Alarm",
    "CataloguePage",
    "CommandResult",
    "DeviceInfo",
    "DeviceStatus",
    "Keepalive",
    "MediaStatus",
    "Message",
    "MobilePosition",
    "Unknown",
    "read",
]
