"""Pushes of streams to other servers."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stream_push",
        sa.Column("push_id", sa.String(length=24), nullable=False),
        sa.Column("stream_id", sa.String(length=16), nullable=False),
        sa.Column("url", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["stream.stream_id"], name="fk_stream_push_stream_id_stream", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("push_id", name="pk_stream_push"),
    )
    op.create_index(
        "ix_stream_push_stream_id_created_at_push_id",
        "stream_push",
        ["stream_id", "created_at", "push_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index("ix_stream_push_stream_id_created_at_push_id", table_name="stream_push")
    op.drop_table("stream_push")
