"""Every test of the store runs on SQLite and on a real PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.accounts.model import Project, User
from gateway.store import SecretBox, Store
from tests.databases import sqlite
from tests.gateway.store.postgresql import Server, start
from tests.gateway.store.samples import NOW, PROJECT, credential


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    with start() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def server(request: pytest.FixtureRequest) -> Server | None:
    """The server of PostgreSQL, none for SQLite."""
    if request.param == "sqlite":
        return None
    found: Server = request.getfixturevalue("postgresql_server")
    return found


@pytest.fixture
async def url(server: Server | None, tmp_path: Path) -> str:
    """The address of a database without rows."""
    return sqlite(tmp_path) if server is None else await server.database()


@pytest.fixture
async def empty_url(server: Server | None, tmp_path: Path) -> str:
    """The address of a database without tables."""
    return f"sqlite:///{tmp_path / 'empty.db'}" if server is None else await server.empty_database()


@pytest.fixture
def secrets(tmp_path: Path) -> SecretBox:
    return SecretBox.load(tmp_path / "secret.key")


@pytest.fixture
async def store(url: str, secrets: SecretBox) -> AsyncIterator[Store]:
    """An open store with one project, its administrator and one credential."""
    async with Store.open(url, secrets=secrets) as store:
        project = Project(project_id=PROJECT, name="default", created_at=NOW, subscribed_at=None, quotas={})
        user = User(user_id="1" * 32, name="admin", project_id=PROJECT, created_at=NOW)
        assert await store.accounts.first_start(project, user, "hash")
        await store.credentials.add(credential("0100"), quota=10)
        yield store
