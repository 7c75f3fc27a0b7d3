"""The audit log."""

from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlmodel import Field

from gateway.store.tables import BigKey, Row, UtcDateTime, table


class AuditRow(Row, table=True):
    """Append-only but for what has aged out, and without foreign keys: it outlives users and projects."""

    __tablename__: ClassVar[str] = "audit_entry"
    __table_args__ = (
        sa.Index(None, "project_id", "entry_id"),
        sa.Index(None, "user_name", "entry_id"),
        sa.Index(None, "at"),
    )

    entry_id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    at: datetime = Field(sa_type=UtcDateTime)
    project_id: str | None = Field(sa_type=sa.String(32))
    user_id: str | None = Field(sa_type=sa.String(32))
    user_name: str = Field(sa_type=sa.String(64))
    proof: str = Field(sa_type=sa.String(80))
    address: str = Field(sa_type=sa.String(64))
    call: str = Field(sa_type=sa.String(200))
    target: dict[str, Any] = Field(sa_type=sa.JSON)
    changes: dict[str, Any] = Field(sa_type=sa.JSON)
    status: int | None = Field(sa_type=sa.Integer)
    error: str = Field(sa_type=sa.String(32))
    request_id: str = Field(sa_type=sa.String(200))


audit_entries = table(AuditRow)
