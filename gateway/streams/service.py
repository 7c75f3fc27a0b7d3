"""Streams of a project: what is stored of them, what flows, and where it plays."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from gateway.accounts.model import Project
from gateway.accounts.quotas import Quotas
from gateway.devices.model import Channel
from gateway.errors import ConflictError, NotFoundError
from gateway.paging import Listing, Page
from gateway.scope import Scope
from gateway.store import Store, StreamFilter, StreamQuotas
from gateway.store.channels import new_stream_id
from gateway.streams.changes import NewStream, StreamChange, changed, created
from gateway.streams.errors import (
    AutomaticStreamError,
    StreamDeletingError,
    StreamNameError,
    StreamStoppedError,
)
from gateway.streams.live import LiveStream, PlayAddresses, RelayView, play_addresses
from gateway.streams.model import StreamRecord, StreamState

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


class Sources(Protocol):
    """Where video of streams comes from that are no channels' (`gateway.streams.sources`)."""

    async def follow(self, app: str, name: str) -> None:
        """Brings what runs in line with what is stored of the stream."""

    def ending(self, stream: StreamRecord) -> AbstractAsyncContextManager[None]:
        """Ends what runs of the stream, and lets nothing begin until it is left."""


class Streams:
    """Every call is for one scope; what is outside of it is not found."""

    def __init__(
        self,
        store: Store,
        relay: RelayView,
        quotas: Quotas,
        sources: Sources,
        *,
        address_life: timedelta = timedelta(hours=24),
        allow_private: bool = False,
        rtmp_port: int = 0,
    ) -> None:
        """`allow_private`: streams may be pulled from addresses of private networks. `rtmp_port`: where they play by
        RTMP; 0: nowhere."""
        self._store = store
        self._relay = relay
        self._quotas = quotas
        self._sources = sources
        self._address_life = address_life
        self._allow_private = allow_private
        self._rtmp_port = rtmp_port
        self._deleting: set[str] = set()

    # -- made by hand -----------------------------------------------------------------------------------------------

    async def create(self, project: Project, new: NewStream, at: datetime) -> StreamRecord:
        """Makes a stream, STOPPED.

        InvalidError, UrlError, CodingError; StreamNameError if any project has the name; NotFoundError for an unknown
        access key; QuotaError.
        """
        stream = created(
            new,
            stream_id=new_stream_id(),
            project_id=project.project_id,
            app=project.name,
            at=at,
            allow_private=self._allow_private,
        )
        try:
            await self._store.streams.add(stream, quotas=self._quota(project))
        except ConflictError as error:
            raise StreamNameError(f"the name {new.name} is taken") from error
        return stream

    async def update(self, project: Project, name: str, change: StreamChange, at: datetime) -> None:
        """Changes what is given, and what runs with it.

        NotFoundError, AutomaticStreamError, StreamActiveError, StreamDeletingError, InvalidError, QuotaError.
        """

        def change_it(stream: StreamRecord) -> StreamRecord:
            self._refuse_while_deleting(stream)
            return changed(stream, change, at=at, allow_private=self._allow_private)

        _, stream = await self._store.streams.update(project.project_id, name, change_it, quotas=self._quota(project))
        await self._sources.follow(stream.app, stream.name)

    async def delete(self, project_id: str, name: str) -> None:
        """Ends what runs of a stream and deletes it; its history stays.

        NotFoundError, AutomaticStreamError, StreamDeletingError.
        """
        stream = (await self.get(Scope(project_id), name)).record
        if stream.automatic:
            raise AutomaticStreamError(f"stream {name} is a channel's and goes with its device")
        self._refuse_while_deleting(stream)
        self._deleting.add(stream.stream_id)
        try:
            async with self._sources.ending(stream):
                if not await self._store.streams.delete(stream.stream_id):
                    raise NotFoundError("stream", name)
        finally:
            self._deleting.discard(stream.stream_id)

    def _refuse_while_deleting(self, stream: StreamRecord) -> None:
        if stream.stream_id in self._deleting:
            raise StreamDeletingError(f"stream {stream.name} is being deleted")

    def _quota(self, project: Project) -> StreamQuotas:
        return StreamQuotas(self._quotas.of(project, "stream"), self._quotas.of(project, "active_stream"))

    # -- all of them ------------------------------------------------------------------------------------------------

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
        self._refuse_while_deleting(stream.record)
        if stream.record.state is not StreamState.ACTIVE:
            raise StreamStoppedError(f"stream {name} is not active")
        return stream, self.addresses(stream.record, base_url, at)

    def addresses(self, record: StreamRecord, base_url: str, at: datetime) -> PlayAddresses:
        """Good for the configured time from `at`."""
        return self._addresses(record.app, record.name, base_url, at, private=record.private)

    def channel_addresses(self, app: str, channel: Channel, base_url: str, at: datetime) -> PlayAddresses:
        """Of a channel's automatic stream, which is PRIVATE."""
        return self._addresses(app, channel.stream_name, base_url, at, private=True)

    def _addresses(self, app: str, name: str, base_url: str, at: datetime, *, private: bool) -> PlayAddresses:
        expires = int((at + self._address_life).timestamp())
        return play_addresses(
            app,
            name,
            base_url,
            relay=self._relay,
            expires=expires,
            private=private,
            rtmp_port=self._rtmp_port,
        )

    async def live(self, app: str, names: Collection[str]) -> Mapping[str, LiveStream]:
        """What flows of these streams of one project now, by name."""
        return await asyncio.to_thread(_look, self._relay, app, names)


def _look(relay: RelayView, app: str, names: Collection[str]) -> Mapping[str, LiveStream]:
    if len(names) <= ASKED_SINGLY:
        found = ((name, relay.stream(app, name)) for name in names)
        return {name: live for name, live in found if live is not None}
    return {live.name: live for live in relay.streams() if live.app == app}
