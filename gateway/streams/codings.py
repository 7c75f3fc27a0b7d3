"""Remembers how each stream was coded, for when it does not flow: the API tells it and chooses addresses by it."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from gateway.errors import UnavailableError
from gateway.media_event import MediaEvent
from gateway.store import Store

WRITE_BEHIND_SECONDS: Final = 1.0
WAITING_MAX: Final = 100_000
"""Streams whose coding is not written yet; beyond it, what is new is left for the next time it flows."""

log = structlog.get_logger(__name__)


class Codings:
    """`handle_media` takes the relay's events and never waits; `run` writes what is new, many streams at a time."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._seen: dict[tuple[str, str], str] = {}
        self._ready = asyncio.Event()

    def handle_media(self, event: MediaEvent) -> None:
        """Only `tracks` with video counts."""
        coding = event.detail.get("video") if event.kind == "tracks" else None
        if coding and len(self._seen) < WAITING_MAX:
            self._seen[event.app, event.name] = coding
            self._ready.set()

    async def run(self) -> None:
        """Until it is cancelled. While the database is away, it tries again."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            seen, self._seen = self._seen, {}
            try:
                await self._store.streams.set_encode_types(
                    [(app, name, coding) for (app, name), coding in seen.items()], self._clock()
                )
            except UnavailableError as error:
                log.warning("codings of streams are written later", streams=len(seen), error=str(error))
                self._seen = seen | self._seen
                self._ready.set()
            await asyncio.sleep(WRITE_BEHIND_SECONDS)
