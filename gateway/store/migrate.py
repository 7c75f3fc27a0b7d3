"""Brings a database to the newest form of the tables; run at every start."""

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

MIGRATIONS: Final = Path(__file__).parent / "migrations"
LOCK: Final = 0x67623238
"""Key of the advisory lock on PostgreSQL: nodes that start together migrate one after the other."""


def upgrade(connection: sa.Connection) -> None:
    """Runs what is missing, inside the connection's transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    command.upgrade(configuration(connection), "head")


def configuration(connection: sa.Connection) -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
