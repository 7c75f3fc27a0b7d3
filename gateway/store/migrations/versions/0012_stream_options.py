"""What was chosen for single streams."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stream_option",
        sa.Column("stream_id", sa.String(length=16), nullable=False),
        sa.Column("chosen", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["stream.stream_id"], name="fk_stream_option_stream_id_stream", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("stream_id", name="pk_stream_option"),
    )


def downgrade() -> None:
    op.drop_table("stream_option")
