"""Credentials as values: what devices register with, and what streams are pushed with."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CredentialType(StrEnum):
    """NORMAL: the credential's user name is the digest user name; ANONYMOUS: the device's id is."""

    NORMAL = "NORMAL"
    ANONYMOUS = "ANONYMOUS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What devices authenticate with; `password` in clear is only ever in memory, encrypted at rest."""

    username: str
    project_id: str
    type: CredentialType
    password: str
    description: str
    created_at: datetime
    updated_at: datetime

    def __repr__(self) -> str:
        return f"Credential({self.username!r}, {self.type})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushKey:
    """An AK/SK credential: RTMP streams are pushed with it. The secret key is encrypted at rest."""

    access_key: str
    project_id: str
    name: str
    secret_key: str
    description: str
    created_at: datetime
    updated_at: datetime

    def __repr__(self) -> str:
        return f"PushKey({self.access_key!r}, {self.name!r})"
