"""Projects, users and tokens in the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.model import Project, Role, Token, User
from gateway.errors import ConflictError, NotFoundError
from gateway.store.base import Database
from gateway.store.tables import projects, tokens, users

EXPIRED_AT_ONCE: Final = 1_000


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

    async def set_quotas(self, project_id: str, quotas: dict[str, int]) -> None:
        """Replaces the project's own quotas; NotFoundError if there is none such."""

        async def write(connection: AsyncConnection) -> None:
            result = await connection.execute(
                sa.update(projects).where(projects.c.project_id == project_id).values(quotas=quotas)
            )
            if result.rowcount == 0:
                raise NotFoundError("project", project_id)

        await self._database.writer.run(write)

    async def add_user(self, user: User, password_hash: str) -> None:
        """ConflictError if the name is taken."""
        values = {
            "user_id": user.user_id,
            "name": user.name,
            "project_id": user.project_id,
            "role": user.role.value,
            "password_hash": password_hash,
            "created_at": user.created_at,
        }
        await self._insert(users, values, f"user {user.name}")

    async def first_start(self, project: Project, user: User, password_hash: str) -> bool:
        """Adds the first project and its administrator together; False, and nothing done, if there is any user."""

        async def write(connection: AsyncConnection) -> bool:
            if await connection.scalar(sa.select(sa.func.count()).select_from(users)):
                return False
            await connection.execute(sa.insert(projects).values(_project_values(project)))
            await connection.execute(
                sa.insert(users).values(
                    user_id=user.user_id,
                    name=user.name,
                    project_id=user.project_id,
                    role=user.role.value,
                    password_hash=password_hash,
                    created_at=user.created_at,
                )
            )
            return True

        return await self._database.writer.run(write)

    async def user_named(self, name: str) -> tuple[User, str] | None:
        """The user and the hash of the password."""
        row = await self._database.first(sa.select(users).where(users.c.name == name))
        return None if row is None else (_user(row), row.password_hash)

    async def users(self, project_id: str | None = None) -> Sequence[User]:
        """All users, or those of one project, oldest first."""
        query = sa.select(users).order_by(users.c.created_at, users.c.user_id)
        if project_id is not None:
            query = query.where(users.c.project_id == project_id)
        return [_user(row) for row in await self._database.all(query)]

    async def owner(self, project_id: str) -> User | None:
        """The project's oldest user."""
        query = sa.select(users).where(users.c.project_id == project_id).order_by(users.c.created_at, users.c.user_id)
        row = await self._database.first(query)
        return None if row is None else _user(row)

    async def set_password(self, user_id: str, password_hash: str) -> None:
        """Changes the password and takes back every token of the user; NotFoundError."""

        async def write(connection: AsyncConnection) -> None:
            result = await connection.execute(
                sa.update(users).where(users.c.user_id == user_id).values(password_hash=password_hash)
            )
            if result.rowcount == 0:
                raise NotFoundError("user", user_id)
            await connection.execute(sa.delete(tokens).where(tokens.c.user_id == user_id))

        await self._database.writer.run(write)

    async def delete_user(self, user_id: str) -> None:
        """Takes the user and all tokens away; NotFoundError."""

        async def write(connection: AsyncConnection) -> None:
            result = await connection.execute(sa.delete(users).where(users.c.user_id == user_id))
            if result.rowcount == 0:
                raise NotFoundError("user", user_id)

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
        """The token as issued, expired or not."""
        user, project = users.alias("holder"), projects.alias("scope")
        query = (
            sa.select(tokens.c.issued_at, tokens.c.expires_at, *_labelled(user), *_labelled(project))
            .join(user, user.c.user_id == tokens.c.user_id)
            .join(project, project.c.project_id == tokens.c.project_id)
            .where(tokens.c.digest == digest)
        )
        row = await self._database.first(query)
        if row is None:
            return None
        return Token(
            user=_user(row, "holder_"),
            project=_project(row, "scope_"),
            issued_at=row.issued_at,
            expires_at=row.expires_at,
        )

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


def _labelled(table: sa.FromClause) -> list[sa.Label[Any]]:
    return [column.label(f"{table.name}_{column.name}") for column in table.c]  # type: ignore[attr-defined]


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


def _user(row: sa.Row[Any], prefix: str = "") -> User:
    found = row._mapping
    return User(
        user_id=found[f"{prefix}user_id"],
        name=found[f"{prefix}name"],
        project_id=found[f"{prefix}project_id"],
        role=Role(found[f"{prefix}role"]),
        created_at=found[f"{prefix}created_at"],
    )
