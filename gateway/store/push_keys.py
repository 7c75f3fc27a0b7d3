"""AK/SK credentials in the database; secret keys are sealed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.credentials.model import PushKey
from gateway.errors import ConflictError, NotFoundError, QuotaError
from gateway.paging import Listing, Page
from gateway.store.base import Database, Sortable, contains
from gateway.store.credentials import lock_project
from gateway.store.stream_tables import push_keys

SORTABLE: Final[Sortable] = {name: push_keys.c[name] for name in ("created_at", "name", "access_key", "updated_at")}


@dataclass(frozen=True, slots=True, kw_only=True)
class PushKeyFilter:
    """What a list is narrowed to; None is everything."""

    name: str | None = None
    """A part of the name."""
    access_key: str | None = None
    """A part of the access key."""


class PushKeyStore:
    """Keys by project and access key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: PushKey, *, quota: int) -> None:
        """ConflictError if the project has a key of this name, QuotaError if it has `quota` keys already."""
        values = {
            "access_key": key.access_key,
            "project_id": key.project_id,
            "name": key.name,
            "secret": self._database.secrets.seal(key.secret_key, key.access_key),
            "description": key.description,
            "created_at": key.created_at,
            "updated_at": key.updated_at,
        }

        async def write(connection: AsyncConnection) -> None:
            await lock_project(connection, key.project_id)
            if int(await connection.scalar(_count(key.project_id)) or 0) >= quota:
                raise QuotaError("aksk", quota)
            await connection.execute(sa.insert(push_keys).values(values))

        await self._write(write, f"a key named {key.name} exists already")

    async def get(self, project_id: str, access_key: str) -> PushKey | None:
        query = sa.select(push_keys).where(push_keys.c.project_id == project_id, push_keys.c.access_key == access_key)
        row = await self._database.first(query)
        return None if row is None else self._value(row)

    async def named(self, project_id: str, name: str) -> PushKey | None:
        query = sa.select(push_keys).where(push_keys.c.project_id == project_id, push_keys.c.name == name)
        row = await self._database.first(query)
        return None if row is None else self._value(row)

    async def list(self, project_id: str, wanted: PushKeyFilter, page: Page | None) -> Listing[PushKey]:
        """InvalidError if it may not be sorted so."""
        conditions = [push_keys.c.project_id == project_id]
        if wanted.name is not None:
            conditions.append(contains(push_keys.c.name, wanted.name))
        if wanted.access_key is not None:
            conditions.append(contains(push_keys.c.access_key, wanted.access_key))
        return await self._database.list(
            sa.select(push_keys),
            key=push_keys.c.access_key,
            conditions=conditions,
            sortable=SORTABLE,
            page=page,
            value=self._value,
        )

    async def count(self, project_id: str) -> int:
        """How many the project has."""
        return int(await self._database.scalar(_count(project_id)))

    async def update(
        self, project_id: str, access_key: str, *, at: datetime, name: str | None, description: str | None
    ) -> None:
        """Changes what is given; ConflictError if the project has a key of this name, NotFoundError."""
        values: dict[str, Any] = {"updated_at": at}
        values |= {} if name is None else {"name": name}
        values |= {} if description is None else {"description": description}

        async def write(connection: AsyncConnection) -> None:
            result = await connection.execute(sa.update(push_keys).where(_one(project_id, access_key)).values(values))
            if result.rowcount == 0:
                raise NotFoundError("access key", access_key)

        await self._write(write, f"a key named {name} exists already")

    async def delete(self, project_id: str, access_key: str) -> None:
        """ConflictError while a stream is pushed with it, NotFoundError."""

        async def write(connection: AsyncConnection) -> None:
            result = await connection.execute(sa.delete(push_keys).where(_one(project_id, access_key)))
            if result.rowcount == 0:
                raise NotFoundError("access key", access_key)

        await self._write(write, f"key {access_key} is in use")

    async def _write(self, transaction: Callable[[AsyncConnection], Any], conflict: str) -> None:
        try:
            await self._database.writer.run(transaction)
        except sa.exc.IntegrityError as error:
            raise ConflictError(conflict) from error

    def _value(self, row: sa.Row[Any]) -> PushKey:
        return PushKey(
            access_key=row.access_key,
            project_id=row.project_id,
            name=row.name,
            secret_key=self._database.unsealed(row.secret, row.access_key),
            description=row.description,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


def _one(project_id: str, access_key: str) -> sa.ColumnElement[bool]:
    return sa.and_(push_keys.c.project_id == project_id, push_keys.c.access_key == access_key)


def _count(project_id: str) -> sa.Select[int]:
    return sa.select(sa.func.count()).select_from(push_keys).where(push_keys.c.project_id == project_id)
