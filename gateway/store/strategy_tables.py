"""The tables of access strategies and of the slices of their days."""

from datetime import date, datetime
from typing import ClassVar

import sqlalchemy as sa
from sqlmodel import Field

from gateway.store.tables import BigKey, Row, UtcDateTime, table


class StrategyRow(Row, table=True):
    """At most one a channel, gone with it. Times of day are minutes since midnight, UTC+8."""

    __tablename__: ClassVar[str] = "access_strategy"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["device_id", "channel_id"], ["channel.device_id", "channel.channel_id"], ondelete="CASCADE"
        ),
        sa.UniqueConstraint("device_id", "channel_id"),
        sa.Index(None, "state", "plan_from", "strategy_id"),
        sa.Index(None, "project_id", "state", "kind", "total_length"),
    )

    strategy_id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    device_id: str = Field(sa_type=sa.String(32))
    channel_id: str = Field(sa_type=sa.String(32))
    project_id: str = Field(sa_type=sa.String(32), foreign_key="project.project_id")
    kind: str = Field(sa_type=sa.String(16))
    start_minute: int = Field(sa_type=sa.SmallInteger)
    end_minute: int | None = Field(sa_type=sa.SmallInteger)
    total_length: int = Field(sa_type=sa.SmallInteger)
    periodicity: str = Field(sa_type=sa.String(8))
    state: str = Field(sa_type=sa.String(8))
    seed: str = Field(sa_type=sa.String(32))
    revision: int = Field(sa_type=sa.Integer)
    planned_day: date | None = Field(sa_type=sa.Date)
    plan_from: date | None = Field(sa_type=sa.Date)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class SliceRow(Row, table=True):
    """One slice of one day; the constraint keeps a day from being planned twice."""

    __tablename__: ClassVar[str] = "access_slice"
    __table_args__ = (
        sa.UniqueConstraint("strategy_id", "day", "revision", "start_minute"),
        sa.Index(None, "state", "starts_at"),
        sa.Index(None, "project_id", "day", "start_minute", "slice_id"),
    )

    slice_id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    strategy_id: int = Field(sa_type=BigKey, foreign_key="access_strategy.strategy_id", ondelete="CASCADE")
    project_id: str = Field(sa_type=sa.String(32))
    day: date = Field(sa_type=sa.Date)
    revision: int = Field(sa_type=sa.Integer)
    start_minute: int = Field(sa_type=sa.SmallInteger)
    end_minute: int = Field(sa_type=sa.SmallInteger)
    starts_at: datetime = Field(sa_type=UtcDateTime)
    state: str = Field(sa_type=sa.String(8))
    reason: str = Field(sa_type=sa.Text)
    attempts: int = Field(sa_type=sa.Integer)
    video_from: datetime | None = Field(sa_type=UtcDateTime)
    video_until: datetime | None = Field(sa_type=UtcDateTime)
    flowing_since: datetime | None = Field(sa_type=UtcDateTime)
    received: float = Field(sa_type=sa.Float)


strategies = table(StrategyRow)
slices = table(SliceRow)
