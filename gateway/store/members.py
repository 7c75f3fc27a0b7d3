"""Roles of users in projects, and what befalls a user as a whole."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.model import Role, TokenNote
from gateway.errors import ConflictError, NotFoundError
from gateway.store.access_tables import access_keys, group_users, groups, memberships
from gateway.store.base import Database
from gateway.store.credentials import lock_project
from gateway.store.tables import projects, tokens, users

TOKEN_ID_LETTERS = 16
"""Of a token's digest: enough to name it, of no use to forge it."""


class MemberStore:
    """A project that has members keeps an administrator who may come in, and the gateway one who looks after it all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, user_id: str, project_id: str, role: Role, groups: frozenset[str] | None, at: datetime) -> None:
        """Gives the user this role in the project, restricted to these groups of it; None: not restricted.

        NotFoundError for an unknown group, ConflictError if no administrator were left.
        """

        async def write(connection: AsyncConnection) -> None:
            await lock_project(connection, project_id)
            before = await _administrators(connection, [project_id])
            mine = (memberships.c.user_id == user_id, memberships.c.project_id == project_id)
            values = {"role": role.value, "restricted": groups is not None}
            if (await connection.execute(sa.update(memberships).where(*mine).values(values))).rowcount == 0:
                key = {"user_id": user_id, "project_id": project_id, "created_at": at}
                await connection.execute(sa.insert(memberships).values(**key, **values))
            await put_groups(connection, user_id, project_id, groups or frozenset())
            await _check_administrators(connection, before)

        await self._database.writer.run(write)

    async def remove(self, user_id: str, project_id: str) -> None:
        """Takes away the role, its groups and the tokens for the project.

        NotFoundError if the user has none, ConflictError if no administrator were left.
        """

        async def write(connection: AsyncConnection) -> None:
            await lock_project(connection, project_id)
            before = await _administrators(connection, [project_id])
            mine = (memberships.c.user_id == user_id, memberships.c.project_id == project_id)
            if (await connection.execute(sa.delete(memberships).where(*mine))).rowcount == 0:
                raise NotFoundError("user", user_id)
            await put_groups(connection, user_id, project_id, frozenset())
            there = (tokens.c.user_id == user_id, tokens.c.project_id == project_id)
            await connection.execute(sa.delete(tokens).where(*there))
            await _check_administrators(connection, before)

        await self._database.writer.run(write)

    async def is_only_in(self, user_id: str, project_id: str) -> bool:
        """Whether the user belongs to this project, and may enter no other."""
        query = sa.select(sa.func.count()).select_from(memberships)
        elsewhere = query.where(memberships.c.user_id == user_id, memberships.c.project_id != project_id)
        own = sa.select(users.c.project_id).where(users.c.user_id == user_id)
        return not await self._database.scalar(elsewhere) and await self._database.scalar(own) == project_id

    async def set_enabled(self, user_id: str, enabled: bool) -> None:
        """Lets the user in or not; disabled, tokens are taken back and keys disabled. NotFoundError, ConflictError."""

        async def write(connection: AsyncConnection) -> None:
            before = await _administrators(connection, await _entered(connection, user_id))
            await _update(connection, user_id, {"enabled": enabled})
            if not enabled:
                await shut_out(connection, user_id)
                await _check_administrators(connection, before)
                await _check_account_admins(connection)

        await self._database.writer.run(write)

    async def set_account_admin(self, user_id: str, account_admin: bool) -> None:
        """NotFoundError, ConflictError if nobody were left to look after the gateway."""

        async def write(connection: AsyncConnection) -> None:
            await _update(connection, user_id, {"account_admin": account_admin})
            await _check_account_admins(connection)

        await self._database.writer.run(write)

    async def delete_user(self, user_id: str) -> None:
        """Takes the user with roles, tokens and keys away. NotFoundError, ConflictError if no administrator is left."""

        async def write(connection: AsyncConnection) -> None:
            before = await _administrators(connection, await _entered(connection, user_id))
            result = await connection.execute(sa.delete(users).where(users.c.user_id == user_id))
            if result.rowcount == 0:
                raise NotFoundError("user", user_id)
            await _check_administrators(connection, before)
            await _check_account_admins(connection)

        await self._database.writer.run(write)

    async def tokens(self, user_id: str, at: datetime) -> Sequence[TokenNote]:
        """The user's tokens that have not expired, newest first."""
        query = (
            sa.select(tokens, projects.c.name.label("project_name"))
            .join(projects, projects.c.project_id == tokens.c.project_id)
            .where(tokens.c.user_id == user_id, tokens.c.expires_at > at)
            .order_by(tokens.c.issued_at.desc(), tokens.c.digest)
        )
        return [
            TokenNote(row.digest[:TOKEN_ID_LETTERS], row.project_name, row.issued_at, row.expires_at)
            for row in await self._database.all(query)
        ]

    async def delete_tokens(self, user_id: str, token_id: str | None = None) -> int:
        """Takes back one token of the user, or all; returns how many."""

        async def write(connection: AsyncConnection) -> int:
            conditions = [tokens.c.user_id == user_id]
            if token_id is not None:
                conditions.append(sa.func.substr(tokens.c.digest, 1, TOKEN_ID_LETTERS) == token_id)
            return (await connection.execute(sa.delete(tokens).where(*conditions))).rowcount

        return await self._database.writer.run(write)


async def shut_out(connection: AsyncConnection, user_id: str) -> None:
    """Inside any transaction: takes back the user's tokens and disables the keys."""
    await connection.execute(sa.delete(tokens).where(tokens.c.user_id == user_id))
    await connection.execute(sa.update(access_keys).where(access_keys.c.user_id == user_id).values(enabled=False))


async def _update(connection: AsyncConnection, user_id: str, values: dict[str, Any]) -> None:
    if (await connection.execute(sa.update(users).where(users.c.user_id == user_id).values(values))).rowcount == 0:
        raise NotFoundError("user", user_id)


async def put_groups(connection: AsyncConnection, user_id: str, project_id: str, wanted: frozenset[str]) -> None:
    """Inside any transaction: the user's groups in the project are these from now on; NotFoundError."""
    of_project = sa.select(groups.c.group_id).where(groups.c.project_id == project_id)
    await connection.execute(
        sa.delete(group_users).where(group_users.c.user_id == user_id, group_users.c.group_id.in_(of_project))
    )
    known = set((await connection.scalars(of_project.where(groups.c.group_id.in_(wanted)))).all())
    if wanted - known:
        raise NotFoundError("device group", ", ".join(sorted(wanted - known)))
    if wanted:
        await connection.execute(
            sa.insert(group_users), [{"user_id": user_id, "group_id": group_id} for group_id in sorted(wanted)]
        )


async def _entered(connection: AsyncConnection, user_id: str) -> Sequence[str]:
    query = sa.select(memberships.c.project_id).where(memberships.c.user_id == user_id)
    return (await connection.scalars(query)).all()


async def _administrators(connection: AsyncConnection, project_ids: Sequence[str]) -> set[str]:
    """Which of these projects have an administrator who may come in."""
    query = (
        sa.select(memberships.c.project_id)
        .join(users, users.c.user_id == memberships.c.user_id)
        .where(memberships.c.role == Role.ADMINISTRATOR.value, users.c.enabled)
        .where(memberships.c.project_id.in_(project_ids))
    )
    return set((await connection.scalars(query)).all())


async def _check_administrators(connection: AsyncConnection, before: set[str]) -> None:
    """A project that had one, and still has members, must have one."""
    without = before - await _administrators(connection, sorted(before))
    members = sa.select(sa.func.count()).select_from(memberships).where(memberships.c.project_id.in_(without))
    if without and await connection.scalar(members):
        raise ConflictError("the project's last administrator must stay one")


async def _check_account_admins(connection: AsyncConnection) -> None:
    query = sa.select(sa.func.count()).select_from(users).where(users.c.account_admin, users.c.enabled)
    if not await connection.scalar(query):
        raise ConflictError("somebody must look after the whole gateway: the last account administrator stays one")
