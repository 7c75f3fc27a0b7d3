"""An open store on SQLite, for the services over it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store import SecretBox, Store


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    async with Store.open(url, secrets=SecretBox.load(tmp_path / "secret.key")) as store:
        yield store
