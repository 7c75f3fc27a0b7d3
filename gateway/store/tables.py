"""The tables. Rows never leave this package: the stores take and return domain values.

Enumerations are stored by name, times in UTC. What is looked up per project is indexed with the order it is listed in.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar, cast

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware time in UTC, also where the database (SQLite) keeps none of the zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


BigKey = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A 64-bit key that SQLite can count up by itself."""


class Row(SQLModel):
    """Root of all tables."""

    metadata = sa.MetaData(naming_convention=NAMING)


class ProjectRow(Row, table=True):
    __tablename__: ClassVar[str] = "project"

    project_id: str = Field(primary_key=True, sa_type=sa.String(32))
    name: str = Field(sa_type=sa.String(64), unique=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    subscribed_at: datetime | None = Field(sa_type=UtcDateTime)
    quotas: dict[str, int] = Field(sa_type=sa.JSON)


class UserRow(Row, table=True):
    __tablename__: ClassVar[str] = "user_account"

    user_id: str = Field(primary_key=True, sa_type=sa.String(32))
    name: str = Field(sa_type=sa.String(64), unique=True)
    project_id: str = Field(sa_type=sa.String(32), foreign_key="project.project_id")
    password_hash: str = Field(sa_type=sa.Text)
    enabled: bool = Field(sa_type=sa.Boolean)
    account_admin: bool = Field(sa_type=sa.Boolean)
    created_at: datetime = Field(sa_type=UtcDateTime)


class TokenRow(Row, table=True):
    __tablename__: ClassVar[str] = "token"

    digest: str = Field(primary_key=True, sa_type=sa.String(64))
    user_id: str = Field(sa_type=sa.String(32), foreign_key="user_account.user_id", ondelete="CASCADE", index=True)
    project_id: str = Field(sa_type=sa.String(32), foreign_key="project.project_id")
    issued_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class CredentialRow(Row, table=True):
    __tablename__: ClassVar[str] = "credential"
    __table_args__ = (
        sa.Index(None, "project_id", "created_at", "username"),
        sa.Index(None, "project_id", "updated_at", "username"),
        sa.Index(None, "project_id", "username"),
    )

    username: str = Field(primary_key=True, sa_type=sa.String(64))
    project_id: str = Field(sa_type=sa.String(32), foreign_key="project.project_id")
    type: str = Field(sa_type=sa.String(16))
    secret: bytes = Field(sa_type=sa.LargeBinary)
    description: str = Field(sa_type=sa.Text)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class SerialRow(Row, table=True):
    """How far the serial numbers of a prefix (domain and type, 14 digits) are given out; it never goes back."""

    __tablename__: ClassVar[str] = "serial"

    prefix: str = Field(primary_key=True, sa_type=sa.String(14))
    last: int = Field(sa_type=sa.Integer)


class DeviceRow(Row, table=True):
    __tablename__: ClassVar[str] = "device"
    __table_args__ = (
        sa.Index(None, "project_id", "created_at", "device_id"),
        sa.Index(None, "project_id", "updated_at", "device_id"),
        sa.Index(None, "project_id", "credential", "device_id"),
        sa.Index(None, "project_id", "state", "type", "created_at", "device_id"),
        sa.Index(None, "project_id", "device_id"),
        sa.Index(None, "credential"),
    )

    device_id: str = Field(primary_key=True, sa_type=sa.String(32))
    project_id: str = Field(sa_type=sa.String(32), foreign_key="project.project_id")
    type: str = Field(sa_type=sa.String(8))
    credential: str = Field(sa_type=sa.String(64), foreign_key="credential.username")
    state: str = Field(sa_type=sa.String(16))
    catalogue: str = Field(sa_type=sa.String(16))
    suffix: str = Field(sa_type=sa.String(30))
    description: str = Field(sa_type=sa.Text)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    registered_at: datetime | None = Field(sa_type=UtcDateTime)
    last_seen_at: datetime | None = Field(sa_type=UtcDateTime)
    manufacturer: str | None = Field(sa_type=sa.Text)
    model: str | None = Field(sa_type=sa.Text)
    firmware: str | None = Field(sa_type=sa.Text)
    user_agent: str | None = Field(sa_type=sa.Text)
    gb_version: str | None = Field(sa_type=sa.Text)
    last_offline_at: datetime | None = Field(sa_type=UtcDateTime)
    first_media_at: datetime | None = Field(sa_type=UtcDateTime)


class RegistrationRow(Row, table=True):
    """`last_seen_at` is the device's."""

    __tablename__: ClassVar[str] = "registration"

    device_id: str = Field(primary_key=True, sa_type=sa.String(32), foreign_key="device.device_id", ondelete="CASCADE")
    contact: str = Field(sa_type=sa.Text)
    transport: str = Field(sa_type=sa.String(8))
    remote_host: str = Field(sa_type=sa.String(64))
    remote_port: int = Field(sa_type=sa.Integer)
    local_host: str = Field(sa_type=sa.String(64))
    local_port: int = Field(sa_type=sa.Integer)
    call_id: str = Field(sa_type=sa.Text)
    cseq: int = Field(sa_type=sa.BigInteger)
    registered_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    keepalive_interval: float | None = Field(sa_type=sa.Float)


class StreamRow(Row, table=True):
    __tablename__: ClassVar[str] = "stream"
    __table_args__ = (
        sa.UniqueConstraint("project_id", "name"),
        sa.Index(None, "project_id", "created_at", "stream_id"),
        sa.Index(None, "project_id", "state", "created_at", "stream_id"),
        sa.Index(None, "device_id", "channel_id"),
        sa.Index(None, "access_key"),
        sa.Index(
            "uq_stream_own_name",
            "name",
            unique=True,
            sqlite_where=sa.text("access_type <> 'GB28181'"),
            postgresql_where=sa.text("access_type <> 'GB28181'"),
        ),
    )

    stream_id: str = Field(primary_key=True, sa_type=sa.String(16))
    project_id: str = Field(sa_type=sa.String(32), foreign_key="project.project_id")
    name: str = Field(sa_type=sa.String(128))
    access_type: str = Field(sa_type=sa.String(16))
    share_type: str = Field(sa_type=sa.String(16))
    state: str = Field(sa_type=sa.String(16))
    description: str = Field(sa_type=sa.Text)
    encode_type: str = Field(sa_type=sa.String(16))
    url: bytes | None = Field(sa_type=sa.LargeBinary)
    """Sealed: it may carry a password."""
    access_key: str | None = Field(sa_type=sa.String(32), foreign_key="push_key.access_key")
    tags: list[list[str]] = Field(sa_type=sa.JSON)
    generation: int = Field(sa_type=sa.Integer)
    device_id: str | None = Field(sa_type=sa.String(32), foreign_key="device.device_id", ondelete="CASCADE")
    channel_id: str | None = Field(sa_type=sa.String(32))
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class ChannelRow(Row, table=True):
    __tablename__: ClassVar[str] = "channel"
    __table_args__ = (
        sa.Index(None, "project_id", "device_id", "channel_id"),
        sa.Index(None, "project_id", "status"),
    )

    device_id: str = Field(primary_key=True, sa_type=sa.String(32), foreign_key="device.device_id", ondelete="CASCADE")
    channel_id: str = Field(primary_key=True, sa_type=sa.String(32))
    project_id: str = Field(sa_type=sa.String(32), foreign_key="project.project_id")
    stream_id: str = Field(sa_type=sa.String(16), foreign_key="stream.stream_id", unique=True)
    name: str = Field(sa_type=sa.Text)
    suffix: str = Field(sa_type=sa.String(30))
    status: str = Field(sa_type=sa.String(24))
    tcp_priority: bool = Field(sa_type=sa.Boolean)
    tcp_support: bool = Field(sa_type=sa.Boolean)
    wanted: bool = Field(sa_type=sa.Boolean)
    reported_on: bool = Field(sa_type=sa.Boolean)
    parent_id: str | None = Field(sa_type=sa.Text)
    manufacturer: str | None = Field(sa_type=sa.Text)
    model: str | None = Field(sa_type=sa.Text)
    ptz_type: int | None = Field(sa_type=sa.BigInteger)
    longitude: float | None = Field(sa_type=sa.Float)
    latitude: float | None = Field(sa_type=sa.Float)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class NodeRow(Row, table=True):
    """A node of a device's catalogue that is no channel: a directory, a business group, a region."""

    __tablename__: ClassVar[str] = "node"

    device_id: str = Field(primary_key=True, sa_type=sa.String(32), foreign_key="device.device_id", ondelete="CASCADE")
    node_id: str = Field(primary_key=True, sa_type=sa.String(32))
    name: str = Field(sa_type=sa.Text)
    parent_id: str | None = Field(sa_type=sa.Text)


class EventRow(Row, table=True):
    """Append-only, and without foreign keys: history outlives what it tells about."""

    __tablename__: ClassVar[str] = "state_event"
    __table_args__ = (
        sa.Index(None, "device_id", "event_id"),
        sa.Index(None, "project_id", "at"),
    )

    event_id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    at: datetime = Field(sa_type=UtcDateTime)
    project_id: str = Field(sa_type=sa.String(32))
    device_id: str = Field(sa_type=sa.String(32))
    channel_id: str | None = Field(sa_type=sa.String(32))
    before: str = Field(sa_type=sa.String(24))
    after: str = Field(sa_type=sa.String(24))
    cause: str = Field(sa_type=sa.String(32))
    detail: str = Field(sa_type=sa.Text)


class CallRow(Row, table=True):
    __tablename__: ClassVar[str] = "call"
    __table_args__ = (sa.Index(None, "device_id", "channel_id"),)

    call_id: str = Field(primary_key=True, sa_type=sa.Text)
    device_id: str = Field(sa_type=sa.String(32))
    channel_id: str = Field(sa_type=sa.String(32))
    dialog: dict[str, Any] = Field(sa_type=sa.JSON)
    ssrc: int = Field(sa_type=sa.BigInteger)
    media_port: int = Field(sa_type=sa.Integer)
    media_transport: str = Field(sa_type=sa.String(16))
    started_at: datetime = Field(sa_type=UtcDateTime)


class MarkRow(Row, table=True):
    """What the database knows of itself, such as the fingerprint of the key its secrets are sealed with."""

    __tablename__: ClassVar[str] = "mark"

    name: str = Field(primary_key=True, sa_type=sa.String(64))
    value: str = Field(sa_type=sa.Text)


def table(row: type[Row]) -> sa.Table:
    """The table behind a row's class."""
    return cast(sa.Table, cast(Any, row).__table__)


metadata = Row.metadata
projects = table(ProjectRow)
users = table(UserRow)
tokens = table(TokenRow)
credentials = table(CredentialRow)
serials = table(SerialRow)
devices = table(DeviceRow)
registrations = table(RegistrationRow)
streams = table(StreamRow)
channels = table(ChannelRow)
nodes = table(NodeRow)
state_events = table(EventRow)
calls = table(CallRow)
marks = table(MarkRow)
