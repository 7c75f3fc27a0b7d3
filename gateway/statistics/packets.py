"""Packet sums by channel and day, from counters that are read now and then. Pure.

Each receiver of the relay counts from zero, so what is added is the difference to the last reading, and nothing is
counted twice. Readings carry two clocks: the monotonic one says how long ago the last reading was, the calendar says
which day it is; so a calendar that jumps moves no packet into a day that was not.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from gateway.statistics.days import beginning, day_of
from gateway.statistics.model import ChannelDay, Sums

ZERO: Final = Sums(0, 0)


@dataclass(slots=True)
class _Receiver:
    """Whose packets it counts, and what it showed when."""

    device_id: str
    channel_id: str
    read_at: float
    shown: Sums = ZERO


class PacketBook:
    """`handle` takes readings, `take_unwritten` gives what is to be written.

    What was written before a restart must be known before a day's sums are: `unread_days` names the days to `take_up`.
    `now` is monotonic seconds, `at` the calendar's time of the same moment.
    """

    def __init__(self) -> None:
        self._receivers: dict[int, _Receiver] = {}
        self._days: dict[date, dict[tuple[str, str], Sums]] = {}
        self._taken_up: set[date] = set()
        self._unwritten: set[ChannelDay] = set()

    def open(self, now: float, receiver: int, device_id: str, channel_id: str) -> None:
        """A receiver was opened for this channel."""
        self._receivers[receiver] = _Receiver(device_id, channel_id, now)

    def handle(self, now: float, at: datetime, receiver: int, shown: Sums) -> None:
        """Takes a reading; receivers that were not opened for a channel are ignored."""
        source = self._receivers.get(receiver)
        if source is None:
            return
        new = shown if shown.expected < source.shown.expected else _less(shown, source.shown)
        began = at - timedelta(seconds=max(now - source.read_at, 0.0))
        source.read_at, source.shown = now, shown
        for day, part in split(began, at, new):
            self._add(ChannelDay(day, source.device_id, source.channel_id), part)

    def close(self, now: float, at: datetime, receiver: int, shown: Sums | None) -> None:
        """A receiver's last reading, if there is one."""
        if shown is not None:
            self.handle(now, at, receiver, shown)
        self._receivers.pop(receiver, None)

    @property
    def receivers(self) -> Collection[int]:
        """Those that are open."""
        return self._receivers.keys()

    def day(self, day: date) -> Mapping[tuple[str, str], Sums]:
        """The sums of a day by device and channel; channels are only ever added."""
        return self._days.setdefault(day, {})

    def has(self, day: date) -> bool:
        """Whether a day's earlier sums were taken up."""
        return day in self._taken_up

    def unread_days(self) -> set[date]:
        """Days whose earlier sums must be taken up before they can be written."""
        return self._days.keys() - self._taken_up

    def take_up(self, day: date, written: Iterable[tuple[ChannelDay, Sums]]) -> None:
        """What was counted of a day before; what was counted since is added."""
        if day in self._taken_up:
            return
        self._taken_up.add(day)
        sums = self._days.setdefault(day, {})
        for (_, device_id, channel_id), before in written:
            since = sums.get((device_id, channel_id), ZERO)
            sums[device_id, channel_id] = _sum(before, since)

    def take_unwritten(self) -> dict[ChannelDay, Sums]:
        """The sums that changed since they were taken last, whole, of days that were taken up."""
        ready = {key for key in self._unwritten if key.day in self._taken_up}
        self._unwritten -= ready
        return {key: self._days[key.day][key.device_id, key.channel_id] for key in ready}

    def put_back(self, keys: Iterable[ChannelDay]) -> None:
        """They could not be written."""
        self._unwritten.update(key for key in keys if key.day in self._days)

    def forget(self, before: date) -> None:
        """Drops earlier days that are written."""
        unwritten = {key.day for key in self._unwritten}
        for day in [day for day in self._days if day < before and day not in unwritten]:
            del self._days[day]
            self._taken_up.discard(day)

    def _add(self, key: ChannelDay, part: Sums) -> None:
        if part == ZERO:
            return
        sums = self._days.setdefault(key.day, {})
        place = key.device_id, key.channel_id
        sums[place] = _sum(sums.get(place, ZERO), part)
        self._unwritten.add(key)


def split(began: datetime, at: datetime, sums: Sums) -> list[tuple[date, Sums]]:
    """Shares out what came between two moments over their days, evenly in time; the parts add up to the whole.

    Readings are taken at midnight too, so that the share of a wrong day is that of some milliseconds.
    """
    last = day_of(at)
    midnight = beginning(last)
    if began >= midnight:
        return [(last, sums)]
    share = (midnight - began) / (at - began)
    before = Sums(int(sums.expected * share), int(sums.received * share))
    return [*split(began, midnight - timedelta(microseconds=1), before), (last, _less(sums, before))]


def _sum(one: Sums, other: Sums) -> Sums:
    return Sums(one.expected + other.expected, one.received + other.received)


def _less(one: Sums, other: Sums) -> Sums:
    """Never negative: a packet that was given up may come after all, and be told later than it was expected."""
    return Sums(max(one.expected - other.expected, 0), max(one.received - other.received, 0))
