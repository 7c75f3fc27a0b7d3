"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "call",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("channel_id", sa.String(length=32), nullable=False),
        sa.Column("dialog", sa.JSON(), nullable=False),
        sa.Column("ssrc", sa.BigInteger(), nullable=False),
        sa.Column("media_port", sa.Integer(), nullable=False),
        sa.Column("media_transport", sa.String(length=16), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name="pk_call"),
    )
    op.create_index("ix_call_device_id_channel_id", "call", ["device_id", "channel_id"], unique=False)
    op.create_table(
        "mark",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_mark"),
    )
    op.create_table(
        "project",
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("subscribed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("quotas", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", name="pk_project"),
        sa.UniqueConstraint("name", name="uq_project_name"),
    )
    op.create_table(
        "serial",
        sa.Column("prefix", sa.String(length=14), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("prefix", name="pk_serial"),
    )
    op.create_table(
        "state_event",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("channel_id", sa.String(length=32), nullable=True),
        sa.Column("before", sa.String(length=24), nullable=False),
        sa.Column("after", sa.String(length=24), nullable=False),
        sa.Column("cause", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_state_event"),
    )
    op.create_index("ix_state_event_device_id_event_id", "state_event", ["device_id", "event_id"], unique=False)
    op.create_index("ix_state_event_project_id_at", "state_event", ["project_id", "at"], unique=False)
    op.create_table(
        "credential",
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.project_id"], name="fk_credential_project_id"),
        sa.PrimaryKeyConstraint("username", name="pk_credential"),
    )
    op.create_index(
        "ix_credential_project_id_created_at_username",
        "credential",
        ["project_id", "created_at", "username"],
        unique=False,
    )
    op.create_index(
        "ix_credential_project_id_updated_at_username",
        "credential",
        ["project_id", "updated_at", "username"],
        unique=False,
    )
    op.create_index("ix_credential_project_id_username", "credential", ["project_id", "username"], unique=False)
    op.create_table(
        "user_account",
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.project_id"], name="fk_user_account_project_id"),
        sa.PrimaryKeyConstraint("user_id", name="pk_user_account"),
        sa.UniqueConstraint("name", name="uq_user_account_name"),
    )
    op.create_table(
        "device",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("type", sa.String(length=8), nullable=False),
        sa.Column("credential", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("catalogue", sa.String(length=16), nullable=False),
        sa.Column("suffix", sa.String(length=30), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("manufacturer", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("firmware", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("gb_version", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["credential"], ["credential.username"], name="fk_device_credential"),
        sa.ForeignKeyConstraint(["project_id"], ["project.project_id"], name="fk_device_project_id"),
        sa.PrimaryKeyConstraint("device_id", name="pk_device"),
    )
    op.create_index("ix_device_credential", "device", ["credential"], unique=False)
    op.create_index(
        "ix_device_project_id_created_at_device_id", "device", ["project_id", "created_at", "device_id"], unique=False
    )
    op.create_index(
        "ix_device_project_id_credential_device_id", "device", ["project_id", "credential", "device_id"], unique=False
    )
    op.create_index("ix_device_project_id_device_id", "device", ["project_id", "device_id"], unique=False)
    op.create_index(
        "ix_device_project_id_state_type_created_at_device_id",
        "device",
        ["project_id", "state", "type", "created_at", "device_id"],
        unique=False,
    )
    op.create_index(
        "ix_device_project_id_updated_at_device_id", "device", ["project_id", "updated_at", "device_id"], unique=False
    )
    op.create_table(
        "token",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.project_id"], name="fk_token_project_id"),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.user_id"], name="fk_token_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name="pk_token"),
    )
    op.create_index("ix_token_expires_at", "token", ["expires_at"], unique=False)
    op.create_index("ix_token_user_id", "token", ["user_id"], unique=False)
    op.create_table(
        "node",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("node_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.device_id"], name="fk_node_device_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("device_id", "node_id", name="pk_node"),
    )
    op.create_table(
        "registration",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("contact", sa.Text(), nullable=False),
        sa.Column("transport", sa.String(length=8), nullable=False),
        sa.Column("remote_host", sa.String(length=64), nullable=False),
        sa.Column("remote_port", sa.Integer(), nullable=False),
        sa.Column("local_host", sa.String(length=64), nullable=False),
        sa.Column("local_port", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("cseq", sa.BigInteger(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("keepalive_interval", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.device_id"], name="fk_registration_device_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_id", name="pk_registration"),
    )
    op.create_table(
        "stream",
        sa.Column("stream_id", sa.String(length=16), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("access_type", sa.String(length=16), nullable=False),
        sa.Column("share_type", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("encode_type", sa.String(length=16), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=True),
        sa.Column("channel_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.device_id"], name="fk_stream_device_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.project_id"], name="fk_stream_project_id"),
        sa.PrimaryKeyConstraint("stream_id", name="pk_stream"),
        sa.UniqueConstraint("project_id", "name", name="uq_stream_project_id_name"),
    )
    op.create_index("ix_stream_device_id_channel_id", "stream", ["device_id", "channel_id"], unique=False)
    op.create_index(
        "ix_stream_project_id_created_at_stream_id", "stream", ["project_id", "created_at", "stream_id"], unique=False
    )
    op.create_index(
        "ix_stream_project_id_state_created_at_stream_id",
        "stream",
        ["project_id", "state", "created_at", "stream_id"],
        unique=False,
    )
    op.create_table(
        "channel",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("channel_id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("stream_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("suffix", sa.String(length=30), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("tcp_priority", sa.Boolean(), nullable=False),
        sa.Column("tcp_support", sa.Boolean(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("reported_on", sa.Boolean(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("manufacturer", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("ptz_type", sa.BigInteger(), nullable=True),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.device_id"], name="fk_channel_device_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.project_id"], name="fk_channel_project_id"),
        sa.ForeignKeyConstraint(["stream_id"], ["stream.stream_id"], name="fk_channel_stream_id"),
        sa.PrimaryKeyConstraint("device_id", "channel_id", name="pk_channel"),
        sa.UniqueConstraint("stream_id", name="uq_channel_stream_id"),
    )
    op.create_index(
        "ix_channel_project_id_device_id_channel_id",
        "channel",
        ["project_id", "device_id", "channel_id"],
        unique=False,
    )
    op.create_index("ix_channel_project_id_status", "channel", ["project_id", "status"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_channel_project_id_status", table_name="channel")
    op.drop_index("ix_channel_project_id_device_id_channel_id", table_name="channel")
    op.drop_table("channel")
    op.drop_index("ix_stream_project_id_state_created_at_stream_id", table_name="stream")
    op.drop_index("ix_stream_project_id_created_at_stream_id", table_name="stream")
    op.drop_index("ix_stream_device_id_channel_id", table_name="stream")
    op.drop_table("stream")
    op.drop_table("registration")
    op.drop_table("node")
    op.drop_index("ix_token_user_id", table_name="token")
    op.drop_index("ix_token_expires_at", table_name="token")
    op.drop_table("token")
    op.drop_index("ix_device_project_id_updated_at_device_id", table_name="device")
    op.drop_index("ix_device_project_id_state_type_created_at_device_id", table_name="device")
    op.drop_index("ix_device_project_id_device_id", table_name="device")
    op.drop_index("ix_device_project_id_credential_device_id", table_name="device")
    op.drop_index("ix_device_project_id_created_at_device_id", table_name="device")
    op.drop_index("ix_device_credential", table_name="device")
    op.drop_table("device")
    op.drop_table("user_account")
    op.drop_index("ix_credential_project_id_username", table_name="credential")
    op.drop_index("ix_credential_project_id_updated_at_username", table_name="credential")
    op.drop_index("ix_credential_project_id_created_at_username", table_name="credential")
    op.drop_table("credential")
    op.drop_index("ix_state_event_project_id_at", table_name="state_event")
    op.drop_index("ix_state_event_device_id_event_id", table_name="state_event")
    op.drop_table("state_event")
    op.drop_table("serial")
    op.drop_table("project")
    op.drop_table("mark")
    op.drop_index("ix_call_device_id_channel_id", table_name="call")
    op.drop_table("call")
