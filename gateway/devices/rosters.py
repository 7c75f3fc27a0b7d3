"""Keeps a roster of each project's devices as the database has them.

The database tells which rows were written; they are read again before the next list is drawn. So no rule about what a
change means is written twice, and a list always holds what was durable when it was asked for.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from typing import Final

import structlog

from gateway.devices.model import DeviceFacts
from gateway.devices.roster import Roster
from gateway.errors import GatewayError
from gateway.store import Store

REFRESH_SECONDS: Final = 1.0
"""Between two looks at what was written, so that a list seldom has to wait for more than a second's changes."""
READ_AT_ONCE: Final = 500

log = structlog.get_logger(__name__)


class Rosters:
    """`run` is its one task; without it, lists read what they need themselves."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rosters: dict[str, Roster] = {}
        self._loaded = False
        self._changed: set[str] = set()
        self._lock = asyncio.Lock()
        store.changed.listen(self._note)

    async def of(self, project_id: str) -> Roster:
        """The devices as they are in the database now. Use it before you await again. UnavailableError."""
        await self._refresh()
        return self._rosters.get(project_id) or Roster()

    async def run(self) -> None:
        """Reads what is there, and then what changes, until it is cancelled."""
        while True:
            try:
                await self._refresh()
            except GatewayError as error:  # the next list, or the next second, tries again
                log.warning("the roster of devices was not read", error=str(error))
            await asyncio.sleep(REFRESH_SECONDS)

    def _note(self, device_ids: Collection[str]) -> None:
        self._changed.update(device_ids)

    async def _refresh(self) -> None:
        async with self._lock:
            if not self._loaded:
                await self._load()
            changed, self._changed = self._changed, set()
            try:
                ids = sorted(changed)
                for start in range(0, len(ids), READ_AT_ONCE):
                    await self._read(ids[start : start + READ_AT_ONCE])
            except BaseException:
                self._changed |= changed
                raise

    async def _load(self) -> None:
        projects: defaultdict[str, list[DeviceFacts]] = defaultdict(list)
        async for facts in self._store.devices.load_facts():
            projects[facts.project_id].append(facts)
        for project_id, found in projects.items():
            self._rosters[project_id] = await asyncio.to_thread(Roster, found)
        self._loaded = True

    async def _read(self, device_ids: Collection[str]) -> None:
        found: defaultdict[str, list[DeviceFacts]] = defaultdict(list)
        gone = set(device_ids)
        for facts in await self._store.devices.facts(list(device_ids)):
            found[facts.project_id].append(facts)
            gone.discard(facts.device_id)
        for project_id, some in found.items():
            self._rosters.setdefault(project_id, Roster()).update(some)
        for roster in self._rosters.values():
            roster.remove(gone)
