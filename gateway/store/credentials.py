"""GB28181 credentials in the database; passwords are sealed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.credentials.model import Credential, CredentialType
from gateway.errors import ConflictError, NotFoundError, QuotaError
from gateway.paging import Listing, Page
from gateway.store.base import Database, Sortable, contains
from gateway.store.tables import channels, credentials, devices, projects

SORTABLE: Final[Sortable] = {name: credentials.c[name] for name in ("created_at", "username", "updated_at")}


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialFilter:
    """What a list is narrowed to; None is everything."""

    username: str | None = None
    """A part of the user name."""
    type: CredentialType | None = None


class CredentialStore:
    """`changed` is told the user name of each credential that was changed or deleted."""

    def __init__(self, database: Database, changed: Callable[[str], None]) -> None:
        self._database = database
        self._changed = changed

    async def add(self, credential: Credential, *, quota: int) -> None:
        """ConflictError if the user name is taken anywhere, QuotaError if the project has `quota` already."""
        values = {
            "username": credential.username,
            "project_id": credential.project_id,
            "type": credential.type.value,
            "secret": self._database.secrets.seal(credential.password, credential.username),
            "description": credential.description,
            "created_at": credential.created_at,
            "updated_at": credential.updated_at,
        }

        async def write(connection: AsyncConnection) -> None:
            await lock_project(connection, credential.project_id)
            if int(await connection.scalar(_count(credential.project_id)) or 0) >= quota:
                raise QuotaError("password", quota)
            await connection.execute(sa.insert(credentials).values(values))

        try:
            await self._database.writer.run(write)
        except sa.exc.IntegrityError as error:
            raise ConflictError(f"credential {credential.username} exists already") from error

    async def get(self, username: str) -> Credential | None:
        row = await self._database.first(sa.select(credentials).where(credentials.c.username == username))
        return None if row is None else self._value(row)

    async def list(self, project_id: str, wanted: CredentialFilter, page: Page | None) -> Listing[Credential]:
        """InvalidError if it may not be sorted so."""
        conditions = [credentials.c.project_id == project_id]
        if wanted.username is not None:
            conditions.append(contains(credentials.c.username, wanted.username))
        if wanted.type is not None:
            conditions.append(credentials.c.type == wanted.type.value)
        return await self._database.list(
            sa.select(credentials),
            key=credentials.c.username,
            conditions=conditions,
            sortable=SORTABLE,
            page=page,
            value=self._value,
        )

    async def count(self, project_id: str) -> int:
        """How many the project has."""
        return int(await self._database.scalar(_count(project_id)))

    async def update(
        self,
        username: str,
        *,
        at: datetime,
        description: str | None = None,
        password: str | None = None,
        may_change_password: Callable[[int], None] = lambda _invited: None,
    ) -> None:
        """Changes what is given; `may_change_password` gets the number of invited channels and may raise."""
        values: dict[str, Any] = {"updated_at": at}
        if description is not None:
            values["description"] = description
        if password is not None:
            values["secret"] = self._database.secrets.seal(password, username)

        async def write(connection: AsyncConnection) -> None:
            if password is not None:
                may_change_password(int(await connection.scalar(_invited(username)) or 0))
            result = await connection.execute(
                sa.update(credentials).where(credentials.c.username == username).values(values)
            )
            if result.rowcount == 0:
                raise NotFoundError("credential", username)

        await self._database.writer.run(write)
        self._changed(username)

    async def delete(self, username: str) -> None:
        """ConflictError while a device uses it, NotFoundError if there is none such."""

        async def write(connection: AsyncConnection) -> None:
            result = await connection.execute(sa.delete(credentials).where(credentials.c.username == username))
            if result.rowcount == 0:
                raise NotFoundError("credential", username)

        try:
            await self._database.writer.run(write)
        except sa.exc.IntegrityError as error:
            raise ConflictError(f"credential {username} is in use") from error
        self._changed(username)

    def _value(self, row: sa.Row[Any]) -> Credential:
        return Credential(
            username=row.username,
            project_id=row.project_id,
            type=CredentialType(row.type),
            password=self._database.unsealed(row.secret, row.username),
            description=row.description,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


async def lock_project(connection: AsyncConnection, project_id: str) -> None:
    """Makes counting against a quota safe where several processes write (PostgreSQL); NotFoundError."""
    query = sa.select(projects.c.project_id).where(projects.c.project_id == project_id).with_for_update()
    if await connection.scalar(query) is None:
        raise NotFoundError("project", project_id)


def _count(project_id: str) -> sa.Select[int]:
    return sa.select(sa.func.count()).select_from(credentials).where(credentials.c.project_id == project_id)


def _invited(username: str) -> sa.Select[int]:
    return (
        sa.select(sa.func.count())
        .select_from(channels.join(devices, devices.c.device_id == channels.c.device_id))
        .where(devices.c.credential == username, channels.c.status == "INVITE_SUCCESS")
    )
