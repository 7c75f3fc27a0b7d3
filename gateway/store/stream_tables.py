"""The tables of streams that are pushed or pulled: the keys they are pushed with, and their history."""

from datetime import datetime
from typing import Any, ClassVar, Final, cast

import sqlalchemy as sa
from sqlmodel import Field

from gateway.store.tables import BigKey, Row, UtcDateTime


class PushKeyRow(Row, table=True):
    """An AK/SK credential; the secret key is sealed."""

    __tablename__: ClassVar[str] = "push_key"
    __table_args__ = (
        sa.UniqueConstraint("project_id", "name"),
        sa.Index(None, "project_id", "created_at", "access_key"),
    )

    access_key: str = Field(primary_key=True, sa_type=sa.String(32))
    project_id: str = Field(sa_type=sa.String(32), foreign_key="project.project_id")
    name: str = Field(sa_type=sa.String(32))
    secret: bytes = Field(sa_type=sa.LargeBinary)
    description: str = Field(sa_type=sa.Text)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class StreamEventRow(Row, table=True):
    """Append-only, and without foreign keys: history outlives what it tells about."""

    __tablename__: ClassVar[str] = "stream_event"
    __table_args__ = (
        sa.Index(None, "project_id", "stream_name", "event_id"),
        sa.Index(None, "project_id", "at"),
    )

    event_id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    at: datetime = Field(sa_type=UtcDateTime)
    project_id: str = Field(sa_type=sa.String(32))
    stream_name: str = Field(sa_type=sa.String(128))
    before: str = Field(sa_type=sa.String(16))
    after: str = Field(sa_type=sa.String(16))
    cause: str = Field(sa_type=sa.String(16))
    detail: str = Field(sa_type=sa.Text)
    reason_code: str = Field(sa_type=sa.String(32))


def _table(row: type[Row]) -> sa.Table:
    return cast(sa.Table, cast(Any, row).__table__)


push_keys: Final = _table(PushKeyRow)
stream_events: Final = _table(StreamEventRow)
