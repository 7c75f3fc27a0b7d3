"""Retention: settings of streams, recordings, slices and the history of recording."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retention",
        sa.Column("stream_id", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("hours", sa.Double(), nullable=False),
        sa.Column("forever", sa.Boolean(), nullable=False),
        sa.Column("store_type", sa.String(length=8), nullable=False),
        sa.Column("bucket", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("slice_minutes", sa.Integer(), nullable=False),
        sa.Column("zone_hours", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["stream_id"], ["stream.stream_id"], name="fk_retention_stream_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("stream_id", name="pk_retention"),
    )
    op.create_index("ix_retention_state_stream_id", "retention", ["state", "stream_id"], unique=False)
    op.create_table(
        "recording",
        sa.Column("recording_id", sa.String(length=32), nullable=False),
        sa.Column("stream_id", sa.String(length=16), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("store_type", sa.String(length=8), nullable=False),
        sa.Column("bucket", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("slice_minutes", sa.Integer(), nullable=False),
        sa.Column("zone_hours", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("recording_id", name="pk_recording"),
    )
    op.create_index("ix_recording_stream_id", "recording", ["stream_id"], unique=False)
    op.create_table(
        "recording_slice",
        sa.Column("slice_id", sa.String(length=32), nullable=False),
        sa.Column("recording_id", sa.String(length=32), nullable=False),
        sa.Column("stream_id", sa.String(length=16), nullable=False),
        sa.Column("destination", sa.String(length=72), nullable=False),
        sa.Column("file", sa.String(length=64), nullable=False),
        sa.Column("directory", sa.String(length=768), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=False),
        sa.Column("video", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("slice_id", name="pk_recording_slice"),
        sa.UniqueConstraint("destination", "key", name="uq_recording_slice_destination_key"),
    )
    op.create_index("ix_recording_slice_recording_id", "recording_slice", ["recording_id"], unique=False)
    op.create_index(
        "ix_recording_slice_state_destination_start_at_slice_id",
        "recording_slice",
        ["state", "destination", "start_at", "slice_id"],
        unique=False,
    )
    op.create_index("ix_recording_slice_stream_id_start_at", "recording_slice", ["stream_id", "start_at"], unique=False)
    op.create_table(
        "recording_mark",
        sa.Column("mark_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stream_id", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("mark_id", name="pk_recording_mark"),
    )
    op.create_index("ix_recording_mark_stream_id_at", "recording_mark", ["stream_id", "at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_recording_mark_stream_id_at", table_name="recording_mark")
    op.drop_table("recording_mark")
    op.drop_index("ix_recording_slice_stream_id_start_at", table_name="recording_slice")
    op.drop_index("ix_recording_slice_state_destination_start_at_slice_id", table_name="recording_slice")
    op.drop_index("ix_recording_slice_recording_id", table_name="recording_slice")
    op.drop_table("recording_slice")
    op.drop_index("ix_recording_stream_id", table_name="recording")
    op.drop_table("recording")
    op.drop_index("ix_retention_state_stream_id", table_name="retention")
    op.drop_table("retention")
