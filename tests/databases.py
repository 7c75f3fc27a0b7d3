"""New databases that have today's tables already: copies of one that was migrated once in this process.

What is about the migrations themselves begins with an empty database instead.
"""

import tempfile
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from gateway.store.migrate import upgrade


def sqlite(folder: Path) -> str:
    """The address of a new database in `folder`."""
    path = folder / "gateway.db"
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory(prefix="gateway-tables-") as folder:
        path = Path(folder) / "gateway.db"
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            upgrade(connection)
        engine.dispose()
        return path.read_bytes()
