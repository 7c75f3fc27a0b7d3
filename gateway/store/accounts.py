"""Projects, users and tokens in the database."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.model import Access, Project, Role, Token, User
from gateway.errors import ConflictError, NotFoundError
from gateway.store.access_tables import group_users, groups, memberships
from gateway.store.base import Database
from gateway.store.members import TOKEN_ID_LETTERS, put_groups, shut_out
from gateway.store.tables import projects, tokens, users

EXPIRED_AT_ONCE: Final = 1_000
ASKED_AT_ONCE: Final = 500


class AccountStore:
    """Passwords come and go as argon2id hashes, tokens as SHA-256: neither can be read back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_project(self, project: Project) -> None:
        """ConflictError if the name is taken."""
        await self._insert(projects, _project_values(project), f"project {project.name}")

    async def project(self, project_id: str) -> Project | None:
        row = await self._database.first(sa.select(projects).where(projects.c.project_id == project_id))
        return None if row is None else _project(row)

    async def project_named(self, name: str) -> Project | None:
        row = await self._database.first(sa.select(projects).where(projects.c.name == name))
        return None if row is None else _project(row)

    async def projects(self) -> Sequence[Project]:
        """All of them, oldest first."""
        rows = await self._database.all(sa.select(projects).order_by(projects.c.created_at, projects.c.project_id))
        return [_project(row) for row in rows]

    async def subscribe(self, project_id: str, at: datetime) -> bool:
        """Marks the project as subscribed; False if it was already."""

        async def write(connection: AsyncConnection) -> bool:
            result = await connection.execute(
                sa.update(projects)
                .where(projects.c.project_id == project_id, projects.c.subscribed_at.is_(None))
                .values(subscribed_at=at)
            )
            return result.rowcount == 1

        return await self._database.writer.run(write)

    async def delete_project(self, project_id: str) -> None:
        """Takes a project away with its groups and roles; NotFoundError, ConflictError if anything else is in it."""

        async def write(connection: AsyncConnection) -> None:
            for table in (groups, tokens, memberships):
                await connection.execute(sa.delete(table).where(table.c.project_id == project_id))
            result = await connection.execute(sa.delete(projects).where(projects.c.project_id == project_id))
            if result.rowcount == 0:
                raise NotFoundError("project", project_id)

        try:
            await self._database.writer.run(write)
        except sa.exc.IntegrityError as error:
            raise ConflictError("the project is not empty: devices, streams, credentials or users are in it") from error

    async def set_quotas(self, project_id: str, quotas: dict[str, int]) -> None:
        """Replaces the project's own quotas; NotFoundError if there is none such."""

        async def write(connection: AsyncConnection) -> None:
            result = await connection.execute(
                sa.update(projects).where(projects.c.project_id == project_id).values(quotas=quotas)
            )
            if result.rowcount == 0:
                raise NotFoundError("project", project_id)

        await self._database.writer.run(write)

    async def add_user(
        self, user: User, role: Role, password_hash: str, *, groups: frozenset[str] | None = None
    ) -> None:
        """Adds the user with this role in its own project, restricted to these groups of it; None: not restricted.

        ConflictError if the name is taken, NotFoundError for an unknown group.
        """

        async def write(connection: AsyncConnection) -> None:
            await _add_user(connection, user, role, password_hash, restricted=groups is not None)
            if groups is not None:
                await put_groups(connection, user.user_id, user.project_id, groups)

        try:
            await self._database.writer.run(write)
        except sa.exc.IntegrityError as error:
            raise ConflictError(f"user {user.name} exists already") from error

    async def first_start(self, project: Project, user: User, password_hash: str) -> bool:
        """Adds the first project and its administrator together; False, and nothing done, if there is any user."""

        async def write(connection: AsyncConnection) -> bool:
            if await connection.scalar(sa.select(sa.func.count()).select_from(users)):
                return False
            await connection.execute(sa.insert(projects).values(_project_values(project)))
            await _add_user(connection, user, Role.ADMINISTRATOR, password_hash)
            return True

        return await self._database.writer.run(write)

    async def user_named(self, name: str) -> tuple[User, str] | None:
        """The user and the hash of the password."""
        row = await self._database.first(sa.select(users).where(users.c.name == name))
        return None if row is None else (_user(row), row.password_hash)

    async def users(self, project_id: str | None = None) -> Sequence[User]:
        """All users, or those who may enter one project, oldest first."""
        if project_id is None:
            query = sa.select(users).order_by(users.c.created_at, users.c.user_id)
        else:
            query = _members(project_id)
        return [_user(row) for row in await self._database.all(query)]

    async def owner(self, project_id: str) -> User | None:
        """The project's first user."""
        row = await self._database.first(_members(project_id))
        return None if row is None else _user(row)

    async def projects_of(self, user_id: str) -> Sequence[Project]:
        """The projects that the user may enter, oldest first."""
        query = (
            sa.select(projects)
            .join(memberships, memberships.c.project_id == projects.c.project_id)
            .where(memberships.c.user_id == user_id)
            .order_by(projects.c.created_at, projects.c.project_id)
        )
        return [_project(row) for row in await self._database.all(query)]

    async def access(
        self, user_id: str, *, project_id: str | None = None, project_name: str | None = None
    ) -> Access | None:
        """What the user may do in a project, by default the user's own; None if the user may not enter it."""
        query = (
            sa.select(*_ACCESS)
            .select_from(_holder)
            .join(_entered, _entered.c.user_id == _holder.c.user_id)
            .join(_scope, _scope.c.project_id == _entered.c.project_id)
            .where(_holder.c.user_id == user_id, _holder.c.enabled)
        )
        if project_id is None and project_name is None:
            query = query.where(_scope.c.project_id == _holder.c.project_id)
        if project_id is not None:
            query = query.where(_scope.c.project_id == project_id)
        if project_name is not None:
            query = query.where(_scope.c.name == project_name)
        for row, found in await self._with_groups(query.limit(1)):
            return Access(**_access(row, found))
        return None

    async def members(self, project_id: str | None = None, *, name: str | None = None) -> Sequence[Access]:
        """Who may do what in a project, or in all, in the order in which they were let in; the disabled too.

        `name`: this user alone.
        """
        query = (
            sa.select(*_ACCESS)
            .select_from(_entered)
            .join(_holder, _holder.c.user_id == _entered.c.user_id)
            .join(_scope, _scope.c.project_id == _entered.c.project_id)
            .order_by(_scope.c.created_at, _scope.c.project_id, _entered.c.created_at, _holder.c.user_id)
        )
        if project_id is not None:
            query = query.where(_entered.c.project_id == project_id)
        if name is not None:
            query = query.where(_holder.c.name == name)
        return [Access(**_access(row, found)) for row, found in await self._with_groups(query)]

    async def _with_groups(self, query: sa.Select[Any]) -> Sequence[tuple[sa.Row[Any], frozenset[str] | None]]:
        """Rows with what the user is restricted to; groups are asked for only if somebody is restricted at all."""
        rows = await self._database.all(query)
        restricted = sorted({row.holder_user_id for row in rows if row.entered_restricted})
        given = defaultdict[tuple[str, str], set[str]](set)
        for start in range(0, len(restricted), ASKED_AT_ONCE):
            wanted = (
                sa.select(group_users.c.user_id, groups.c.project_id, groups.c.group_id)
                .join(groups, groups.c.group_id == group_users.c.group_id)
                .where(group_users.c.user_id.in_(restricted[start : start + ASKED_AT_ONCE]))
            )
            for one in await self._database.all(wanted):
                given[one.user_id, one.project_id].add(one.group_id)
        return [
            (row, frozenset(given[row.holder_user_id, row.scope_project_id]) if row.entered_restricted else None)
            for row in rows
        ]

    async def set_password(self, user_id: str, password_hash: str) -> None:
        """Changes the password, takes back every token of the user and disables the keys; NotFoundError."""

        async def write(connection: AsyncConnection) -> None:
            result = await connection.execute(
                sa.update(users).where(users.c.user_id == user_id).values(password_hash=password_hash)
            )
            if result.rowcount == 0:
                raise NotFoundError("user", user_id)
            await shut_out(connection, user_id)

        await self._database.writer.run(write)

    async def add_token(self, digest: str, token: Token) -> None:
        """Keeps a token, and drops some that have expired."""

        async def write(connection: AsyncConnection) -> None:
            old = sa.select(tokens.c.digest).where(tokens.c.expires_at <= token.issued_at).limit(EXPIRED_AT_ONCE)
            await connection.execute(sa.delete(tokens).where(tokens.c.digest.in_(old)))
            await connection.execute(
                sa.insert(tokens).values(
                    digest=digest,
                    user_id=token.user.user_id,
                    project_id=token.project.project_id,
                    issued_at=token.issued_at,
                    expires_at=token.expires_at,
                )
            )

        await self._database.writer.run(write)

    async def token(self, digest: str) -> Token | None:
        """The token as issued, expired or not, with what its user may do now; None if that is nothing any more."""
        query = (
            sa.select(tokens.c.issued_at, tokens.c.expires_at, *_ACCESS)
            .join(_holder, _holder.c.user_id == tokens.c.user_id)
            .join(_scope, _scope.c.project_id == tokens.c.project_id)
            .join(
                _entered,
                sa.and_(_entered.c.user_id == tokens.c.user_id, _entered.c.project_id == tokens.c.project_id),
            )
            .where(tokens.c.digest == digest, _holder.c.enabled)
        )
        for row, found in await self._with_groups(query.limit(1)):
            proof = token_proof(digest)
            return Token(**_access(row, found), proof=proof, issued_at=row.issued_at, expires_at=row.expires_at)
        return None

    async def delete_token(self, digest: str) -> bool:
        """Takes a token back; False if there is none such."""

        async def write(connection: AsyncConnection) -> bool:
            return (await connection.execute(sa.delete(tokens).where(tokens.c.digest == digest))).rowcount == 1

        return await self._database.writer.run(write)

    async def _insert(self, table: sa.Table, values: dict[str, Any], what: str) -> None:
        async def write(connection: AsyncConnection) -> None:
            await connection.execute(sa.insert(table).values(values))

        try:
            await self._database.writer.run(write)
        except sa.exc.IntegrityError as error:
            raise ConflictError(f"{what} exists already") from error


def token_proof(digest: str) -> str:
    """How the audit log names a token."""
    return f"token {digest[:TOKEN_ID_LETTERS]}"


def _labelled(table: sa.FromClause) -> list[sa.Label[Any]]:
    return [column.label(f"{table.name}_{column.name}") for column in table.c]  # type: ignore[attr-defined]


_holder: Final = users.alias("holder")
_scope: Final = projects.alias("scope")
_entered: Final = memberships.alias("entered")
_ACCESS: Final = [*_labelled(_holder), *_labelled(_scope), *_labelled(_entered)]


def _members(project_id: str) -> sa.Select[Any]:
    return (
        sa.select(users)
        .join(memberships, memberships.c.user_id == users.c.user_id)
        .where(memberships.c.project_id == project_id)
        .order_by(memberships.c.created_at, users.c.user_id)
    )


async def _add_user(
    connection: AsyncConnection, user: User, role: Role, password_hash: str, *, restricted: bool = False
) -> None:
    await connection.execute(
        sa.insert(users).values(
            user_id=user.user_id,
            name=user.name,
            project_id=user.project_id,
            password_hash=password_hash,
            enabled=user.enabled,
            account_admin=user.account_admin,
            created_at=user.created_at,
        )
    )
    await connection.execute(
        sa.insert(memberships).values(
            user_id=user.user_id,
            project_id=user.project_id,
            role=role.value,
            restricted=restricted,
            created_at=user.created_at,
        )
    )


def _project_values(project: Project) -> dict[str, Any]:
    return {
        "project_id": project.project_id,
        "name": project.name,
        "created_at": project.created_at,
        "subscribed_at": project.subscribed_at,
        "quotas": project.quotas,
    }


def _project(row: sa.Row[Any], prefix: str = "") -> Project:
    found = row._mapping
    return Project(
        project_id=found[f"{prefix}project_id"],
        name=found[f"{prefix}name"],
        created_at=found[f"{prefix}created_at"],
        subscribed_at=found[f"{prefix}subscribed_at"],
        quotas=found[f"{prefix}quotas"],
    )


def _access(row: sa.Row[Any], found: frozenset[str] | None) -> dict[str, Any]:
    """The fields of an Access."""
    role = Role(row.entered_role)
    return {"user": _user(row, "holder_"), "project": _project(row, "scope_"), "role": role, "groups": found}


def _user(row: sa.Row[Any], prefix: str = "") -> User:
    found = row._mapping
    return User(
        user_id=found[f"{prefix}user_id"],
        name=found[f"{prefix}name"],
        project_id=found[f"{prefix}project_id"],
        created_at=found[f"{prefix}created_at"],
        enabled=found[f"{prefix}enabled"],
        account_admin=found[f"{prefix}account_admin"],
    )
