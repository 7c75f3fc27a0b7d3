"""Why a source failed, as a word beside the sentence."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stream_event", sa.Column("reason_code", sa.String(length=32), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("stream_event", "reason_code")
