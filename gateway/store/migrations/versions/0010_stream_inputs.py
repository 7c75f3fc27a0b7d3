"""Inputs that back up a stream's own URL."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stream_input",
        sa.Column("stream_id", sa.String(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("url", sa.LargeBinary(), nullable=False),
        sa.Column("backup", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["stream.stream_id"], name="fk_stream_input_stream_id_stream", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("stream_id", "number", name="pk_stream_input"),
    )


def downgrade() -> None:
    op.drop_table("stream_input")
