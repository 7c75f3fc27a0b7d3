"""Who may enter which project, which groups of devices some users are restricted to, and what users sign with."""

from datetime import datetime
from typing import ClassVar

import sqlalchemy as sa
from sqlmodel import Field

from gateway.store.tables import Row, UtcDateTime, table


class MembershipRow(Row, table=True):
    """`restricted`: only the devices of the groups that the user was given in this project."""

    __tablename__: ClassVar[str] = "membership"
    __table_args__ = (sa.Index(None, "project_id", "created_at", "user_id"),)

    user_id: str = Field(
        primary_key=True, sa_type=sa.String(32), foreign_key="user_account.user_id", ondelete="CASCADE"
    )
    project_id: str = Field(
        primary_key=True, sa_type=sa.String(32), foreign_key="project.project_id", ondelete="CASCADE"
    )
    role: str = Field(sa_type=sa.String(32))
    restricted: bool = Field(sa_type=sa.Boolean)
    created_at: datetime = Field(sa_type=UtcDateTime)


class GroupRow(Row, table=True):
    __tablename__: ClassVar[str] = "device_group"
    __table_args__ = (sa.UniqueConstraint("project_id", "name"),)

    group_id: str = Field(primary_key=True, sa_type=sa.String(32))
    project_id: str = Field(sa_type=sa.String(32), foreign_key="project.project_id")
    name: str = Field(sa_type=sa.String(64))
    description: str = Field(sa_type=sa.Text)
    created_at: datetime = Field(sa_type=UtcDateTime)


class GroupDeviceRow(Row, table=True):
    __tablename__: ClassVar[str] = "group_device"

    group_id: str = Field(
        primary_key=True, sa_type=sa.String(32), foreign_key="device_group.group_id", ondelete="CASCADE"
    )
    device_id: str = Field(
        primary_key=True, sa_type=sa.String(32), foreign_key="device.device_id", ondelete="CASCADE", index=True
    )


class GroupUserRow(Row, table=True):
    __tablename__: ClassVar[str] = "group_user"

    user_id: str = Field(
        primary_key=True, sa_type=sa.String(32), foreign_key="user_account.user_id", ondelete="CASCADE"
    )
    group_id: str = Field(
        primary_key=True, sa_type=sa.String(32), foreign_key="device_group.group_id", ondelete="CASCADE", index=True
    )


class AccessKeyRow(Row, table=True):
    """What a user signs requests with; the secret is sealed."""

    __tablename__: ClassVar[str] = "access_key"

    key_id: str = Field(primary_key=True, sa_type=sa.String(64))
    user_id: str = Field(sa_type=sa.String(32), foreign_key="user_account.user_id", ondelete="CASCADE", index=True)
    secret: bytes = Field(sa_type=sa.LargeBinary)
    description: str = Field(sa_type=sa.Text)
    enabled: bool = Field(sa_type=sa.Boolean)
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(sa_type=UtcDateTime)


class SeenSignatureRow(Row, table=True):
    """Signatures dated ahead of our clock: the only ones of before a restart that could be used again after it."""

    __tablename__: ClassVar[str] = "seen_signature"

    signature: str = Field(primary_key=True, sa_type=sa.String(64))
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


memberships = table(MembershipRow)
groups = table(GroupRow)
group_devices = table(GroupDeviceRow)
group_users = table(GroupUserRow)
access_keys = table(AccessKeyRow)
seen_signatures = table(SeenSignatureRow)
