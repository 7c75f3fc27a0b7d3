"""Opening, migrating and closing a database."""

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import InvalidError, UnavailableError
from gateway.store import SecretBox, Store
from gateway.store.engine import open_engines
from gateway.store.migrate import configuration, upgrade
from gateway.store.tables import metadata
from tests.gateway.store.postgresql import Server
from tests.gateway.store.samples import NOW


async def test_the_migrations_make_the_tables_of_the_code(empty_url: str) -> None:
    def compare(connection: Connection) -> list[object]:
        upgrade(connection)
        return list(compare_metadata(MigrationContext.configure(connection, {"compare_type": True}), metadata))

    writing, reading = open_engines(empty_url)
    async with writing.begin() as connection:
        assert await connection.run_sync(compare) == []
    await writing.dispose()
    await reading.dispose()


async def test_the_migrations_can_be_taken_back(empty_url: str) -> None:
    def back(connection: Connection) -> list[str]:
        upgrade(connection)
        command.downgrade(configuration(connection), "base")
        return inspect(connection).get_table_names()

    writing, reading = open_engines(empty_url)
    async with writing.begin() as connection:
        assert await connection.run_sync(back) == ["alembic_version"]
    await writing.dispose()
    await reading.dispose()


async def test_what_was_written_is_there_after_a_restart(url: str, secrets: SecretBox, store: Store) -> None:
    async with Store.open(url, secrets=secrets) as again:
        credential = await again.credentials.get("0100")
        assert credential is not None
        assert credential.password == "Secret-1234"
        await again.ping()


async def test_sqlite_is_set_to_keep_what_it_was_given(tmp_path: Path) -> None:
    writing, reading = open_engines(f"sqlite:///{tmp_path / 'gateway.db'}")
    async with writing.connect() as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar() == value
    await writing.dispose()
    await reading.dispose()


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://localhost/gateway", "sqlite://", "sqlite:///:memory:"])
async def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(InvalidError, match=r"database\.url"):
        async with Store.open(url, secrets=SecretBox(b"k" * 32)):
            pass


@pytest.mark.parametrize("url", ["sqlite:////missing/folder/gateway.db", "postgresql://nobody@127.0.0.1:1/none"])
async def test_a_database_that_cannot_be_reached_is_told(url: str) -> None:
    with pytest.raises(UnavailableError, match="cannot open the database"):
        async with Store.open(url, secrets=SecretBox(b"k" * 32)):
            pass


class Gate:
    """Between the store and its server: shut, the server is as good as down."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._there: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._enter, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._there:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._there += [writer, back]
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)

    @staticmethod
    async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
        sink.close()


@pytest.mark.postgresql
async def test_a_server_that_is_down_is_waited_for(postgresql_server: Server, secrets: SecretBox) -> None:
    """Tasks that run for ever bear UnavailableError, and nothing else: they would take the gateway down with them."""
    gate = Gate(postgresql_server.port)
    await gate.open()
    async with Store.open(f"postgresql://gateway@127.0.0.1:{gate.port}/postgres", secrets=secrets) as store:
        await store.ping()
        await gate.shut()
        for _ in range(2):  # the connection that was there, and the one that cannot be made
            with pytest.raises(UnavailableError):
                await store.ping()
            with pytest.raises(UnavailableError):
                await store.audit.prune(NOW)
        with pytest.raises(UnavailableError, match="cannot open the database"):
            async with Store.open(f"postgresql://gateway@127.0.0.1:{gate.port}/postgres", secrets=secrets):
                pass
        await gate.open()
        await store.ping()
        assert await store.audit.prune(NOW) == 0
    await gate.shut()


async def test_errors_tell_no_values(url: str) -> None:
    writing, reading = open_engines(url)
    async with writing.connect() as connection:
        with pytest.raises(SQLAlchemyError) as caught:
            await connection.execute(text("SELECT :value FROM nothing"), {"value": "a secret"})
    assert "a secret" not in repr(caught.value) + str(caught.value)
    await writing.dispose()
    await reading.dispose()


async def test_users_of_before_keep_their_roles(empty_url: str) -> None:
    """The first administrator goes on to look after everything."""

    def grow(connection: Connection) -> list[tuple[object, ...]]:
        command.upgrade(configuration(connection), "0001")
        connection.execute(text("INSERT INTO project VALUES ('p', 'default', '2026-03-01', NULL, '{}')"))
        for number, role in enumerate(("viewer", "administrator", "administrator")):
            row = f"('{number}', 'user{number}', 'p', '{role}', 'hash', '2026-03-0{number + 1}')"
            connection.execute(text(f"INSERT INTO user_account VALUES {row}"))
        upgrade(connection)
        query = (
            "SELECT name, role, restricted, enabled, account_admin FROM membership"
            " JOIN user_account ON user_account.user_id = membership.user_id ORDER BY name"
        )
        return [tuple(row) for row in connection.execute(text(query))]

    writing, reading = open_engines(empty_url)
    async with writing.begin() as connection:
        assert await connection.run_sync(grow) == [
            ("user0", "viewer", False, True, False),
            ("user1", "administrator", False, True, True),
            ("user2", "administrator", False, True, False),
        ]
    await writing.dispose()
    await reading.dispose()
