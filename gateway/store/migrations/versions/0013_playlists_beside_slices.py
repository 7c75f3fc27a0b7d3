"""What a recording is written as, and whether a playlist lies beside a slice."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("recording", sa.Column("form", sa.String(length=8), nullable=False, server_default="auto"))
    op.add_column("recording_slice", sa.Column("playlist", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("recording_slice", "playlist")
    op.drop_column("recording", "form")
