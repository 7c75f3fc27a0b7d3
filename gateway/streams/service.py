"""Streams of a project: what is stored of them, what flows, and where it plays."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.devices.model import Channel
from gateway.errors import NotFoundError
from gateway.paging import Listing, Page
from gateway.scope import Scope
from gateway.store import Store, StreamFilter
from gateway.streams.errors import StreamStoppedError
from gateway.streams.live import LiveStream, PlayAddresses, RelayView, play_addresses
from gateway.streams.model import ShareType, StreamRecord, StreamState

ASKED_SINGLY: Final = 50
"""Streams that the relay is asked about one by one; about more it is asked once for all that it has."""


@dataclass(frozen=True, slots=True)
class StreamNow:
    """A stream as stored, and what flows of it."""

    record: StreamRecord
    live: LiveStream | None

    @property
    def encode_type(self) -> str:
        """What flows, or flowed last: H264, H265, or empty."""
        return (self.live.video_codec if self.live else None) or self.record.encode_type


class Streams:
    """Every call is for one scope; what is outside of it is not found."""

    def __init__(self, store: Store, relay: RelayView, *, address_life: timedelta = timedelta(hours=24)) -> None:
        self._store = store
        self._relay = relay
        self._address_life = address_life

    async def list(self, scope: Scope, wanted: StreamFilter, page: Page | None) -> Listing[StreamNow]:
        listing = await self._store.streams.list(scope, wanted, page)
        records = listing.entries
        live = await self.live(records[0].app, [record.name for record in records]) if records else {}
        return Listing(listing.total, [StreamNow(record, live.get(record.name)) for record in records])

    async def get(self, scope: Scope, name: str) -> StreamNow:
        """NotFoundError."""
        record = await self._store.streams.get(scope, name)
        if record is None:
            raise NotFoundError("stream", name)
        live = await self.live(record.app, [record.name])
        return StreamNow(record, live.get(record.name))

    async def endpoint(self, scope: Scope, name: str, base_url: str, at: datetime) -> tuple[StreamNow, PlayAddresses]:
        """The stream and where it plays; NotFoundError, StreamStoppedError if it is not active."""
        stream = await self.get(scope, name)
        if stream.record.state is not StreamState.ACTIVE:
            raise StreamStoppedError(f"stream {name} is not active")
        return stream, self.addresses(stream.record, base_url, at)

    def addresses(self, record: StreamRecord, base_url: str, at: datetime) -> PlayAddresses:
        """Good for the configured time from `at`."""
        private = record.share_type is ShareType.PRIVATE
        return self._addresses(record.app, record.name, base_url, at, private=private)

    def channel_addresses(self, app: str, channel: Channel, base_url: str, at: datetime) -> PlayAddresses:
        """Of a channel's automatic stream, which is PRIVATE."""
        return self._addresses(app, channel.stream_name, base_url, at, private=True)

    def _addresses(self, app: str, name: str, base_url: str, at: datetime, *, private: bool) -> PlayAddresses:
        expires = int((at + self._address_life).timestamp())
        return play_addresses(app, name, base_url, relay=self._relay, expires=expires, private=private)

    async def live(self, app: str, names: Collection[str]) -> Mapping[str, LiveStream]:
        """What flows of these streams of one project now, by name."""
        return await asyncio.to_thread(_look, self._relay, app, names)


def _look(relay: RelayView, app: str, names: Collection[str]) -> Mapping[str, LiveStream]:
    if len(names) <= ASKED_SINGLY:
        found = ((name, relay.stream(app, name)) for name in names)
        return {name: live for name, live in found if live is not None}
    return {live.name: live for live in relay.streams() if live.app == app}
