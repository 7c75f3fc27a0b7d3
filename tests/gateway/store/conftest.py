"""Every test of the store runs on SQLite and on a real PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.accounts.model import Project, User
from gateway.store import SecretBox, Store
from tests.gateway.store.postgresql import Server, start
from tests.gateway.store.samples import NOW, PROJECT, credential


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    with start() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.db'}"
    server: Server = request.getfixturevalue("postgresql_server")
    name = server.next_name()
    engine = create_async_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await engine.dispose()
    return server.url(name)


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
