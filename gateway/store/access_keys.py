"""Access keys in the database; their secrets are sealed, for signatures are checked with them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.model import AccessKey
from gateway.errors import NotFoundError, QuotaError
from gateway.store.access_tables import access_keys, seen_signatures
from gateway.store.base import Database
from gateway.store.tables import users

EXPIRED_AT_ONCE: Final = 1_000


class AccessKeyStore:
    """Keys by their ids, and the signatures that a restart must not make us forget."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: AccessKey, secret: str, *, quota: int) -> None:
        """QuotaError if the user has `quota` keys already."""
        values = {
            "key_id": key.key_id,
            "user_id": key.user_id,
            "secret": self._database.secrets.seal(secret, key.key_id),
            "description": key.description,
            "enabled": key.enabled,
            "created_at": key.created_at,
            "last_used_at": key.last_used_at,
        }

        async def write(connection: AsyncConnection) -> None:
            owner = sa.select(users.c.user_id).where(users.c.user_id == key.user_id).with_for_update()
            if await connection.scalar(owner) is None:
                raise NotFoundError("user", key.user_id)
            count = sa.select(sa.func.count()).select_from(access_keys).where(access_keys.c.user_id == key.user_id)
            if int(await connection.scalar(count) or 0) >= quota:
                raise QuotaError("access keys", quota)
            await connection.execute(sa.insert(access_keys).values(values))

        await self._database.writer.run(write)

    async def of_user(self, user_id: str) -> Sequence[AccessKey]:
        """The keys of a user, oldest first."""
        query = sa.select(access_keys).where(access_keys.c.user_id == user_id)
        return [_key(row) for row in await self._database.all(query.order_by(access_keys.c.created_at))]

    async def usable(self, key_id: str) -> tuple[AccessKey, str] | None:
        """A key with its secret, if neither it nor its user is disabled; SecretError if the secret cannot be read."""
        query = (
            sa.select(access_keys)
            .join(users, users.c.user_id == access_keys.c.user_id)
            .where(access_keys.c.key_id == key_id, access_keys.c.enabled, users.c.enabled)
        )
        row = await self._database.first(query)
        return None if row is None else (_key(row), self._database.secrets.open(row.secret, row.key_id))

    async def change(
        self, user_id: str, key_id: str, *, enabled: bool | None = None, description: str | None = None
    ) -> AccessKey:
        """Changes what is given of a user's key; NotFoundError."""
        given = {"enabled": enabled, "description": description}
        values = {name: value for name, value in given.items() if value is not None}

        async def write(connection: AsyncConnection) -> AccessKey:
            mine = (access_keys.c.key_id == key_id, access_keys.c.user_id == user_id)
            if values:
                await connection.execute(sa.update(access_keys).where(*mine).values(values))
            row = (await connection.execute(sa.select(access_keys).where(*mine))).first()
            if row is None:
                raise NotFoundError("access key", key_id)
            return _key(row)

        return await self._database.writer.run(write)

    async def delete(self, user_id: str, key_id: str) -> None:
        """NotFoundError if the user has no such key."""

        async def write(connection: AsyncConnection) -> None:
            mine = (access_keys.c.key_id == key_id, access_keys.c.user_id == user_id)
            if (await connection.execute(sa.delete(access_keys).where(*mine))).rowcount == 0:
                raise NotFoundError("access key", key_id)

        await self._database.writer.run(write)

    async def touch(self, key_id: str, at: datetime) -> None:
        """Keeps when the key was last used."""

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(
                sa.update(access_keys).where(access_keys.c.key_id == key_id).values(last_used_at=at)
            )

        await self._database.writer.run(write)

    async def remember(self, signature: str, expires_at: datetime, at: datetime) -> None:
        """Keeps a signature beyond a restart, and drops some that have aged out."""

        async def write(connection: AsyncConnection) -> None:
            old = sa.select(seen_signatures.c.signature).where(seen_signatures.c.expires_at < at).limit(EXPIRED_AT_ONCE)
            await connection.execute(sa.delete(seen_signatures).where(seen_signatures.c.signature.in_(old)))
            await connection.execute(sa.insert(seen_signatures).values(signature=signature, expires_at=expires_at))

        await self._database.writer.run(write)

    async def remembered(self, at: datetime) -> Sequence[tuple[str, datetime]]:
        """The signatures that have not aged out: read at start."""
        query = sa.select(seen_signatures).where(seen_signatures.c.expires_at >= at)
        return [(row.signature, row.expires_at) for row in await self._database.all(query)]


def _key(row: sa.Row[Any]) -> AccessKey:
    return AccessKey(
        key_id=row.key_id,
        user_id=row.user_id,
        description=row.description,
        enabled=row.enabled,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
    )
