"""Access keys that users sign requests with, and signatures that must outlive a restart."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_key",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.user_id"], name="fk_access_key_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_id", name="pk_access_key"),
    )
    op.create_index("ix_access_key_user_id", "access_key", ["user_id"], unique=False)
    op.create_table(
        "seen_signature",
        sa.Column("signature", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("signature", name="pk_seen_signature"),
    )
    op.create_index("ix_seen_signature_expires_at", "seen_signature", ["expires_at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_seen_signature_expires_at", table_name="seen_signature")
    op.drop_table("seen_signature")
    op.drop_index("ix_access_key_user_id", table_name="access_key")
    op.drop_table("access_key")
