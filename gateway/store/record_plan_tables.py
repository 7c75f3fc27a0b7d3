"""Tables of record plans."""

from datetime import datetime
from typing import ClassVar

import sqlalchemy as sa
from sqlmodel import Field

from gateway.store.tables import Row, UtcDateTime, table


class RecordPlanRow(Row, table=True):
    """When the streams that share it are to be recorded."""

    __tablename__: ClassVar[str] = "record_plan"
    __table_args__ = (sa.UniqueConstraint("project_id", "name"),)

    plan_id: str = Field(primary_key=True, sa_type=sa.String(24))
    project_id: str = Field(sa_type=sa.String(32), foreign_key="project.project_id")
    name: str = Field(sa_type=sa.String(64))
    zone: str = Field(sa_type=sa.String(64))
    ranges: list[list[int]] = Field(sa_type=sa.JSON)
    """Day, first minute, minute after the last."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class RecordPlanStreamRow(Row, table=True):
    """A stream's plan; it goes with the stream."""

    __tablename__: ClassVar[str] = "record_plan_stream"
    __table_args__ = (sa.Index(None, "plan_id", "stream_id"),)

    stream_id: str = Field(primary_key=True, sa_type=sa.String(16), foreign_key="stream.stream_id", ondelete="CASCADE")
    plan_id: str = Field(sa_type=sa.String(24), foreign_key="record_plan.plan_id")


class RecordCallRow(Row, table=True):
    """A channel that was called because its plan wanted it, and nobody else did."""

    __tablename__: ClassVar[str] = "record_call"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["device_id", "channel_id"],
            ["channel.device_id", "channel.channel_id"],
            name="fk_record_call_channel",
            ondelete="CASCADE",
        ),
    )

    device_id: str = Field(primary_key=True, sa_type=sa.String(32))
    channel_id: str = Field(primary_key=True, sa_type=sa.String(32))


record_plans = table(RecordPlanRow)
record_plan_streams = table(RecordPlanStreamRow)
record_calls = table(RecordCallRow)
