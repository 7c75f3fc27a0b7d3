"""Values that the tests of the store begin with."""

from datetime import UTC, datetime

from gateway.credentials.model import Credential, CredentialType

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
PROJECT = "a" * 32


def credential(username: str, type_: CredentialType = CredentialType.NORMAL) -> Credential:
    return Credential(
        username=username,
        project_id=PROJECT,
        type=type_,
        password="Secret-1234",
        description="",
        created_at=NOW,
        updated_at=NOW,
    )
