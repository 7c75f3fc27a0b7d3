"""Values of the operation statistics."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from gateway.devices.model import ChannelId, Device


class DeviceList(StrEnum):
    """The lists of devices, by the last part of their addresses (VIS API §4.5.1–4.5.6)."""

    PAST_ONLINE = "pastOnlineDeviceList"
    """Those that were ever online."""
    TODAY_NEW = "todayNewOnlineDeviceList"
    """Online today for the first time ever."""
    TODAY_DROPPED = "todayDroppedDeviceList"
    """Went offline today, whatever they are now."""
    LONG_OFFLINE = "longTermOfflineDeviceList"
    """Offline for more than three days."""
    SHORT_OFFLINE = "shortTermOfflineDeviceList"
    """Offline, and online at some time within the last three days."""
    NEVER_SENT = "notSendDataDeviceList"
    """Ever online, but never sent video."""


class ChannelDay(NamedTuple):
    """A channel on a day of UTC+8."""

    day: date
    device_id: str
    channel_id: str


class Sums(NamedTuple):
    """RTP packets that should have come, and that came (RFC 3550 §A.3)."""

    expected: int
    received: int

    def __str__(self) -> str:
        """As `4511/4511`; a packet that comes late over midnight makes no day better than whole."""
        return f"{min(self.received, self.expected)}/{self.expected}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketRate:
    """How much of a channel's video came today."""

    device: Device
    channel_id: ChannelId
    sums: Sums
