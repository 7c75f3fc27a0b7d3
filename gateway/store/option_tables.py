"""The table of what was chosen for streams."""

from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlmodel import Field

from gateway.store.tables import Row, UtcDateTime, table


class StreamOptionRow(Row, table=True):
    """The options of one stream that has any; they go with the stream."""

    __tablename__: ClassVar[str] = "stream_option"

    stream_id: str = Field(primary_key=True, sa_type=sa.String(16), foreign_key="stream.stream_id", ondelete="CASCADE")
    chosen: dict[str, Any] = Field(sa_type=sa.JSON)
    """Only what differs from the defaults, by name."""
    updated_at: datetime = Field(sa_type=UtcDateTime)


stream_options = table(StreamOptionRow)
