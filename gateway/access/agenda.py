"""Which slices to begin, to try again and to end, and when. Pure: no socket, no clock, no chance.

Two clocks are handed in together (`Moment`): slices begin and end by the calendar; retries, rates and seconds of video
are counted by a clock that never jumps. All that is due goes through two queues, one for beginnings and tries, one for
ends, each let out at a set rate: ten thousand slices at ten o'clock are no storm. Their order is drawn for each day, so
that no channel is always last, and is the same at both ends, so that each slice keeps its length.

The runner does what `poll_action` gives, and tells what came of it (`called`, `failed`) and every change of a channel's
status (`handle_status`).
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple
from zlib import crc32

from gateway.access import slices
from gateway.access.pace import Gate, back_off
from gateway.access.slices import AccessSlice, SliceCause, SliceState
from gateway.devices.model import ChannelId, DeviceId, InvitationStatus
from gateway.gb28181.deadlines import Deadlines

LOOK_AGAIN: Final = 30.0
"""Seconds after which the calendar is looked at again whatever is due: it may have been set."""
OFFLINE: Final = "the device is offline"
MISSED: Final = "the gateway was not running"
NO_VIDEO: Final = "no video came"

Key = tuple[DeviceId, ChannelId]
S = InvitationStatus
C = SliceCause


class Moment(NamedTuple):
    """One instant by both clocks: monotonic seconds, and the calendar."""

    now: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Begin:
    """Call the channel, unless it is called already."""

    slice: AccessSlice


@dataclass(frozen=True, slots=True)
class End:
    """Hang up."""

    slice: AccessSlice


Action = Begin | End


class _Open:
    """A slice whose time has come."""

    __slots__ = ("ending", "failures", "flowing", "queued", "record")

    def __init__(self, record: AccessSlice) -> None:
        self.record = record
        self.flowing: float | None = None
        """Video flows since then, by the clock that never jumps."""
        self.failures = 0
        self.queued = False
        """It waits for its turn to be begun."""
        self.ending = False
        """Its time is over; it waits for its turn to be ended."""


class Agenda:
    """The slices that are due soon or not over. At most one of a channel is open at a time.

    `rate`: beginnings a second, and as many ends.
    """

    def __init__(self, rate: float) -> None:
        self._planned: dict[Key, dict[int, AccessSlice]] = {}
        self._starts: list[tuple[datetime, int, int, Key]] = []
        self._ends: list[tuple[datetime, int, int, Key]] = []
        self._open: dict[Key, _Open] = {}
        self._retries: Deadlines[Key] = Deadlines()
        self._beginning: deque[_Open] = deque()
        self._ending: deque[_Open] = deque()
        self.begin_gate, self.end_gate = Gate(rate), Gate(rate)
        """What else begins and ends calls goes through them, too."""
        self._actions: deque[Action] = deque()
        self._changed: dict[int, AccessSlice] = {}

    # -- what there is ----------------------------------------------------------------------------------------------

    def add(self, found: Iterable[AccessSlice]) -> None:
        """Takes in slices that are planned, or were begun before a restart; those it knows are left as they are."""
        for record in found:
            key, number = record.key, record.slice_id
            known = self._open.get(key)
            if (known is not None and known.record.slice_id == number) or number in self._planned.get(key, ()):
                continue
            if record.state is SliceState.PLANNED:
                self._planned.setdefault(key, {})[number] = record
                heapq.heappush(self._starts, (record.starts_at, _draw(record), number, key))
            else:
                self._take_up(record)

    def withdraw(self, moment: Moment, key: Key, reason: str) -> None:
        """The channel's strategy was changed or stopped: what is planned is void, what is open is over."""
        for number, record in self._planned.pop(key, {}).items():
            self._changed[number] = replace(record, state=slices.after(record.state, C.WITHDRAWN), reason=reason)
        if (found := self._open.get(key)) is not None:
            self._finish(moment, found, withdrawn=reason)

    def forget(self, device_id: DeviceId, channel_id: ChannelId | None = None) -> None:
        """The device was deleted, or only this channel of it, with all that was planned for it."""

        def gone(key: Key) -> bool:
            return key[0] == device_id and channel_id in {None, key[1]}

        for key in [key for key in self._planned if gone(key)]:
            del self._planned[key]
        for key in [key for key in self._open if gone(key)]:
            self._changed.pop(self._open[key].record.slice_id, None)
            self._remove(key)

    def pause(self, moment: Moment) -> None:
        """The gateway stops: what flows is counted up to now, and goes on after the restart."""
        for found in self._open.values():
            self._stops_flowing(moment, found)

    def is_open(self, record: AccessSlice) -> bool:
        """Whether the slice is begun and not over."""
        found = self._find(record)
        return found is not None and not found.ending

    def has_open(self, key: Key) -> bool:
        """Whether any slice of the channel is begun and not over."""
        found = self._open.get(key)
        return found is not None and not found.ending

    def look(self, record: AccessSlice, moment: Moment) -> AccessSlice:
        """How the slice stands, with the seconds of video up to now if it is open; otherwise as given."""
        found = self._find(record)
        if found is None:
            return record
        flowing = 0.0 if found.flowing is None else moment.now - found.flowing
        return replace(found.record, received=found.record.received + flowing)

    @property
    def counts(self) -> dict[str, int]:
        """How many slices begin soon, wait for their turn, are open, and flow."""
        return {
            "planned": sum(map(len, self._planned.values())),
            "waiting": len(self._beginning) + len(self._ending),
            "open": len(self._open),
            "flowing": sum(found.flowing is not None for found in self._open.values()),
        }

    # -- what happens -----------------------------------------------------------------------------------------------

    def handle_status(self, moment: Moment, key: Key, before: str, after: str, detail: str) -> None:
        """A channel went from one status to another."""
        found = self._open.get(key)
        if found is None:
            return
        if after == S.INVITE_SUCCESS:
            self.flows(moment, key)
        else:
            self._stops_flowing(moment, found)
        if found.ending:
            return
        if after == S.ONLINE:
            if before in {S.OFFLINE, S.UNREGISTERED, S.CANCELING}:
                self._enqueue(found)  # it may be called again
            else:
                self.failed(moment, found.record, detail or "the call ended")
        elif after == S.OFFLINE:
            self.failed(moment, found.record, OFFLINE, again=False)
        elif after == S.TEMPORARY_OFFLINE:  # it is called again by itself, for it is wanted
            self._set(found, replace(found.record, reason=detail or OFFLINE))

    def called(self, record: AccessSlice) -> None:
        """The channel is being called for the slice."""
        if (found := self._find(record)) is not None:
            state = slices.after(found.record.state, C.RETRY)
            self._set(found, replace(found.record, state=state, attempts=found.record.attempts + 1))

    def flows(self, moment: Moment, key: Key) -> None:
        """Video flows."""
        found = self._open.get(key)
        if found is None or found.flowing is not None:
            return
        found.flowing = moment.now
        found.failures = 0
        self._retries.discard(key)
        record = found.record
        self._set(
            found,
            replace(
                record,
                state=slices.after(record.state, C.RETRY),
                reason="",
                video_from=record.video_from or moment.at,
                flowing_since=moment.at,
            ),
        )

    def failed(self, moment: Moment, record: AccessSlice, reason: str, *, again: bool = True) -> None:
        """The channel could not be called; tried `again` after a while, else when its device comes back."""
        found = self._find(record)
        if found is None or found.ending:
            return
        self._set(found, replace(found.record, state=slices.after(found.record.state, C.FAILURE), reason=reason))
        if not again:
            self._retries.discard(record.key)
        elif record.key not in self._retries and not found.queued:
            self._retries.set(record.key, moment.now + back_off(found.failures))
            found.failures += 1

    def handle_timeout(self, moment: Moment, room: int) -> None:
        """Lets time pass; called early, it does nothing. At most `room` beginnings are let out."""
        self._come_due(moment)
        while (key := self._retries.pop_due(moment.now)) is not None:
            if (found := self._open.get(key)) is not None:
                self._enqueue(found)
        while self._ending and self.end_gate.passes(moment.now):
            found = self._ending.popleft()
            if self._open.get(found.record.key) is found:
                self._finish(moment, found)
                self._actions.append(End(found.record))
        while self._beginning and room > 0 and self.begin_gate.passes(moment.now):
            found = self._beginning.popleft()
            found.queued = False
            if self._open.get(found.record.key) is found and not found.ending:
                self._actions.append(Begin(found.record))
                room -= 1

    def next_timeout(self, moment: Moment) -> float:
        """When to call `handle_timeout`, in monotonic seconds; never far off, for the calendar may be set."""
        due = moment.now + LOOK_AGAIN
        for heap in (self._starts, self._ends):
            if heap:
                due = min(due, moment.now + max(0.0, (heap[0][0] - moment.at).total_seconds()))
        retry = self._retries.next_timeout()
        if retry is not None:
            due = min(due, retry)
        if self._ending:
            due = min(due, self.end_gate.opens_at)
        if self._beginning:
            due = min(due, self.begin_gate.opens_at)
        return due

    def poll_action(self) -> Action | None:
        """The next thing to do, oldest first."""
        return self._actions.popleft() if self._actions else None

    @property
    def has_changed(self) -> bool:
        """Whether `take_changed` would give any."""
        return bool(self._changed)

    def take_changed(self) -> list[AccessSlice]:
        """Slices that changed since the last call, as they stand now: to be kept."""
        changed, self._changed = list(self._changed.values()), {}
        return changed

    def put_back(self, changed: Iterable[AccessSlice]) -> None:
        """They could not be kept: the next `take_changed` gives them again, unless they changed meanwhile."""
        for record in changed:
            self._changed.setdefault(record.slice_id, record)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _come_due(self, moment: Moment) -> None:
        """Starts before ends: what is over already when it is taken up must not be begun."""
        while self._starts and self._starts[0][0] <= moment.at:
            _, _, number, key = heapq.heappop(self._starts)
            record = self._planned.get(key, {}).pop(number, None)
            if record is None:
                continue
            if not self._planned[key]:
                del self._planned[key]
            if record.ends_at <= moment.at:
                self._changed[number] = replace(record, state=slices.after(record.state, C.MISSED), reason=MISSED)
                continue
            if (before := self._open.get(key)) is not None:  # its end waits for its turn: the call goes on for this one
                self._finish(moment, before)
            self._take_up(replace(record, state=slices.after(record.state, C.DUE)))
        while self._ends and self._ends[0][0] <= moment.at:
            _, _, number, key = heapq.heappop(self._ends)
            found = self._open.get(key)
            if found is not None and found.record.slice_id == number and not found.ending:
                found.ending = True
                self._retries.discard(key)
                self._ending.append(found)

    def _take_up(self, record: AccessSlice) -> None:
        found = self._open[record.key] = _Open(record)
        self._changed[record.slice_id] = record
        heapq.heappush(self._ends, (record.ends_at, _draw(record), record.slice_id, record.key))
        self._enqueue(found)

    def _enqueue(self, found: _Open) -> None:
        self._retries.discard(found.record.key)
        if not found.queued:
            found.queued = True
            self._beginning.append(found)

    def _finish(self, moment: Moment, found: _Open, *, withdrawn: str = "") -> None:
        """The slice is over. Whether to hang up is the caller's."""
        self._stops_flowing(moment, found)
        record = found.record
        empty = C.WITHDRAWN if withdrawn else C.OVER_EMPTY
        cause = empty if record.video_from is None else C.OVER
        reason = withdrawn or record.reason or ("" if cause is C.OVER else NO_VIDEO)
        self._set(found, replace(record, state=slices.after(record.state, cause), reason=reason))
        self._remove(record.key)

    def _remove(self, key: Key) -> None:
        del self._open[key]
        self._retries.discard(key)

    def _stops_flowing(self, moment: Moment, found: _Open) -> None:
        if found.flowing is None:
            return
        record = found.record
        received = record.received + moment.now - found.flowing
        found.flowing = None
        self._set(found, replace(record, received=received, video_until=moment.at, flowing_since=None))

    def _set(self, found: _Open, record: AccessSlice) -> None:
        found.record = record
        self._changed[record.slice_id] = record

    def _find(self, record: AccessSlice) -> _Open | None:
        found = self._open.get(record.key)
        return found if found is not None and found.record.slice_id == record.slice_id else None


def _draw(record: AccessSlice) -> int:
    """The slice's place among those of the same minute."""
    return crc32(f"{record.device_id}/{record.channel_id}/{record.day}".encode())
