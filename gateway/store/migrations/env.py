"""Runs the steps on the connection that `gateway.store.migrate` hands over."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from gateway.store import (  # noqa: F401 - their tables are in the metadata
    access_tables,
    audit_tables,
    input_tables,
    option_tables,
    packet_tables,
    push_tables,
    record_plan_tables,
    retention_tables,
    strategy_tables,
    stream_tables,
)
from gateway.store.tables import UtcDateTime, metadata


def render_item(kind: str, item: object, _context: AutogenContext) -> str | Literal[False]:
    """A step must not depend on what our types become later."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_item=render_item)
with context.begin_transaction():
    context.run_migrations()
