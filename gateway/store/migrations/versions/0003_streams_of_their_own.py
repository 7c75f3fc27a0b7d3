"""Streams that are pushed or pulled, the keys they are pushed with, and their history."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "push_key",
        sa.Column("access_key", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.project_id"], name="fk_push_key_project_id"),
        sa.PrimaryKeyConstraint("access_key", name="pk_push_key"),
        sa.UniqueConstraint("project_id", "name", name="uq_push_key_project_id_name"),
    )
    op.create_index(
        "ix_push_key_project_id_created_at_access_key", "push_key", ["project_id", "created_at", "access_key"]
    )
    op.create_table(
        "stream_event",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("stream_name", sa.String(length=128), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=False),
        sa.Column("after", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_stream_event"),
    )
    op.create_index(
        "ix_stream_event_project_id_stream_name_event_id", "stream_event", ["project_id", "stream_name", "event_id"]
    )
    op.create_index("ix_stream_event_project_id_at", "stream_event", ["project_id", "at"])
    op.add_column("stream", sa.Column("url", sa.LargeBinary(), nullable=True))
    op.add_column(
        "stream",
        sa.Column(
            "access_key",
            sa.String(length=32),
            sa.ForeignKey("push_key.access_key", name="fk_stream_access_key"),
            nullable=True,
        ),
        inline_references=True,
    )
    op.add_column("stream", sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("stream", sa.Column("generation", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_stream_access_key", "stream", ["access_key"])
    op.create_index(
        "uq_stream_own_name",
        "stream",
        ["name"],
        unique=True,
        sqlite_where=sa.text("access_type <> 'GB28181'"),
        postgresql_where=sa.text("access_type <> 'GB28181'"),
    )


def downgrade() -> None:
    op.drop_index("uq_stream_own_name", table_name="stream")
    op.drop_index("ix_stream_access_key", table_name="stream")
    for column in ("generation", "tags", "access_key", "url"):
        op.drop_column("stream", column)
    op.drop_index("ix_stream_event_project_id_at", table_name="stream_event")
    op.drop_index("ix_stream_event_project_id_stream_name_event_id", table_name="stream_event")
    op.drop_table("stream_event")
    op.drop_index("ix_push_key_project_id_created_at_access_key", table_name="push_key")
    op.drop_table("push_key")
