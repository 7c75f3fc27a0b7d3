"""Record plans, the streams that have one, and the channels that were called for it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "record_plan",
        sa.Column("plan_id", sa.String(length=24), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("ranges", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.project_id"], name="fk_record_plan_project_id_project"),
        sa.PrimaryKeyConstraint("plan_id", name="pk_record_plan"),
        sa.UniqueConstraint("project_id", "name", name="uq_record_plan_project_id_name"),
    )
    op.create_table(
        "record_plan_stream",
        sa.Column("stream_id", sa.String(length=16), nullable=False),
        sa.Column("plan_id", sa.String(length=24), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["stream.stream_id"], name="fk_record_plan_stream_stream_id_stream", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["record_plan.plan_id"], name="fk_record_plan_stream_plan_id_record_plan"),
        sa.PrimaryKeyConstraint("stream_id", name="pk_record_plan_stream"),
    )
    op.create_index(
        "ix_record_plan_stream_plan_id_stream_id", "record_plan_stream", ["plan_id", "stream_id"], unique=False
    )
    op.create_table(
        "record_call",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("channel_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id", "channel_id"],
            ["channel.device_id", "channel.channel_id"],
            name="fk_record_call_channel",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("device_id", "channel_id", name="pk_record_call"),
    )


def downgrade() -> None:
    op.drop_table("record_call")
    op.drop_index("ix_record_plan_stream_plan_id_stream_id", table_name="record_plan_stream")
    op.drop_table("record_plan_stream")
    op.drop_table("record_plan")
