"""The table of inputs that back up a stream's own URL."""

from typing import Any, ClassVar, Final, cast

import sqlalchemy as sa
from sqlmodel import Field

from gateway.store.tables import Row


class StreamInputRow(Row, table=True):
    """One input; its number is its place in the order, from 2: the first is the stream's own."""

    __tablename__: ClassVar[str] = "stream_input"

    stream_id: str = Field(primary_key=True, sa_type=sa.String(16), foreign_key="stream.stream_id", ondelete="CASCADE")
    number: int = Field(primary_key=True, sa_type=sa.Integer)
    url: bytes = Field(sa_type=sa.LargeBinary)
    """Sealed: it may carry a password."""
    backup: str = Field(sa_type=sa.String(16))


stream_inputs: Final = cast(sa.Table, cast(Any, StreamInputRow).__table__)
