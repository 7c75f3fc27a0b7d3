"""Users, projects and tokens as values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.scope import Scope


class Role(StrEnum):
    """What a user may do in a project: look, change what is about devices and streams, decide who may do what."""

    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    VIEWER = "viewer"

    def includes(self, other: "Role") -> bool:
        """Whether this role may do all that the other may."""
        order = list(Role)
        return order.index(self) <= order.index(other)


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
    """Who calls the API; with a role in one project or several."""

    user_id: str
    name: str
    project_id: str
    """The user's own project: the scope of a token asked for without one."""
    created_at: datetime
    enabled: bool = True
    account_admin: bool = False
    """Looks after the whole gateway: makes projects, and manages the users of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What somebody who has proved to be a user may do, in one project."""

    user: User
    project: Project
    role: Role
    groups: frozenset[str] | None = None
    """The device groups that the user is restricted to; None: all devices of the project."""
    proof: str = ""
    """How it was proved, as the audit log tells it: `token` or `key`, and its id."""

    @property
    def scope(self) -> Scope:
        """What lists and look-ups take."""
        return Scope(self.project.project_id, self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(Access):
    """A proof of login, valid 24 h; only its SHA-256 is stored."""

    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """What a user signs requests with, in every project that the user may enter. Its secret is shown once."""

    key_id: str
    user_id: str
    description: str
    enabled: bool
    created_at: datetime
    last_used_at: datetime | None
    """To the minute."""


@dataclass(frozen=True, slots=True)
class TokenNote:
    """A token as its user may see it: all but the token."""

    token_id: str
    """The beginning of its digest."""
    project_name: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceGroup:
    """Devices of a project that users may be restricted to."""

    group_id: str
    """32 hex digits."""
    project_id: str
    name: str
    description: str
    created_at: datetime
    devices: int = 0
    """How many are in it."""
