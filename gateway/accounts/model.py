"""Users, projects and tokens as values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """What a user may do in the project."""

    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Owner of devices, credentials and streams; sees nothing of other projects."""

    project_id: str
    """32 hex digits."""
    name: str
    created_at: datetime
    subscribed_at: datetime | None
    quotas: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who calls the API."""

    user_id: str
    name: str
    project_id: str
    """The user's own project: the scope of a token asked for without one."""
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A proof of login, valid 24 h; only its SHA-256 is stored."""

    user: User
    project: Project
    issued_at: datetime
    expires_at: datetime
