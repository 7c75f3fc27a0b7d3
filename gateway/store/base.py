"""What the stores of one database share: the writer, the readers, and small ways of asking."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from secrets import token_urlsafe
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.errors import InvalidError
from gateway.paging import Listing, Page
from gateway.store.secrets import SecretBox, SecretError
from gateway.store.writer import FAILURES, Writer, translated

log = structlog.get_logger(__name__)

T = TypeVar("T")
Sortable = Mapping[str, sa.ColumnElement[Any]]
TEXT_LIMIT = 255
"""Longest text kept of what a device tells about itself."""
ROWS_AT_ONCE = 500
"""Rows that are turned into values without letting others run: some milliseconds' worth."""


class Database:
    """One open database."""

    def __init__(self, writer: Writer, readers: AsyncEngine, secrets: SecretBox) -> None:
        self.writer = writer
        self.secrets = secrets
        self._readers = readers

    def unsealed(self, sealed: bytes, name: str, *, instead: str | None = None) -> str:
        """What was sealed under this name; a list must not fail because of one that cannot be read.

        Such a secret becomes `instead`, or one that nobody knows, and the log says so.
        """
        try:
            return self.secrets.open(sealed, name)
        except SecretError as error:
            log.warning("a secret cannot be read", name=name, error=str(error))
            return token_urlsafe() if instead is None else instead

    async def all(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """Every row; UnavailableError if the database fails."""
        try:
            async with self._readers.connect() as connection:
                rows: Sequence[sa.Row[Any]] = (await connection.execute(query)).all()
                return rows
        except FAILURES as error:
            raise translated(error) from error

    async def first(self, query: sa.Select[Any]) -> sa.Row[Any] | None:
        """The first row, if there is any."""
        rows = await self.all(query.limit(1))
        return rows[0] if rows else None

    async def scalar(self, query: sa.Select[Any]) -> Any:
        """The first column of the first row."""
        row = await self.first(query)
        return None if row is None else row[0]

    async def stream(self, query: sa.Select[Any], key: sa.ColumnElement[Any]) -> AsyncIterator[sa.Row[Any]]:
        """All rows in order of the unique column `key`, read in parts: no long transaction, no list of everything."""
        last: Any = None
        while True:
            part = query if last is None else query.where(key > last)
            rows = await self.all(part.add_columns(key.label("stream_key")).order_by(key).limit(ROWS_AT_ONCE))
            for row in rows:
                yield row
            if len(rows) < ROWS_AT_ONCE:
                return
            last = rows[-1].stream_key

    async def _parts(
        self, query: sa.Select[Any], column: sa.ColumnElement[Any], key: sa.ColumnElement[Any]
    ) -> AsyncIterator[sa.Row[Any]]:
        """All rows in order of `column` and then `key`, in parts: a long list must not hold up everything else."""
        query = query.add_columns(column.label("part_column"), key.label("part_key")).order_by(column, key)
        part = query
        while True:
            rows = await self.all(part.limit(ROWS_AT_ONCE))
            for row in rows:
                yield row
            if len(rows) < ROWS_AT_ONCE:
                return
            last = rows[-1]
            after = (sa.literal(last.part_column, column.type), sa.literal(last.part_key, key.type))
            part = query.where(sa.tuple_(column, key) > sa.tuple_(*after))

    async def list(
        self,
        query: sa.Select[Any],
        *,
        key: sa.ColumnElement[Any],
        conditions: Sequence[sa.ColumnElement[bool]],
        sortable: Sortable,
        page: Page | None,
        value: Callable[[sa.Row[Any]], T],
    ) -> Listing[T]:
        """A sorted list, one page of it, or the whole by age.

        The keys of a page are drawn from an index alone and only its rows are then read, so that a far page costs
        little more than a near one. InvalidError if it may not be sorted by that.
        """
        column, descending = _order(page, sortable)
        order = [column.desc(), key.desc()] if descending else [column.asc(), key.asc()]
        if page is None:
            entries = [value(row) async for row in self._parts(query.where(*conditions), column, key)]
            return Listing(len(entries), entries)
        count = sa.select(sa.func.count()).select_from(key.table).where(*conditions)
        keys = sa.select(key).where(*conditions).order_by(*order).limit(page.limit).offset(page.offset)
        total, rows = await asyncio.gather(self.scalar(count), self.all(query.where(key.in_(keys)).order_by(*order)))
        return Listing(total, [value(row) for row in rows])


def _order(page: Page | None, sortable: Sortable) -> tuple[sa.ColumnElement[Any], bool]:
    if page is None:
        return sortable["created_at"], False
    try:
        return sortable[page.order_by], page.descending
    except KeyError:
        raise InvalidError("order_by", f"one of {', '.join(sortable)}") from None


def contains(column: sa.ColumnElement[str], part: str) -> sa.ColumnElement[bool]:
    """Whether the text holds `part`, without regard to case; % and _ mean themselves."""
    return sa.false() if "\x00" in part else column.icontains(part, autoescape=True)


def clip(text: str | None) -> str | None:
    """A device's text as it is kept: bounded, and without NUL, which PostgreSQL refuses."""
    return None if text is None else text.replace("\x00", "")[:TEXT_LIMIT]


async def one(connection: AsyncConnection, query: sa.Select[Any]) -> sa.Row[Any] | None:
    """The only row, inside a transaction."""
    row: sa.Row[Any] | None = (await connection.execute(query)).first()
    return row
