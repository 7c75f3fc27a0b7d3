"""Where video of streams comes from that are no channels'."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from gateway.store import Store
from gateway.streams.model import StreamRecord
from gateway.streams.turns import Turns


class SourceRelay(Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def set_private(self, app: str, name: str, private: bool) -> None: ...


class StreamSources:
    """Brings what runs in line with what is stored, one stream after the other."""

    def __init__(self, store: Store, relay: SourceRelay) -> None:
        self._store = store
        self._relay = relay
        self._turns = Turns[tuple[str, str]]()

    async def follow(self, app: str, name: str) -> None:
        """Brings what runs in line with what is stored of the stream."""
        async with self._turns.of((app, name)):
            stream = await self._store.streams.find(app, name)
            if stream is not None:
                self._relay.set_private(app, name, stream.private)

    @asynccontextmanager
    async def ending(self, stream: StreamRecord) -> AsyncIterator[None]:
        """Ends what runs of the stream, and lets nothing begin until it is left."""
        async with self._turns.of((stream.app, stream.name)):
            yield
