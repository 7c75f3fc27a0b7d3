"""Tables of retention. Recordings, slices and marks outlive their stream: what was recorded is still in its bucket."""

from datetime import datetime
from typing import Any, ClassVar, cast

import sqlalchemy as sa
from sqlmodel import Field

from gateway.store.tables import BigKey, Row, UtcDateTime


class RetentionRow(Row, table=True):
    """What is kept of a stream, as its owner set it."""

    __tablename__: ClassVar[str] = "retention"
    __table_args__ = (sa.Index(None, "state", "stream_id"),)

    stream_id: str = Field(primary_key=True, sa_type=sa.String(16), foreign_key="stream.stream_id", ondelete="CASCADE")
    state: str = Field(sa_type=sa.String(16))
    hours: float = Field(sa_type=sa.Double)
    forever: bool = Field(sa_type=sa.Boolean)
    store_type: str = Field(sa_type=sa.String(8))
    bucket: str = Field(sa_type=sa.String(64))
    path: str = Field(sa_type=sa.String(512))
    slice_minutes: int = Field(sa_type=sa.Integer)
    zone_hours: int = Field(sa_type=sa.Integer)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class RecordingRow(Row, table=True):
    """Where the slices of one spool directory belong; written before the first of them can be."""

    __tablename__: ClassVar[str] = "recording"
    __table_args__ = (sa.Index(None, "stream_id"),)

    recording_id: str = Field(primary_key=True, sa_type=sa.String(32))
    stream_id: str = Field(sa_type=sa.String(16))
    project_id: str = Field(sa_type=sa.String(32))
    app: str = Field(sa_type=sa.String(64))
    name: str = Field(sa_type=sa.String(128))
    store_type: str = Field(sa_type=sa.String(8))
    bucket: str = Field(sa_type=sa.String(64))
    path: str = Field(sa_type=sa.String(512))
    slice_minutes: int = Field(sa_type=sa.Integer)
    zone_hours: int = Field(sa_type=sa.Integer)
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(sa_type=UtcDateTime)
    form: str = Field(sa_type=sa.String(8))


class SliceRow(Row, table=True):
    """A closed file; what waits to be stored is found by state, what may expire by stream and directory."""

    __tablename__: ClassVar[str] = "recording_slice"
    __table_args__ = (
        sa.UniqueConstraint("destination", "key"),
        sa.Index(None, "state", "destination", "start_at", "slice_id"),
        sa.Index(None, "stream_id", "start_at"),
        sa.Index(None, "recording_id"),
    )

    slice_id: str = Field(primary_key=True, sa_type=sa.String(32))
    recording_id: str = Field(sa_type=sa.String(32))
    stream_id: str = Field(sa_type=sa.String(16))
    destination: str = Field(sa_type=sa.String(72))
    file: str = Field(sa_type=sa.String(64))
    directory: str = Field(sa_type=sa.String(768))
    key: str = Field(sa_type=sa.String(1024))
    start_at: datetime = Field(sa_type=UtcDateTime)
    end_at: datetime = Field(sa_type=UtcDateTime)
    size_bytes: int = Field(sa_type=sa.BigInteger)
    frames: int = Field(sa_type=sa.BigInteger)
    lost: int = Field(sa_type=sa.BigInteger)
    video: str = Field(sa_type=sa.String(16))
    reason: str = Field(sa_type=sa.String(32))
    state: str = Field(sa_type=sa.String(16))
    playlist: bool = Field(sa_type=sa.Boolean)


class MarkedRow(Row, table=True):
    """The history of recording: append-only, read by the gap report."""

    __tablename__: ClassVar[str] = "recording_mark"
    __table_args__ = (sa.Index(None, "stream_id", "at"),)

    mark_id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    at: datetime = Field(sa_type=UtcDateTime)
    stream_id: str = Field(sa_type=sa.String(16))
    kind: str = Field(sa_type=sa.String(16))
    detail: str = Field(sa_type=sa.Text)


def _table(row: type[Row]) -> sa.Table:
    return cast(sa.Table, cast(Any, row).__table__)


retentions = _table(RetentionRow)
recordings = _table(RecordingRow)
slices = _table(SliceRow)
recording_marks = _table(MarkedRow)
