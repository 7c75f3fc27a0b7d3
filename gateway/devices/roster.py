"""The devices of one project in columns, to answer which of them a list holds, in which order, and how many. Pure.

A database finds the 90,000th entry of a filtered, sorted list by walking to it, and counts by walking over all; here
both are operations over columns that take a millisecond or two for 100,000 devices.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gateway.devices.model import DeviceFacts, DeviceFilter, DeviceId, DeviceState, DeviceType
from gateway.errors import InvalidError
from gateway.paging import Listing, Page

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
NEVER: Final = np.iinfo(np.int64).min
STATES: Final = {state.value: number for number, state in enumerate(DeviceState)}
TYPES: Final = {type_.value: number for number, type_ in enumerate(DeviceType)}
ORDERS: Final = ("created_at", "device_id", "username", "updated_at")

Column = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]


class Span(NamedTuple):
    """From `since` until just before `before`; None is open. What never happened lies in no span."""

    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which devices a list holds; all conditions together."""

    device: DeviceFilter = field(default_factory=DeviceFilter)
    state: DeviceState | None = None
    """Beside the one that is asked for."""
    first_online: Span | None = None
    last_offline: Span | None = None
    without_media: bool = False
    among: frozenset[str] | None = None
    """Ids; None is everything."""


class Roster:
    """Rows are in order of the devices' ids; `members` changes when devices come or go, and with it row numbers."""

    def __init__(self, facts: Sequence[DeviceFacts] = ()) -> None:
        self.members = 0
        self._columns = _columns(facts)
        self._orders: dict[str, Rows] = {}
        self._ranks: dict[str, Rows] = {}
        self._sort()

    def __len__(self) -> int:
        return len(self._columns["device_id"])

    def update(self, facts: Sequence[DeviceFacts]) -> None:
        """Takes what is known now of some devices, known ones and new ones."""
        if not facts:
            return
        latest = list({one.device_id: one for one in facts}.values())
        new, rows = _columns(latest), self.find(np.array([one.device_id for one in latest], "S"))
        known = rows >= 0
        for name, column in self._columns.items():
            if name in ORDERS and (column[rows[known]] != new[name][known]).any():
                self._forget_order(name)
            column[rows[known]] = new[name][known]
        if not known.all():
            self._columns = {
                name: np.concatenate([column, new[name][~known]]) for name, column in self._columns.items()
            }
            self._sort()

    def remove(self, device_ids: Collection[str]) -> None:
        """Forgets devices; unknown ones are ignored."""
        if not device_ids or not len(self):
            return
        rows = self.find(np.array(list(device_ids), "S"))
        rows = rows[rows >= 0]
        if len(rows):
            self._columns = {name: np.delete(column, rows) for name, column in self._columns.items()}
            self._members_changed()

    def select(self, wanted: Wanted, page: Page | None) -> Listing[DeviceId]:
        """The ids on a page, or all by age, and how many there are; InvalidError if it may not be sorted so."""
        rows = self.order("created_at" if page is None else page.order_by)
        rows = rows[self.mask(wanted)[rows]]
        listed = self._columns["device_id"][cut(rows, page)]
        return Listing(len(rows), [DeviceId(one.decode()) for one in listed.tolist()])

    def mask(self, wanted: Wanted) -> Mask:
        """For each row whether it is wanted."""
        found: Mask = np.ones(len(self), np.bool_)
        device = wanted.device
        if device.device_id is not None:
            found &= _contains(self._columns["folded"], device.device_id.lower())
        if device.type is not None:
            found &= self._columns["type"] == TYPES[device.type.value]
        for state in (device.state, wanted.state):
            if state is not None:
                found &= self._columns["state"] == STATES[state.value]
        for name, span in (("first_online_at", wanted.first_online), ("last_offline_at", wanted.last_offline)):
            if span is not None:
                found &= _within(self._columns[name], span)
        if wanted.without_media:
            found &= self._columns["first_media_at"] == NEVER
        if wanted.among is not None:
            rows = self.find(np.array(sorted(wanted.among), "S32"))
            allowed = np.zeros(len(self), np.bool_)
            allowed[rows[rows >= 0]] = True
            found &= allowed
        return found

    def order(self, order_by: str) -> Rows:
        """The rows sorted by that, then by device; InvalidError."""
        if order_by not in ORDERS:
            raise InvalidError("order_by", f"one of {', '.join(ORDERS)}")
        rows = self._orders.get(order_by)
        if rows is None:
            if order_by == "device_id":
                rows = np.arange(len(self))
            else:
                rows = np.argsort(self._columns[order_by], kind="stable")
            self._orders[order_by] = rows
        return rows

    def ranks(self, order_by: str) -> Rows:
        """The place of each row in that order."""
        ranks = self._ranks.get(order_by)
        if ranks is None:
            order = self.order(order_by)
            ranks = self._ranks[order_by] = np.empty(len(order), np.intp)
            ranks[order] = np.arange(len(order))
        return ranks

    def find(self, device_ids: Column) -> Rows:
        """The row of each id (bytes); -1 for unknown ones."""
        ids = self._columns["device_id"]
        if not len(ids):
            return np.full(len(device_ids), -1)
        rows = np.minimum(np.searchsorted(ids, device_ids), len(ids) - 1)
        return np.where(ids[rows] == device_ids, rows, -1)

    def _sort(self) -> None:
        order = np.argsort(self._columns["device_id"], kind="stable")
        self._columns = {name: column[order] for name, column in self._columns.items()}
        self._members_changed()

    def _members_changed(self) -> None:
        self.members += 1
        self._orders.clear()
        self._ranks.clear()

    def _forget_order(self, order_by: str) -> None:
        self._orders.pop(order_by, None)
        self._ranks.pop(order_by, None)


def cut(rows: Rows, page: Page | None) -> Rows:
    """The part of sorted rows that a page shows."""
    if page is None:
        return rows
    rows = rows[::-1] if page.descending else rows
    return rows[page.offset : page.offset + page.limit]


def _columns(facts: Sequence[DeviceFacts]) -> dict[str, Column]:
    ids = [one.device_id for one in facts]
    return {
        "device_id": np.array(ids, "S32"),
        "folded": np.array([one.lower() for one in ids], "S32"),
        "username": np.array([one.username.encode() for one in facts], "S64"),
        "type": np.array([TYPES[one.type] for one in facts], np.uint8),
        "state": np.array([STATES[one.state] for one in facts], np.uint8),
        **{
            name: np.array([_ticks(getattr(one, name)) for one in facts], np.int64)
            for name in ("created_at", "updated_at", "first_online_at", "last_offline_at", "first_media_at")
        },
    }


def _ticks(at: datetime | None) -> int:
    """Microseconds of the UNIX epoch."""
    return int(NEVER) if at is None else (at - EPOCH) // MICROSECOND


def _within(column: Column, span: Span) -> Mask:
    found: Mask = column != NEVER
    if span.since is not None:
        found &= column >= _ticks(span.since)
    if span.before is not None:
        found &= column < _ticks(span.before)
    return found


def _contains(column: Column, part: str) -> Mask:
    if not part.isascii() or not part.isprintable():
        return np.zeros(len(column), np.bool_)
    found: Mask = np.char.find(column, part.encode()) >= 0
    return found
