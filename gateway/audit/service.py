"""The audit log: kept before an answer goes out, and pruned."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.accounts.model import Access
from gateway.audit.entry import Entry
from gateway.errors import GatewayError
from gateway.store import AuditFilter, Store

log = structlog.get_logger(__name__)

ROUND_SECONDS: Final = 3600.0
PAUSE_SECONDS: Final = 0.05
"""Between two parts that are deleted: others write meanwhile."""


class Audit:
    """`days` is how long entries are kept; 0: for ever."""

    def __init__(self, store: Store, clock: Callable[[], datetime], *, days: int) -> None:
        self._store = store
        self._clock = clock
        self._days = days

    async def record(self, entry: Entry) -> None:
        """Keeps an entry, durably; UnavailableError, and the entry in the log, if that cannot be."""
        try:
            await self._store.audit.append(entry)
        except GatewayError:
            log.exception("an audit entry could not be kept", entry=repr(entry))
            raise

    async def list(
        self, by: Access, wanted: AuditFilter, *, everywhere: bool, before: int | None, limit: int
    ) -> Sequence[tuple[int, Entry]]:
        """Entries of the project, newest first; `everywhere`, for account administrators, of all and of strangers."""
        if not (everywhere and by.user.account_admin):
            wanted = replace(wanted, project_id=by.project.project_id)
        return await self._store.audit.list(wanted, before=before, limit=limit)

    async def run(self) -> None:
        """Prunes every hour until it is cancelled."""
        while self._days:
            try:
                await self.prune()
            except GatewayError as error:
                log.warning("the audit log was not pruned", error=str(error))
            await asyncio.sleep(ROUND_SECONDS)

    async def prune(self) -> int:
        """Deletes what is too old now; returns how many entries. UnavailableError."""
        before, total = self._clock() - timedelta(days=self._days), 0
        while deleted := await self._store.audit.prune(before):
            total += deleted
            await asyncio.sleep(PAUSE_SECONDS)
        return total
