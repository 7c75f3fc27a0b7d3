"""The lists of operation statistics (VIS API §4.5): each says what it holds; rosters and packet sums hold it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from gateway.devices.model import Channel, Device, DeviceFilter, DeviceId, DeviceState
from gateway.devices.roster import Span, Wanted
from gateway.devices.rosters import Rosters
from gateway.paging import Listing, Page
from gateway.scope import Scope
from gateway.statistics.days import beginning, day_of, ending
from gateway.statistics.model import DeviceList, PacketRate
from gateway.statistics.packet_counter import PacketCounter
from gateway.store import Store

LONG: Final = timedelta(days=3)
"""Offline for more than this is long."""


class Statistics:
    """Every call is for what a caller may see."""

    def __init__(self, store: Store, rosters: Rosters, packets: PacketCounter) -> None:
        self._store = store
        self._rosters = rosters
        self._packets = packets

    async def devices(
        self, which: DeviceList, scope: Scope, asked: DeviceFilter, page: Page | None, at: datetime
    ) -> tuple[Listing[Device], Mapping[DeviceId, Sequence[Channel]]]:
        """The devices of a list, and the channels of each. InvalidError if it may not be sorted so."""
        among = await self._store.devices.ids_in(scope)
        roster = await self._rosters.of(scope.project_id)
        listing = roster.select(replace(wanted(which, asked, at), among=among), page)
        devices, channels = await asyncio.gather(
            self._store.devices.of_ids(listing.entries), self._store.channels.of_devices(listing.entries)
        )
        return Listing(listing.total, devices), channels

    async def packet_rates(self, scope: Scope, asked: DeviceFilter, page: Page | None) -> Listing[PacketRate]:
        """How much of the video that was called for today came, by channel. InvalidError if it may not be sorted so."""
        among = await self._store.devices.ids_in(scope)
        sums = await self._packets.today()
        roster = await self._rosters.of(scope.project_id)
        listing = sums.select(roster, Wanted(device=asked, among=among), page)
        found = await self._store.devices.of_ids(list(dict.fromkeys(entry[0] for entry in listing.entries)))
        devices = {device.device_id: device for device in found}
        entries = [
            PacketRate(device=devices[device_id], channel_id=channel_id, sums=counted)
            for device_id, channel_id, counted in listing.entries
            if device_id in devices  # not deleted meanwhile
        ]
        return Listing(listing.total, entries)


def wanted(which: DeviceList, asked: DeviceFilter, at: datetime) -> Wanted:
    """What a list holds at a time, narrowed to what is asked for."""
    today = Span(beginning(day_of(at)), ending(day_of(at)))
    match which:
        case DeviceList.PAST_ONLINE:
            return Wanted(device=asked, first_online=Span())
        case DeviceList.TODAY_NEW:
            return Wanted(device=asked, first_online=today)
        case DeviceList.TODAY_DROPPED:
            return Wanted(device=asked, last_offline=today)
        case DeviceList.LONG_OFFLINE:
            return Wanted(device=asked, state=DeviceState.OFFLINE, last_offline=Span(before=at - LONG))
        case DeviceList.SHORT_OFFLINE:
            return Wanted(device=asked, state=DeviceState.OFFLINE, last_offline=Span(since=at - LONG))
        case DeviceList.NEVER_SENT:
            return Wanted(device=asked, first_online=Span(), without_media=True)
