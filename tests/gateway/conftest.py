"""An open store on SQLite, for the services over it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store import SecretBox, Store
from tests.databases import sqlite


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    async with Store.open(sqlite(tmp_path), secrets=SecretBox.load(tmp_path / "secret.key")) as store:
        yield store
