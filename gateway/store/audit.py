"""The audit log in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.audit.entry import Entry
from gateway.store.audit_tables import audit_entries
from gateway.store.base import Database, contains


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """What a list is narrowed to; None is everything."""

    project_id: str | None = None
    user_name: str | None = None
    call: str | None = None
    """A part of method and path."""
    target: str | None = None
    """A part of what the call was about, such as an id."""
    since: datetime | None = None
    until: datetime | None = None
    done: bool | None = None
    """Whether it was done, or refused."""


class AuditStore:
    """Entries are added, read and, when they have aged out, deleted; never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, entry: Entry) -> None:
        """Durable when it returns; entries that wait together are written together."""
        await self._database.writer.batch(_append, [entry])

    async def list(
        self, wanted: AuditFilter, *, before: int | None = None, limit: int = 100
    ) -> Sequence[tuple[int, Entry]]:
        """Entries with their numbers, newest first; `before` is the number of the last one seen, to read on."""
        query = sa.select(audit_entries).where(*_conditions(wanted))
        if before is not None:
            query = query.where(audit_entries.c.entry_id < before)
        rows = await self._database.all(query.order_by(audit_entries.c.entry_id.desc()).limit(limit))
        return [(row.entry_id, _entry(row)) for row in rows]

    async def prune(self, before: datetime, *, limit: int = 1_000) -> int:
        """Deletes entries older than `before`, at most `limit`; returns how many."""

        async def write(connection: AsyncConnection) -> int:
            old = sa.select(audit_entries.c.entry_id).where(audit_entries.c.at < before)
            part = old.order_by(audit_entries.c.at).limit(limit)
            done = await connection.execute(sa.delete(audit_entries).where(audit_entries.c.entry_id.in_(part)))
            return done.rowcount

        return await self._database.writer.run(write)


def _conditions(wanted: AuditFilter) -> list[sa.ColumnElement[bool]]:
    columns, conditions = audit_entries.c, list[sa.ColumnElement[bool]]()
    if wanted.project_id is not None:
        conditions.append(columns.project_id == wanted.project_id)
    if wanted.user_name is not None:
        conditions.append(columns.user_name == wanted.user_name.replace("\x00", ""))
    if wanted.call is not None:
        conditions.append(contains(columns.call, wanted.call))
    if wanted.target is not None:
        conditions.append(contains(sa.cast(columns.target, sa.Text), wanted.target))
    if wanted.since is not None:
        conditions.append(columns.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(columns.at < wanted.until)
    if wanted.done is not None:
        conditions.append(columns.error == "" if wanted.done else columns.error != "")
    return conditions


async def _append(connection: AsyncConnection, entries: Sequence[Entry]) -> None:
    await connection.execute(sa.insert(audit_entries), [_values(entry) for entry in entries])


def _values(entry: Entry) -> dict[str, Any]:
    return {
        "at": entry.at,
        "project_id": entry.project_id,
        "user_id": entry.user_id,
        "user_name": entry.user_name.replace("\x00", "")[:64],
        "proof": entry.proof[:80],
        "address": entry.address[:64],
        "call": entry.call[:200],
        "target": dict(entry.target),
        "changes": dict(entry.changes),
        "status": entry.status,
        "error": entry.error[:32],
        "request_id": entry.request_id[:200],
    }


def _entry(row: sa.Row[Any]) -> Entry:
    return Entry(
        at=row.at,
        project_id=row.project_id,
        user_id=row.user_id,
        user_name=row.user_name,
        proof=row.proof,
        address=row.address,
        call=row.call,
        target=row.target,
        changes=row.changes,
        status=row.status,
        error=row.error,
        request_id=row.request_id,
    )
