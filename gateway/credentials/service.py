"""GB28181 credentials of a project: the rules over the store."""

import secrets
from datetime import datetime
from typing import Final

from gateway.accounts.model import Project
from gateway.accounts.quotas import Quotas
from gateway.credentials.errors import (
    CredentialBusyError,
    CredentialExistsError,
    CredentialInUseError,
    WrongPasswordError,
)
from gateway.credentials.model import Credential, CredentialType
from gateway.credentials.rules import check_password, check_username
from gateway.errors import ConflictError, InvalidError, NotFoundError
from gateway.paging import Listing, Page
from gateway.store import CredentialFilter, Store
from gateway.text import check_description

ANONYMOUS_LETTERS: Final = 16
"""Hex digits of a generated user name."""


class Credentials:
    """Every call is for one project; what belongs to another is not found."""

    def __init__(self, store: Store, quotas: Quotas) -> None:
        self._store = store
        self._quotas = quotas

    async def create(
        self,
        project: Project,
        *,
        username: str | None,
        type_: CredentialType,
        password: str,
        description: str,
        at: datetime,
    ) -> Credential:
        """Makes a credential. Of an ANONYMOUS one the user name is ignored and one generated: it only identifies it.

        InvalidError, PasswordIsNameError, CredentialExistsError, QuotaError.
        """
        if type_ is CredentialType.ANONYMOUS:
            username = f"anonymous{secrets.token_hex(ANONYMOUS_LETTERS // 2)}"
        elif username is None:
            raise InvalidError("username", "needed for a NORMAL credential")
        check_username(username)
        check_password(password, username, field="password", shortest=8, classes=3)
        check_description(description)
        credential = Credential(
            username=username,
            project_id=project.project_id,
            type=type_,
            password=password,
            description=description,
            created_at=at,
            updated_at=at,
        )
        try:
            await self._store.credentials.add(credential, quota=self._quotas.of(project, "password"))
        except ConflictError as error:
            raise CredentialExistsError(f"the user name {username} is taken") from error
        return credential

    async def list(self, project_id: str, wanted: CredentialFilter, page: Page | None) -> Listing[Credential]:
        return await self._store.credentials.list(project_id, wanted, page)

    async def get(self, project_id: str, username: str) -> Credential:
        """NotFoundError."""
        credential = await self._store.credentials.get(username)
        if credential is None or credential.project_id != project_id:
            raise NotFoundError("credential", username)
        return credential

    async def update(
        self,
        project_id: str,
        username: str,
        *,
        password: str | None,
        new_password: str | None,
        description: str | None,
        at: datetime,
    ) -> None:
        """Changes the description, and the password if a new one comes with the present one.

        InvalidError, PasswordIsNameError, WrongPasswordError, NotFoundError; CredentialBusyError while a device of
        this credential sends video.
        """
        credential = await self.get(project_id, username)
        if description is not None:
            check_description(description)
        if new_password is not None:
            _check_change(credential, password, new_password)
        await self._store.credentials.update(
            username, at=at, description=description, password=new_password, may_change_password=_refuse_while_invited
        )

    async def delete(self, project_id: str, username: str) -> None:
        """NotFoundError; CredentialInUseError while a device uses it."""
        await self.get(project_id, username)
        try:
            await self._store.credentials.delete(username)
        except ConflictError as error:
            raise CredentialInUseError(f"devices use the credential {username}") from error


def _check_change(credential: Credential, password: str | None, new_password: str) -> None:
    if password is None:
        raise InvalidError("password", "the present password is needed to change it")
    if not _same(password, credential.password):
        raise WrongPasswordError("the present password is another")
    name = credential.username if credential.type is CredentialType.NORMAL else ""
    check_password(new_password, name, field="new_password", shortest=6, classes=2)
    if _same(new_password, credential.password):
        raise InvalidError("new_password", "not the present password again")


def _refuse_while_invited(invited: int) -> None:
    if invited:
        raise CredentialBusyError(f"{invited} channels of its devices are invited")


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())
