"""Access strategies of a project's channels: the rules over the store. When they run is the runner's."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Final

from gateway.access.rules import Settled, StrategyChange, settle
from gateway.access.slices import AccessSlice
from gateway.accounts.model import Project
from gateway.accounts.quotas import Quotas
from gateway.devices.model import Channel
from gateway.paging import Listing
from gateway.scope import Scope
from gateway.store import SliceFilter, Store

SEED_BYTES: Final = 16
MINUTES: Final = ("random_access_time", "consecutive_access_time")

Applied = Callable[[Channel, Settled, Sequence[AccessSlice]], Awaitable[None]]


class AccessStrategies:
    """Every call is for one project; what belongs to another is not found (the caller found the channel).

    `applied` is awaited after each change with today's new slices; `look` gives a slice as it stands now, ahead of what
    is written.
    """

    def __init__(
        self,
        store: Store,
        quotas: Quotas,
        *,
        applied: Applied,
        look: Callable[[AccessSlice], AccessSlice] = lambda record: record,
    ) -> None:
        self._store = store
        self._quotas = quotas
        self._applied = applied
        self._look = look

    async def change(self, project: Project, channel: Channel, change: StrategyChange, at: datetime) -> None:
        """Sets or changes the channel's strategy, and today's plan with it.

        InvalidError, QuotaError if more minutes are wanted than the project may have, NotFoundError.
        """
        settled, today = await self._store.strategies.settle(
            channel.device_id,
            channel.channel_id,
            lambda before: settle(before, change, at, secrets.token_hex(SEED_BYTES)),
            at=at,
            quotas={name: self._quotas.of(project, name) for name in MINUTES},
        )
        await self._applied(replace(channel, strategy=settled.strategy), settled, today)

    async def day(self, channel: Channel, day: date, *, offset: int = 0, limit: int = 1000) -> Listing[AccessSlice]:
        """The channel's slices of that day."""
        wanted = SliceFilter(day=day, device_id=channel.device_id, channel_id=channel.channel_id)
        return await self.slices(Scope(channel.project_id), wanted, offset=offset, limit=limit)

    async def slices(self, scope: Scope, wanted: SliceFilter, *, offset: int, limit: int) -> Listing[AccessSlice]:
        """Slices of the scope in the order in which they begin, as they stand now."""
        listing = await self._store.slices.list(scope, wanted, offset=offset, limit=limit)
        return Listing(listing.total, [self._look(found) for found in listing.entries])
