"""A stream's recordings as files that players fetch by themselves, by signed addresses that need no token."""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar
from urllib.parse import parse_qs, quote

from gateway.accounts.errors import ForbiddenError
from gateway.errors import InvalidError, NotFoundError
from gateway.playback.library import Library
from gateway.playback.playlists import Listed, playlist, span
from gateway.playback.sources import Source
from gateway.retention.model import Slice, SliceState
from gateway.scope import Scope
from gateway.store import Store
from gateway.streams.model import StreamRecord
from media._core import CoreError, FileFacts, file_facts, init_segment, segment

INTERVAL_MAX: Final = timedelta(days=7)
LIST_MAX: Final = 20_000
PLAYLIST_SLICES_MAX: Final = 300
"""Each is opened for its index: a day of slices of five minutes."""
FACTS_KEPT: Final = 1000
SEGMENT_MS_MAX: Final = 120_000
_PLAYABLE: Final = frozenset({SliceState.PENDING, SliceState.UPLOADED})


class Signer(Protocol):
    """Who signs addresses (`media.relay.Relay`)."""

    def sign(self, app: str, name: str, expires: int, generation: int = 0) -> str: ...


@dataclass(frozen=True, slots=True)
class Listing:
    """Slices of an interval, and the query that lets their bearer fetch them."""

    slices: Sequence[Slice]
    query: str


class Recordings:
    """Lists by a caller's scope; fetching goes by the signature alone, which dies with the stream's play addresses."""

    def __init__(
        self,
        store: Store,
        signer: Signer,
        library: Library,
        clock: Callable[[], datetime],
        *,
        address_life: timedelta = timedelta(hours=24),
    ) -> None:
        self.library = library
        self._store = store
        self._signer = signer
        self._clock = clock
        self._address_life = address_life
        self._facts: OrderedDict[str, FileFacts] = OrderedDict()
        self._readers = asyncio.Semaphore(4)

    async def list(self, scope: Scope, name: str, begin: datetime, end: datetime) -> Listing:
        """Slices that can be played, oldest first. NotFoundError; InvalidError for an interval that cannot be."""
        stream = await self._store.streams.get(scope, name)
        if stream is None:
            raise NotFoundError("stream", name)
        found = await self.slices(stream, begin, end)
        expires = int((self._clock() + self._address_life).timestamp())
        return Listing(found, f"project={quote(stream.app, safe='')}&{self._sign(stream, expires)}")

    async def slices(self, stream: StreamRecord, begin: datetime, end: datetime) -> Sequence[Slice]:
        """Those of a stream that can be played."""
        if not begin < end <= begin + INTERVAL_MAX:
            raise InvalidError("end", f"after begin, by at most {INTERVAL_MAX.days} days")
        found = await self._store.retention.slices(stream.stream_id, begin, end, limit=LIST_MAX)
        return [one for one in found if one.state in _PLAYABLE]

    async def admit(self, name: str, query: str) -> StreamRecord:
        """The stream whose recordings the bearer of a query may fetch; ForbiddenError if it is not signed for them."""
        try:
            given = {key: values[0] for key, values in parse_qs(query, max_num_fields=20).items()}
        except ValueError as error:
            raise ForbiddenError("the address has too many parts") from error
        stream = await self._store.streams.find(given.get("project", ""), name)
        expires = given.get("expires", "")
        if stream is None or not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            raise ForbiddenError("the address is not signed")
        wanted = parse_qs(self._sign(stream, int(expires))).get("sign", [""])[0]
        if not hmac.compare_digest(wanted.encode(), given.get("sign", "").encode()):
            raise ForbiddenError("the signature is wrong, or was made void")
        if int(expires) <= self._clock().timestamp():
            raise ForbiddenError("the address has expired")
        return stream

    @asynccontextmanager
    async def source(self, stream: StreamRecord, slice_id: str) -> AsyncIterator[tuple[Slice, Source]]:
        """One slice of the stream, to be read by ranges while entered."""
        found = await self._slice(stream, slice_id)
        async with self.library.source(found) as source:
            yield found, source

    async def playlist(self, stream: StreamRecord, begin: datetime, end: datetime, query: str) -> str:
        """HLS of an interval; InvalidError if it has too many slices."""
        found = await self.slices(stream, begin, end)
        if len(found) > PLAYLIST_SLICES_MAX:
            raise InvalidError("end", f"an interval of at most {PLAYLIST_SLICES_MAX} recordings for one playlist")
        listed = [one for one in [await self._listed(one) for one in found] if one is not None]
        return playlist(listed, _ms(begin), _ms(end), query)

    async def initialisation(self, stream: StreamRecord, slice_id: str) -> bytes:
        """What goes before the segments of a slice; of a bucket only its head is read."""
        found = await self._slice(stream, slice_id)
        async with self.library.extract(found, 0, 0) as path, self._readers:
            return await _read(lambda: init_segment(str(path)))

    async def segment(self, stream: StreamRecord, slice_id: str, from_ms: int, to_ms: int) -> bytes:
        """A part of a slice as fragmented MP4; of a bucket only its part is read. InvalidError if it is too long."""
        if not 0 <= from_ms < to_ms <= from_ms + SEGMENT_MS_MAX:
            raise InvalidError("segment", f"at most {SEGMENT_MS_MAX} ms")
        found = await self._slice(stream, slice_id)
        first, behind = span((await self._look(found)).entries, from_ms, to_ms)
        async with (
            self.library.extract(found, first, found.size_bytes if behind is None else behind) as path,
            self._readers,
        ):
            return await _read(lambda: segment(str(path), from_ms, to_ms, "fmp4"))

    async def _slice(self, stream: StreamRecord, slice_id: str) -> Slice:
        found = await self._store.retention.slice(stream.stream_id, slice_id)
        if found is None:
            raise NotFoundError("recording", slice_id)
        return found

    async def _look(self, found: Slice) -> FileFacts:
        """What the head of a file says; of a bucket only the head is read."""
        facts = self._facts.get(found.slice_id)
        if facts is None:
            async with self.library.extract(found, 0, 0) as path, self._readers:
                facts = await _read(lambda: file_facts(str(path)))
            self._facts[found.slice_id] = facts
            if len(self._facts) > FACTS_KEPT:
                self._facts.popitem(last=False)
        return facts

    async def _listed(self, found: Slice) -> Listed | None:
        """None for a file that cannot be read: the others play."""
        try:
            facts = await self._look(found)
        except NotFoundError:
            return None
        return Listed(
            slice_id=found.slice_id,
            form=facts.form,
            start_ms=_ms(found.start_at),
            duration_ms=facts.duration_ms,
            head_bytes=facts.head,
            size_bytes=found.size_bytes,
            entries=facts.entries,
        )

    def _sign(self, stream: StreamRecord, expires: int) -> str:
        # No stream's name has a slash: the signature is good for recordings and nothing else.
        return self._signer.sign(stream.app, f"{stream.name}/recordings", expires, stream.generation)


T = TypeVar("T")


async def _read(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except CoreError as error:
        raise NotFoundError("recording", str(error)) from error


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
