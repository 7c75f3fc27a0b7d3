"""Access strategies and the slices of their days."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "access_strategy",
        sa.Column("strategy_id", KEY, nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("channel_id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("start_minute", sa.SmallInteger(), nullable=False),
        sa.Column("end_minute", sa.SmallInteger(), nullable=True),
        sa.Column("total_length", sa.SmallInteger(), nullable=False),
        sa.Column("periodicity", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("seed", sa.String(length=32), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("planned_day", sa.Date(), nullable=True),
        sa.Column("plan_from", sa.Date(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id", "channel_id"],
            ["channel.device_id", "channel.channel_id"],
            name="fk_access_strategy_device_id_channel_id_channel",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["project_id"], ["project.project_id"], name="fk_access_strategy_project_id_project"),
        sa.PrimaryKeyConstraint("strategy_id", name="pk_access_strategy"),
        sa.UniqueConstraint("device_id", "channel_id", name="uq_access_strategy_device_id_channel_id"),
    )
    op.create_index(
        "ix_access_strategy_state_plan_from_strategy_id", "access_strategy", ["state", "plan_from", "strategy_id"]
    )
    op.create_index(
        "ix_access_strategy_project_id_state_kind_total_length",
        "access_strategy",
        ["project_id", "state", "kind", "total_length"],
    )
    op.create_table(
        "access_slice",
        sa.Column("slice_id", KEY, nullable=False),
        sa.Column("strategy_id", KEY, nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("start_minute", sa.SmallInteger(), nullable=False),
        sa.Column("end_minute", sa.SmallInteger(), nullable=False),
        sa.Column("starts_at", TIME, nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("video_from", TIME, nullable=True),
        sa.Column("video_until", TIME, nullable=True),
        sa.Column("flowing_since", TIME, nullable=True),
        sa.Column("received", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["strategy_id"],
            ["access_strategy.strategy_id"],
            name="fk_access_slice_strategy_id_access_strategy",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("slice_id", name="pk_access_slice"),
        sa.UniqueConstraint(
            "strategy_id",
            "day",
            "revision",
            "start_minute",
            name="uq_access_slice_strategy_id_day_revision_start_minute",
        ),
    )
    op.create_index("ix_access_slice_state_starts_at", "access_slice", ["state", "starts_at"])
    op.create_index(
        "ix_access_slice_project_id_day_start_minute_slice_id",
        "access_slice",
        ["project_id", "day", "start_minute", "slice_id"],
    )


def downgrade() -> None:
    op.drop_table("access_slice")
    op.drop_table("access_strategy")
