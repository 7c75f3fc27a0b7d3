"""Streams of a project: what is stored of them, what flows, and where it plays."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from gateway.accounts.model import Project
from gateway.accounts.quotas import Quotas
from gateway.devices.model import Channel
from gateway.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from gateway.paging import Listing, Page
from gateway.scope import Scope
from gateway.store import Store, StreamFilter, StreamQuotas
from gateway.store.channels import new_stream_id
from gateway.streams.changes import NewStream, StreamChange, changed, created
from gateway.streams.errors import (
    AutomaticStreamError,
    InputMovedError,
    NotPublishingError,
    StreamDeletingError,
    StreamNameError,
    StreamStoppedError,
    UnreachableError,
    UnreadableInputError,
)
from gateway.streams.inputs import BackupType, Input, identities, numbered
from gateway.streams.live import Bases, LiveStream, LiveViewer, PlayAddresses, RelayView, play_addresses
from gateway.streams.model import AccessType, StreamEvent, StreamRecord, StreamState
from gateway.streams.pull_inputs import InputView, PullInputs
from gateway.streams.push import RULES, PushAddress, TokenPolicy
from gateway.streams.push_addresses import make_push_address
from gateway.streams.rules import checked_url
from gateway.streams.source import SourceState, SourceView

ASKED_SINGLY: Final = 50
"""Streams that the relay is asked about one by one; about more it is asked once for all that it has."""

MUTE_AFTER: Final = timedelta(seconds=10)
"""From the connection to the first picture; then its sender is said to send nothing."""


@dataclass(frozen=True, slots=True)
class StreamNow:
    """A stream as stored, and what flows of it."""

    record: StreamRecord
    live: LiveStream | None
    source: SourceView | None = None
    """Of a stream that is pushed or pulled, and is so now."""

    @property
    def encode_type(self) -> str:
        """What flows, or flowed last: H264, H265, or empty."""
        return (self.live.video_codec if self.live else None) or self.record.encode_type

    @property
    def flows(self) -> bool:
        """Whether video comes in now."""
        arrived = self.live is not None and self.live.first_packet_ms is not None
        return arrived and (self.source is None or self.source.state is SourceState.FLOWING)


class Sources(Protocol):
    """Where video of streams comes from that are no channels' (`gateway.streams.sources`)."""

    async def follow(self, app: str, name: str) -> None:
        """Brings what runs in line with what is stored of the stream."""

    def ending(self, stream: StreamRecord) -> AbstractAsyncContextManager[None]:
        """Ends what runs of the stream, and lets nothing begin until it is left."""

    def set_generation(self, app: str, name: str, generation: int) -> None:
        """Play addresses of other generations are void from now on."""

    def look(self, app: str, name: str) -> SourceView | None:
        """Where the source of a stream stands; None if there is none."""

    @property
    def inputs(self) -> PullInputs:
        """The inputs of streams that are pulled now."""

    def input_receiver(self, app: str, name: str) -> int | None:
        """The receiver of a stream that is pulled now."""

    async def set_inputs(self, stream: StreamRecord, change: Callable[[Sequence[Input]], Sequence[Input]]) -> None:
        """Puts what `change` makes of the inputs that back the stream up in their place."""


async def _nobody(_: StreamRecord) -> None:
    """Where no channels are."""


class Streams:
    """Every call is for one scope; what is outside of it is not found."""

    def __init__(
        self,
        store: Store,
        relay: RelayView,
        quotas: Quotas,
        sources: Sources,
        *,
        tokens: TokenPolicy | None = None,
        channel_voided: Callable[[StreamRecord], Awaitable[None]] = _nobody,
        address_life: timedelta = timedelta(hours=24),
        allow_private: bool = False,
        protocols: frozenset[str] = frozenset(),
        identity_key: bytes | None = None,
    ) -> None:
        """`tokens`: how pushes are judged; `channel_voided` is told when addresses of a channel's stream become void;
        `allow_private`: streams may be pulled from addresses of private networks; `protocols`: schemes that a program
        of its own fetches; `identity_key`: by which inputs are called (as long as this process runs, if none is given).
        """
        self._store = store
        self._relay = relay
        self._quotas = quotas
        self._sources = sources
        self._tokens = tokens or TokenPolicy(rule=RULES["hmac-sha256"])
        self._channel_voided = channel_voided
        self._address_life = address_life
        self._allow_private = allow_private
        self._protocols = protocols
        self._identity_key = identity_key or secrets.token_bytes(32)
        self.deleting: set[str] = set()
        """Ids of streams that are being deleted."""

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
            protocols=self._protocols,
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
            return changed(stream, change, at=at, allow_private=self._allow_private, protocols=self._protocols)

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
        self.deleting.add(stream.stream_id)
        try:
            async with self._sources.ending(stream):
                if not await self._store.streams.delete(stream.stream_id):
                    raise NotFoundError("stream", name)
        finally:
            self.deleting.discard(stream.stream_id)

    async def void_addresses(self, scope: Scope, name: str, at: datetime) -> int:
        """Makes the play addresses given out so far void, a channel's too, and returns the new generation.

        NotFoundError. Who watches already goes on.
        """
        stream = await self._store.streams.get(scope, name)
        generation = None if stream is None else await self._store.streams.next_generation(stream.stream_id, at)
        if stream is None or generation is None:
            raise NotFoundError("stream", name)
        if stream.automatic:
            await self._channel_voided(stream)
        self._sources.set_generation(stream.app, stream.name, generation)
        return generation

    async def push_address(
        self, scope: Scope, name: str, bases: Bases, expires_in: float, at: datetime
    ) -> tuple[PushAddress, datetime | None]:
        """Where a stream is pushed to, and until when; with a token, if it has a key.

        NotFoundError; NotPushedError unless it is of the access type RTMP; InvalidError for a life that is too long;
        UnavailableError where RTMP is off.
        """
        stream = await self._store.streams.get(scope, name)
        if stream is None:
            raise NotFoundError("stream", name)
        if bases.rtmp is None:
            raise UnavailableError("RTMP is off (rtmp.port)")
        return await make_push_address(
            self._store, stream, bases.rtmp, expires_in=expires_in, at=at, tokens=self._tokens
        )

    async def history(
        self, stream: StreamRecord, *, before: int | None = None, limit: int = 100
    ) -> Sequence[tuple[int, StreamEvent]]:
        """What became of the source of a stream that is pushed or pulled, newest first."""
        return await self._store.stream_events.history(stream.project_id, stream.name, before=before, limit=limit)

    # -- inputs -----------------------------------------------------------------------------------------------------

    async def inputs(self, scope: Scope, name: str) -> list[InputView]:
        """The inputs of a stream that is pulled, the primary first. NotFoundError; InvalidError for another stream."""
        stream = await self._pulled(scope, name)
        receiver = self._sources.input_receiver(stream.app, stream.name)
        views = [] if receiver is None else self._sources.inputs.look(receiver)
        if not views:
            stored = [_primary(stream), *await self._store.inputs.of(stream.stream_id)]
            views = [InputView(one, active=receiver is not None and one.number == 1, ready=False) for one in stored]
        called = identities((one.input for one in views), self._identity_key)
        return [replace(one, identity=identity) for one, identity in zip(views, called, strict=True)]

    async def set_inputs(self, scope: Scope, name: str, backups: Sequence[tuple[str, BackupType]]) -> None:
        """Puts these in the place of the inputs that back the stream's own URL up. NotFoundError, InvalidError,
        UrlError."""
        stream = await self._pulled(scope, name)
        inputs = numbered((self._checked(url), backup) for url, backup in backups)
        await self._sources.set_inputs(stream, lambda _: inputs)

    async def add_input(self, scope: Scope, name: str, url: str, backup: BackupType) -> None:
        """Adds one behind the others. NotFoundError, InvalidError, UrlError; UnreadableInputError."""
        stream, checked = await self._pulled(scope, name), self._checked(url)
        await self._sources.set_inputs(stream, lambda present: numbered([*_readable(present), (checked, backup)]))

    async def remove_input(self, scope: Scope, name: str, number: int, identity: str | None = None) -> None:
        """Takes one away, if it is still called so; those behind it move up. NotFoundError; InvalidError for the first,
        the stream's own URL; InputMovedError, UnreadableInputError."""
        stream = await self._pulled(scope, name)
        if number == 1:
            raise InvalidError(
                "number", "the first input is the stream's own URL, and goes with the stream", code="inputs.first"
            )

        def without(present: Sequence[Input]) -> Sequence[Input]:
            if number not in {one.number for one in present}:
                raise NotFoundError("input", str(number))
            self._check_identity(name, [_primary(stream), *present], number, identity)
            return numbered(_readable(one for one in present if one.number != number))

        await self._sources.set_inputs(stream, without)

    async def switch_input(self, scope: Scope, name: str, number: int, identity: str | None = None) -> None:
        """Lets this input feed the stream from now on, if it is still called so. NotFoundError, StreamStoppedError,
        InvalidError, InputMovedError."""
        stream = await self._pulled(scope, name)
        receiver = self._sources.input_receiver(stream.app, stream.name)
        if receiver is None:
            stored = [_primary(stream), *await self._store.inputs.of(stream.stream_id)]
            self._check_identity(name, stored, number, identity)
            raise StreamStoppedError(f"stream {name} is not active")
        # What is stored may be ahead of what runs, and it is the latter's numbers that are chosen from.
        running = [view.input for view in self._sources.inputs.look(receiver)] or [_primary(stream)]
        self._check_identity(name, running, number, identity)
        self._sources.inputs.choose(receiver, number)

    def _check_identity(self, name: str, inputs: Sequence[Input], number: int, identity: str | None) -> None:
        """InputMovedError if an input of this number is called something else."""
        for one, called in zip(inputs, identities(inputs, self._identity_key), strict=True):
            if one.number == number and identity not in {None, called}:
                raise InputMovedError(f"input {number} of stream {name} is another one by now: look again")

    def _checked(self, url: str) -> str:
        return checked_url(url, allow_private=self._allow_private, protocols=self._protocols)

    async def _pulled(self, scope: Scope, name: str) -> StreamRecord:
        record = await self._store.streams.get(scope, name)
        if record is None:
            raise NotFoundError("stream", name)
        if record.access_type is not AccessType.HTTP_FLV:
            raise InvalidError("stream_name", "only streams that are pulled have inputs")
        return record

    def _refuse_while_deleting(self, stream: StreamRecord) -> None:
        if stream.stream_id in self.deleting:
            raise StreamDeletingError(f"stream {stream.name} is being deleted")

    def _quota(self, project: Project) -> StreamQuotas:
        return StreamQuotas(self._quotas.of(project, "stream"), self._quotas.of(project, "active_stream"))

    # -- all of them ------------------------------------------------------------------------------------------------

    async def list(self, scope: Scope, wanted: StreamFilter, page: Page | None) -> Listing[StreamNow]:
        listing = await self._store.streams.list(scope, wanted, page)
        records = listing.entries
        live = await self.live(records[0].app, [record.name for record in records]) if records else {}
        return Listing(listing.total, [self._now(record, live) for record in records])

    async def get(self, scope: Scope, name: str) -> StreamNow:
        """NotFoundError."""
        record = await self._store.streams.get(scope, name)
        if record is None:
            raise NotFoundError("stream", name)
        live = await self.live(record.app, [record.name])
        return self._now(record, live)

    async def endpoint(self, scope: Scope, name: str, bases: Bases, at: datetime) -> tuple[StreamNow, PlayAddresses]:
        """The stream and where it plays.

        NotFoundError; StreamStoppedError if it is not active; for one that is pulled, UnreachableError while its
        address cannot be connected to, NotPublishingError while nothing comes from there.
        """
        stream = await self.get(scope, name)
        self._refuse_while_deleting(stream.record)
        if stream.record.state is not StreamState.ACTIVE:
            raise StreamStoppedError(f"stream {name} is not active")
        if stream.source is not None and stream.record.access_type is AccessType.HTTP_FLV:
            _check_pulled(name, stream.source, at)
        return stream, self.addresses(stream.record, bases, at)

    def addresses(self, stream: StreamRecord, bases: Bases, at: datetime) -> PlayAddresses:
        """Good for the configured time from `at`."""
        query = self._sign(stream.app, stream.name, stream.generation, at) if stream.private else ""
        return play_addresses(stream.app, stream.name, bases, query=query)

    def channel_addresses(self, channel: Channel, bases: Bases, at: datetime) -> PlayAddresses:
        """Of a channel's automatic stream."""
        app, name = channel.app, channel.stream_name
        query = self._sign(app, name, channel.generation, at) if channel.private else ""
        return play_addresses(app, name, bases, query=query)

    async def viewers(self, scope: Scope, name: str) -> Sequence[LiveViewer]:
        """Who watches now, oldest first; NotFoundError for an unknown stream."""
        record = (await self.get(scope, name)).record
        return await asyncio.to_thread(self._relay.viewers, record.app, record.name)

    async def kick(self, scope: Scope, name: str, viewer: int) -> None:
        """Sends one away; NotFoundError if it does not watch this stream."""
        watching = await self.viewers(scope, name)
        if all(one.id != viewer for one in watching) or not await asyncio.to_thread(self._relay.kick, viewer):
            raise NotFoundError("viewer", str(viewer))

    def _sign(self, app: str, name: str, generation: int, at: datetime) -> str:
        return self._relay.sign(app, name, int((at + self._address_life).timestamp()), generation)

    def _now(self, record: StreamRecord, live: Mapping[str, LiveStream]) -> StreamNow:
        return StreamNow(record, live.get(record.name), self._sources.look(record.app, record.name))

    async def live(self, app: str, names: Collection[str]) -> Mapping[str, LiveStream]:
        """What flows of these streams of one project now, by name."""
        return await asyncio.to_thread(_look, self._relay, app, names)


def _look(relay: RelayView, app: str, names: Collection[str]) -> Mapping[str, LiveStream]:
    if len(names) <= ASKED_SINGLY:
        found = ((name, relay.stream(app, name)) for name in names)
        return {name: live for name, live in found if live is not None}
    return {live.name: live for live in relay.streams() if live.app == app}


def _primary(stream: StreamRecord) -> Input:
    """The stream's own URL."""
    return Input(1, stream.url or "", BackupType.PASSIVE)


def _readable(inputs: Iterable[Input]) -> list[tuple[str, BackupType]]:
    """What is written anew of inputs that stay. One that cannot be decrypted reads as empty, and would be stored so."""
    kept = list(inputs)
    for one in kept:
        if not one.url:
            raise UnreadableInputError(f"the URL of input {one.number} cannot be decrypted; set all inputs anew")
    return [(one.url, one.backup) for one in kept]


def _check_pulled(name: str, source: SourceView, at: datetime) -> None:
    """Unless it flows, or was asked for just now."""
    if source.state is SourceState.BROKEN:
        raise UnreachableError(f"stream {name} cannot be pulled: {source.reason or 'no connection'}")
    mute = source.state is SourceState.CONNECTED and at - source.since > MUTE_AFTER
    if mute or source.state is SourceState.SILENT:
        raise NotPublishingError(f"stream {name}: its address answers, but nothing comes from there")
