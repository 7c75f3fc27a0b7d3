"""Where a channel's invitation stands, as the API names it, and when a lost one is tried again. No socket, no clock.

The status follows the device and the calls made to it; one call's own life is `gateway.gb28181.invitation`.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from gateway.devices.model import InvitationStatus, StateCause
from gateway.errors import IllegalTransitionError

S = InvitationStatus
C = StateCause

TRANSITIONS: Final = {
    (S.UNREGISTERED, C.DEVICE_ONLINE): S.ONLINE,
    (S.UNREGISTERED, C.DEVICE_OFFLINE): S.UNREGISTERED,
    (S.ONLINE, C.INVITE): S.INVITING,
    (S.ONLINE, C.DEVICE_ONLINE): S.ONLINE,
    (S.ONLINE, C.DEVICE_OFFLINE): S.OFFLINE,
    (S.INVITING, C.MEDIA): S.INVITE_SUCCESS,
    (S.INVITING, C.FAILED): S.ONLINE,
    (S.INVITING, C.MEDIA_LOST): S.TEMPORARY_OFFLINE,  # a retry failed; more will follow
    (S.INVITING, C.CANCEL): S.CANCELING,
    (S.INVITING, C.DEVICE_ONLINE): S.INVITING,
    (S.INVITING, C.DEVICE_OFFLINE): S.TEMPORARY_OFFLINE,  # still wanted: it is called when it returns
    (S.INVITE_SUCCESS, C.MEDIA): S.INVITE_SUCCESS,
    (S.INVITE_SUCCESS, C.CANCEL): S.CANCELING,
    (S.INVITE_SUCCESS, C.MEDIA_LOST): S.TEMPORARY_OFFLINE,
    (S.INVITE_SUCCESS, C.DEVICE_BYE): S.TEMPORARY_OFFLINE,
    (S.INVITE_SUCCESS, C.DEVICE_ONLINE): S.INVITE_SUCCESS,  # it registered anew in mid-call: the media decide
    (S.INVITE_SUCCESS, C.DEVICE_OFFLINE): S.TEMPORARY_OFFLINE,
    (S.INVITE_SUCCESS, C.RESTART): S.TEMPORARY_OFFLINE,
    (S.TEMPORARY_OFFLINE, C.RETRY): S.INVITING,
    (S.TEMPORARY_OFFLINE, C.INVITE): S.INVITING,
    (S.TEMPORARY_OFFLINE, C.CANCEL): S.CANCELING,
    (S.TEMPORARY_OFFLINE, C.GIVEN_UP): S.ONLINE,
    (S.TEMPORARY_OFFLINE, C.DEVICE_ONLINE): S.TEMPORARY_OFFLINE,  # and the next try comes at once
    (S.TEMPORARY_OFFLINE, C.DEVICE_OFFLINE): S.TEMPORARY_OFFLINE,
    (S.CANCELING, C.ENDED): S.ONLINE,
    (S.CANCELING, C.DEVICE_ONLINE): S.CANCELING,
    (S.CANCELING, C.DEVICE_OFFLINE): S.CANCELING,
    (S.OFFLINE, C.DEVICE_ONLINE): S.ONLINE,
    (S.OFFLINE, C.DEVICE_OFFLINE): S.OFFLINE,
}

BACK_OFF: Final = (2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds before the first, second … retry; the last one repeats."""


@dataclass(frozen=True, slots=True)
class StatusChange:
    """The status went from `before` to `after`."""

    before: InvitationStatus
    after: InvitationStatus
    cause: StateCause


class ChannelInvitation:
    """Follows one channel; all times are monotonic seconds.

    `grace`: how long a lost channel is retried, counted from the loss, before it counts as given up; None means
    for as long as somebody wants it.
    """

    def __init__(self, status: InvitationStatus, *, device_online: bool, grace: float | None = None) -> None:
        self.status = status
        self.retries = 0
        self._device_online = device_online
        self._grace = grace
        self._retry_at: float | None = None
        self._lost_at: float | None = None
        self._changes: deque[StatusChange] = deque()

    @property
    def retrying(self) -> bool:
        """Whether it had been lost: then a failure is followed by another try, not by giving up."""
        return self._lost_at is not None

    def handle(self, now: float, cause: StateCause) -> None:
        """Takes one input; IllegalTransitionError, and nothing changed, if it may not come now."""
        before = self.status
        try:
            after = TRANSITIONS[before, cause]
        except KeyError:
            raise IllegalTransitionError(before, cause) from None
        if after is S.INVITING and not self._device_online:
            raise IllegalTransitionError(before, cause)
        if cause in {C.DEVICE_ONLINE, C.DEVICE_OFFLINE}:
            self._device_online = cause is C.DEVICE_ONLINE
        if after is S.ONLINE and not self._device_online:
            after = S.OFFLINE  # nothing ends ONLINE while its device is away
        self.status = after
        self._plan(now, cause)
        if after is not before:
            self._changes.append(StatusChange(before, after, cause))

    def handle_timeout(self, now: float) -> None:
        """Lets time pass; called early, it does nothing. A due retry shows as a change to INVITING."""
        give_up_at, retry_at = self._give_up_at(), self._retry_at
        if give_up_at is not None and now >= give_up_at:
            self.handle(now, C.GIVEN_UP)
        elif retry_at is not None and now >= retry_at:
            self.handle(now, C.RETRY)

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`, or None."""
        times = [due for due in (self._retry_at, self._give_up_at()) if due is not None]
        return min(times, default=None)

    def poll_change(self) -> StatusChange | None:
        """The next change of status, oldest first."""
        return self._changes.popleft() if self._changes else None

    def _give_up_at(self) -> float | None:
        if self.status is not S.TEMPORARY_OFFLINE or self._grace is None or self._lost_at is None:
            return None  # a call under way has time-outs of its own
        return self._lost_at + self._grace

    def _plan(self, now: float, cause: StateCause) -> None:
        if self.status is S.TEMPORARY_OFFLINE:
            self._lost_at = now if self._lost_at is None else self._lost_at
            self._retry_at = self._next_retry(now, cause)
            return
        self._retry_at = None
        if self.status is not S.INVITING:
            self._lost_at = None
            self.retries = 0

    def _next_retry(self, now: float, cause: StateCause) -> float | None:
        if not self._device_online:
            return None  # it is called when it registers again
        if cause is C.DEVICE_ONLINE:
            return now
        wait = BACK_OFF[min(self.retries, len(BACK_OFF) - 1)]
        self.retries += 1
        return now + wait
