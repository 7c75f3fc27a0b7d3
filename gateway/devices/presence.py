"""Whether a device is online (GB/T 28181-2016 §9.1, §9.6). No socket, no clock.

A device is online from an authenticated registration until it unregisters, falls silent, its registration expires or
its TCP connection closes. It falls silent after `count` missed intervals; the interval is learnt from its keepalives,
because the setting in the camera is seldom the one that the platform was told. A keepalive brings a device back
while its registration lasts (most cameras never register again on their own before it ends); whether it came from the
registered flow is for the caller to say.
"""

from dataclasses import dataclass
from typing import Final

from gateway.devices.model import DeviceState, StateCause
from gateway.errors import IllegalTransitionError

TRANSITIONS: Final = {
    (DeviceState.UNREGISTERED, StateCause.REGISTER): DeviceState.ONLINE,
    (DeviceState.ONLINE, StateCause.REGISTER): DeviceState.ONLINE,  # a refresh
    (DeviceState.ONLINE, StateCause.KEEPALIVE): DeviceState.ONLINE,
    (DeviceState.ONLINE, StateCause.UNREGISTER): DeviceState.OFFLINE,
    (DeviceState.ONLINE, StateCause.KEEPALIVE_LOST): DeviceState.OFFLINE,
    (DeviceState.ONLINE, StateCause.REGISTRATION_EXPIRED): DeviceState.OFFLINE,
    (DeviceState.ONLINE, StateCause.CONNECTION_LOST): DeviceState.OFFLINE,
    (DeviceState.OFFLINE, StateCause.REGISTER): DeviceState.ONLINE,
    (DeviceState.OFFLINE, StateCause.KEEPALIVE): DeviceState.ONLINE,  # while the registration lasts
    (DeviceState.OFFLINE, StateCause.UNREGISTER): DeviceState.OFFLINE,
    (DeviceState.OFFLINE, StateCause.REGISTRATION_EXPIRED): DeviceState.OFFLINE,  # from now on only REGISTER helps
}

INTERVAL_MIN: Final = 5.0
"""Seconds; shorter gaps between keepalives are repetitions or storms and teach nothing shorter."""
INTERVAL_MAX: Final = 3600.0
STEADY: Final = 1.25
"""Two successive gaps within this ratio teach an interval."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a device may be silent: `count` intervals and a grace, all in seconds (GB/T 28181-2016 §9.6.1)."""

    interval: float = 60.0
    count: int = 3
    grace: float = 5.0

    def silence(self, learnt: float | None) -> float:
        """Seconds of silence after which a device is offline."""
        return (self.interval if learnt is None else learnt) * self.count + self.grace


class DevicePresence:
    """Follows one device; all times are monotonic seconds. A keepalive costs O(1) and moves the deadline only later."""

    __slots__ = ("_expires_at", "_gap", "_keepalive_at", "_patience", "_seen_at", "interval", "state")

    def __init__(self, patience: Patience, state: DeviceState = DeviceState.UNREGISTERED) -> None:
        self.state = state
        self.interval: float | None = None
        """The learnt interval between keepalives; None before there was one."""
        self._patience = patience
        self._seen_at = 0.0
        self._expires_at: float | None = None
        self._keepalive_at: float | None = None
        self._gap: float | None = None

    @property
    def registered(self) -> bool:
        """Whether there is a registration that has not ended."""
        return self._expires_at is not None

    def restore(self, now: float, expires: float, interval: float | None) -> None:
        """Adopts a stored registration with `expires` seconds left; the device gets its whole patience anew."""
        self._seen_at = now
        self._expires_at = now + expires
        self.interval = None if interval is None else min(max(interval, INTERVAL_MIN), INTERVAL_MAX)

    def register(self, now: float, expires: float) -> tuple[DeviceState, DeviceState]:
        """An authenticated REGISTER granted for `expires` seconds; gives the states before and after."""
        change = self._apply(StateCause.REGISTER)
        self._expires_at = now + expires
        self._seen_at = now
        return change

    def handle(self, now: float, cause: StateCause) -> tuple[DeviceState, DeviceState]:
        """Takes any other cause; gives the states before and after.

        Raises IllegalTransitionError, and changes nothing, if the cause may not come now: among others a keepalive
        without a registration.
        """
        if cause is StateCause.REGISTER or (cause is StateCause.KEEPALIVE and not self._is_registered_at(now)):
            raise IllegalTransitionError(self.state, cause)
        change = self._apply(cause)
        if cause is StateCause.KEEPALIVE:
            self._learn(now)
            self._seen_at = now
        elif cause in {StateCause.UNREGISTER, StateCause.REGISTRATION_EXPIRED}:
            self._expires_at = None
        if change[1] is not DeviceState.ONLINE:
            self._keepalive_at = self._gap = None
        return change

    def handle_timeout(self, now: float) -> tuple[DeviceState, DeviceState, StateCause] | None:
        """Lets time pass; called early it does nothing. Gives the change, if there is one, and its cause."""
        if self._expires_at is not None and now >= self._expires_at:
            return (*self.handle(now, StateCause.REGISTRATION_EXPIRED), StateCause.REGISTRATION_EXPIRED)
        if self.state is DeviceState.ONLINE and now >= self._silent_at():
            return (*self.handle(now, StateCause.KEEPALIVE_LOST), StateCause.KEEPALIVE_LOST)
        return None

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`; a registration that lasts while the device is silent ends too."""
        if self._expires_at is None:
            return None
        return min(self._expires_at, self._silent_at()) if self.state is DeviceState.ONLINE else self._expires_at

    def _silent_at(self) -> float:
        return self._seen_at + self._patience.silence(self.interval)

    def _is_registered_at(self, now: float) -> bool:
        return self._expires_at is not None and now < self._expires_at

    def _apply(self, cause: StateCause) -> tuple[DeviceState, DeviceState]:
        before = self.state
        try:
            self.state = TRANSITIONS[before, cause]
        except KeyError:
            raise IllegalTransitionError(before, cause) from None
        return before, self.state

    def _learn(self, now: float) -> None:
        """Learns the interval from two successive gaps that agree: a lost keepalive makes one odd gap, no more."""
        previous, self._keepalive_at = self._keepalive_at, now
        if previous is None:
            return
        gap, before = min(now - previous, INTERVAL_MAX), self._gap
        if gap < 1.0:  # the same keepalive again
            self._keepalive_at = previous
            return
        self._gap = gap
        if before is not None and gap <= before * STEADY and before <= gap * STEADY:
            self.interval = max(gap, before, INTERVAL_MIN)
