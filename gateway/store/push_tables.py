"""The table of pushes."""

from datetime import datetime
from typing import ClassVar

import sqlalchemy as sa
from sqlmodel import Field

from gateway.store.tables import Row, UtcDateTime, table


class StreamPushRow(Row, table=True):
    """A server that a stream is sent to; it goes with the stream."""

    __tablename__: ClassVar[str] = "stream_push"
    __table_args__ = (sa.Index(None, "stream_id", "created_at", "push_id"),)

    push_id: str = Field(primary_key=True, sa_type=sa.String(24))
    stream_id: str = Field(sa_type=sa.String(16), foreign_key="stream.stream_id", ondelete="CASCADE")
    url: bytes = Field(sa_type=sa.LargeBinary)
    """Sealed: it mostly carries a key."""
    created_at: datetime = Field(sa_type=UtcDateTime)


stream_pushes = table(StreamPushRow)
