"""Connections: SQLite by default, PostgreSQL by URL. Both are set so that a commit is on disk when it returns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.errors import InvalidError, UnavailableError

SQLITE_PRAGMAS: Final[Mapping[str, str]] = {
    "journal_mode": "WAL",
    "synchronous": "FULL",  # in WAL mode: the log is synced at every commit
    "foreign_keys": "ON",
    "busy_timeout": "10000",
    "cache_size": "-32768",
    "temp_store": "MEMORY",
    "journal_size_limit": "67108864",
}
READERS: Final = 4


def open_engines(url: str) -> tuple[AsyncEngine, AsyncEngine]:
    """The engine that writes (one connection) and the one that reads.

    InvalidError for a URL we cannot use, UnavailableError if SQLite's folder is missing.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise InvalidError("database.url", "not a database URL") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite(parsed)
    if backend == "postgresql":
        parsed = parsed.set(drivername="postgresql+asyncpg")
        return (
            create_async_engine(parsed, pool_size=1, max_overflow=0, pool_pre_ping=True, hide_parameters=True),
            create_async_engine(
                parsed, pool_size=READERS, max_overflow=READERS, pool_pre_ping=True, hide_parameters=True
            ),
        )
    raise InvalidError("database.url", f"{backend} is not supported: use sqlite or postgresql")


def _sqlite(url: sa.URL) -> tuple[AsyncEngine, AsyncEngine]:
    if not url.database or url.database == ":memory:":
        raise InvalidError("database.url", "SQLite needs a file: readers and the writer have connections of their own")
    if not Path(url.database).parent.is_dir():
        raise UnavailableError(f"cannot open the database: no folder {Path(url.database).parent}")
    url = url.set(drivername="sqlite+aiosqlite")
    writer = create_async_engine(url, pool_size=1, max_overflow=0, hide_parameters=True)
    reader = create_async_engine(url, pool_size=READERS, max_overflow=0, hide_parameters=True)
    _prepare(writer, SQLITE_PRAGMAS, "BEGIN IMMEDIATE")
    _prepare(reader, {**SQLITE_PRAGMAS, "query_only": "ON"}, "BEGIN")
    return writer, reader


def _prepare(engine: AsyncEngine, pragmas: Mapping[str, str], begin: str) -> None:
    """The driver's own transaction handling is turned off: it would begin late and break savepoints."""

    @sa.event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for name, value in pragmas.items():
            cursor.execute(f"PRAGMA {name}={value}")
        cursor.close()

    @sa.event.listens_for(engine.sync_engine, "begin")
    def begin_transaction(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)
