"""What the services tell those who want to know: invitations, statistics, the console's events.

A listener runs at once, on the event loop, and must not wait. What it returns are the state events of channels that
follow from a notice; they are written together with the device's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from gateway.devices.model import CatalogueChange, ChannelId, DeviceId, StateCause, StateEvent
from gateway.gb28181.messages import Message

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeviceOnline:
    """A device registered, refreshed, or came back by a keepalive; also told at start for each that is adopted."""

    device_id: DeviceId
    cause: StateCause
    """REGISTER, KEEPALIVE or RESTART (ours)."""
    was_online: bool
    """Whether it was online before: a refresh."""
    moved: bool = False
    """It is at another address: what runs inside dialogs goes down its flow of now."""
    restarted: bool = False
    """Its CSeq fell: it was restarted, and its media sessions are suspect."""


@dataclass(frozen=True, slots=True)
class DeviceOffline:
    """A device is offline: it unregistered, fell silent, or its registration or connection ended."""

    device_id: DeviceId
    cause: StateCause


@dataclass(frozen=True, slots=True)
class DeviceForgotten:
    """A device was deleted."""

    device_id: DeviceId


@dataclass(frozen=True, slots=True)
class ChannelForgotten:
    """A channel was deleted."""

    device_id: DeviceId
    channel_id: ChannelId


@dataclass(frozen=True, slots=True)
class CatalogueChanged:
    """An answer or a notification was stored: channels appeared, or were reported on or off."""

    device_id: DeviceId
    change: CatalogueChange


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A device told something that is for others: MediaStatus, Alarm, MobilePosition, a late result, or Unknown."""

    device_id: DeviceId
    message: Message
    call_id: str
    """Of the SIP message: that of a call if the device sent it inside one."""


Notice = DeviceOnline | DeviceOffline | DeviceForgotten | ChannelForgotten | CatalogueChanged | MessageReceived
Listener = Callable[[Notice], Sequence[StateEvent]]


class Notices:
    """Tells every listener in the order in which they came; one that fails is logged and harms no other."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """From now on tells `listener` everything."""
        self._listeners.append(listener)

    def publish(self, notice: Notice) -> list[StateEvent]:
        """Tells everybody; gives the state events of channels that follow."""
        events: list[StateEvent] = []
        for listener in self._listeners:
            try:
                events += listener(notice)
            except Exception:  # the border to other services: a failing one must not stop the device's own state
                log.exception("a listener failed", notice=type(notice).__name__)
        return events
