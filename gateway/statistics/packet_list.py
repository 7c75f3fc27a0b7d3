"""The packet sums of one day as a list: filtered and sorted by device, then by channel. Pure."""

from collections.abc import Mapping
from itertools import islice
from typing import Final

import numpy as np

from gateway.devices.model import ChannelId, DeviceId
from gateway.devices.roster import Roster, Rows, Wanted, cut
from gateway.paging import Listing, Page
from gateway.statistics.model import Sums

ID: Final = "S32"


class PacketList:
    """Follows the sums of one day, to which channels are only ever added."""

    def __init__(self, sums: Mapping[tuple[str, str], Sums]) -> None:
        self.sums = sums
        self._keys: list[tuple[str, str]] = []
        self._devices = np.empty(0, ID)
        self._channels = np.empty(0, ID)
        self._places: Rows = np.empty(0, np.intp)
        """Of each channel among all of them."""
        self._rows: Rows = np.empty(0, np.intp)
        self._roster: Roster | None = None
        self._state = (0, 0)

    def select(self, roster: Roster, wanted: Wanted, page: Page | None) -> Listing[tuple[DeviceId, ChannelId, Sums]]:
        """The channels on a page, or all by age of their device; InvalidError if it may not be sorted so."""
        self._follow()
        ranks = roster.ranks("created_at" if page is None else page.order_by)
        rows = self._rows_of(roster)
        shown = np.flatnonzero(rows >= 0)
        shown = shown[roster.mask(wanted)[rows[shown]]]
        order = ranks[rows[shown]] * len(self._keys) + self._places[shown]
        listed = cut(shown[np.argsort(order)], page)
        entries = [self._entry(number) for number in listed.tolist()]
        return Listing(len(shown), entries)

    def _rows_of(self, roster: Roster) -> Rows:
        """The roster's row of each channel's device; looked up anew only when channels or devices came or went."""
        state = (roster.members, len(self._keys))
        if self._roster is not roster or self._state != state:
            self._roster, self._state = roster, state
            self._rows = roster.find(self._devices)
        return self._rows

    def _entry(self, number: int) -> tuple[DeviceId, ChannelId, Sums]:
        key = self._keys[number]
        return DeviceId(key[0]), ChannelId(key[1]), self.sums[key]

    def _follow(self) -> None:
        new = list(islice(self.sums, len(self._keys), None))
        if not new:
            return
        self._keys += new
        self._devices = np.concatenate([self._devices, np.array([device for device, _ in new], ID)])
        self._channels = np.concatenate([self._channels, np.array([channel for _, channel in new], ID)])
        self._places = np.empty(len(self._keys), np.intp)
        self._places[np.argsort(self._channels, kind="stable")] = np.arange(len(self._keys))
