"""Users with a role in several projects, and groups of devices that some are restricted to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "membership",
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("restricted", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.user_id"], name="fk_membership_user_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.project_id"], name="fk_membership_project_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "project_id", name="pk_membership"),
    )
    op.create_index(
        "ix_membership_project_id_created_at_user_id",
        "membership",
        ["project_id", "created_at", "user_id"],
        unique=False,
    )
    op.create_table(
        "device_group",
        sa.Column("group_id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.project_id"], name="fk_device_group_project_id"),
        sa.PrimaryKeyConstraint("group_id", name="pk_device_group"),
        sa.UniqueConstraint("project_id", "name", name="uq_device_group_project_id_name"),
    )
    op.create_table(
        "group_device",
        sa.Column("group_id", sa.String(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["device_group.group_id"], name="fk_group_device_group_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.device_id"], name="fk_group_device_device_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "device_id", name="pk_group_device"),
    )
    op.create_index("ix_group_device_device_id", "group_device", ["device_id"], unique=False)
    op.create_table(
        "group_user",
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("group_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.user_id"], name="fk_group_user_user_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["device_group.group_id"], name="fk_group_user_group_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "group_id", name="pk_group_user"),
    )
    op.create_index("ix_group_user_group_id", "group_user", ["group_id"], unique=False)
    op.add_column("user_account", sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("user_account", sa.Column("account_admin", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(
        "INSERT INTO membership (user_id, project_id, role, restricted, created_at)"
        " SELECT user_id, project_id, role, false, created_at FROM user_account"
    )
    # Whoever set the gateway up goes on to look after all of it: the first administrator.
    op.execute(
        "UPDATE user_account SET account_admin = true WHERE user_id = (SELECT user_id FROM user_account"
        " WHERE role = 'administrator' ORDER BY created_at, user_id LIMIT 1)"
    )
    op.drop_column("user_account", "role")


def downgrade() -> None:
    op.add_column("user_account", sa.Column("role", sa.String(length=32), nullable=False, server_default="viewer"))
    op.execute(
        "UPDATE user_account SET role = COALESCE((SELECT role FROM membership"
        " WHERE membership.user_id = user_account.user_id AND membership.project_id = user_account.project_id), role)"
    )
    op.drop_column("user_account", "account_admin")
    op.drop_column("user_account", "enabled")
    op.drop_index("ix_group_user_group_id", table_name="group_user")
    op.drop_table("group_user")
    op.drop_index("ix_group_device_device_id", table_name="group_device")
    op.drop_table("group_device")
    op.drop_table("device_group")
    op.drop_index("ix_membership_project_id_created_at_user_id", table_name="membership")
    op.drop_table("membership")
