"""Users, projects and tokens: who may come in."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.accounts.errors import AlreadySubscribedError, ForbiddenError, LoginError, NotSubscribedError, TokenError
from gateway.accounts.logins import Logins
from gateway.accounts.model import Access, Project, Role, Token, User
from gateway.accounts.passwords import Passwords, generate
from gateway.accounts.quotas import Quotas
from gateway.accounts.rules import check_project_name, check_user_name, chosen_password
from gateway.errors import NotFoundError
from gateway.store import Store
from gateway.store.accounts import token_proof
from gateway.store.secrets import digest

FIRST_PROJECT: Final = "default"
TOKEN_BYTES: Final = 48


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What the first start made; the password is known nowhere else."""

    project: Project
    user: User
    password: str
    generated: bool
    """The password is random, and must be shown once."""


class Accounts:
    """Over the store; the time is given by the caller."""

    def __init__(
        self,
        store: Store,
        quotas: Quotas,
        *,
        token_life: timedelta = timedelta(hours=24),
        subscription_required: bool = False,
        passwords: Passwords | None = None,
        logins: Logins | None = None,
    ) -> None:
        self.quotas = quotas
        self._store = store
        self._passwords = passwords or Passwords()
        self.logins = logins or Logins(store, self._passwords, lambda: asyncio.get_running_loop().time())
        self._token_life = token_life
        self._subscription_required = subscription_required

    async def first_start(self, at: datetime, *, name: str, password: str | None) -> FirstStart | None:
        """Makes the project `default` and its administrator if there are no users; None if there are."""
        if await self._store.accounts.users():
            return None
        chosen = password or generate()
        project = _project(FIRST_PROJECT, at)
        user = _user(name, project.project_id, at, account_admin=True)
        if not await self._store.accounts.first_start(project, user, await self._passwords.hash(chosen)):
            return None
        return FirstStart(project, user, chosen, generated=password is None)

    async def add_project(self, name: str, at: datetime) -> Project:
        """Makes a project; InvalidError, ConflictError if the name is taken."""
        project = _project(name, at)
        await self._store.accounts.add_project(project)
        return project

    async def projects(self, user: User) -> Sequence[Project]:
        """The projects that the user may enter."""
        return await self._store.accounts.projects_of(user.user_id)

    async def all_projects(self) -> Sequence[Project]:
        """For the command line."""
        return await self._store.accounts.projects()

    async def subscribe(self, project: Project, at: datetime) -> None:
        """AlreadySubscribedError if it has."""
        if not await self._store.accounts.subscribe(project.project_id, at):
            raise AlreadySubscribedError("the project has subscribed already")

    def check_subscribed(self, project: Project) -> None:
        """NotSubscribedError if the settings ask for a subscription and there is none."""
        if self._subscription_required and project.subscribed_at is None:
            raise NotSubscribedError("the project has not subscribed: POST its subscription first")

    async def used(self, project_id: str) -> dict[str, int]:
        """How much of each quota the project has used; minutes of access are those of active strategies."""
        streams, active = await self._store.streams.count(project_id)
        return {
            "stream": streams,
            "active_stream": active,
            "device": await self._store.devices.count(project_id),
            "password": await self._store.credentials.count(project_id),
            "aksk": await self._store.push_keys.count(project_id),
            **await self._store.strategies.used(project_id),
        }

    async def owner(self, project_id: str) -> User:
        """Whose project it is: its first user. NotFoundError."""
        owner = await self._store.accounts.owner(project_id)
        if owner is None:
            raise NotFoundError("user of project", project_id)
        return owner

    async def add_user(self, name: str, project_name: str, role: Role, password: str | None, at: datetime) -> str:
        """Makes a user and returns the password, random unless given. InvalidError, NotFoundError, ConflictError."""
        project = await self._project_named(project_name)
        chosen = chosen_password(password)
        user = _user(name, project.project_id, at)
        await self._store.accounts.add_user(user, role, await self._passwords.hash(chosen))
        return chosen

    async def users(self, project_id: str | None = None) -> Sequence[User]:
        """All, or those who may enter one project."""
        return await self._store.accounts.users(project_id)

    async def members(self, project_id: str | None = None) -> Sequence[Access]:
        """Who may do what in a project, or in all of them."""
        return await self._store.accounts.members(project_id)

    async def set_password(self, name: str, password: str | None) -> str:
        """Changes the password, random unless given; takes back the user's tokens, disables the keys.

        InvalidError, NotFoundError.
        """
        chosen = chosen_password(password)
        await self._store.accounts.set_password((await self._named(name)).user_id, await self._passwords.hash(chosen))
        return chosen

    async def set_role(self, name: str, project_name: str, role: Role, at: datetime) -> None:
        """Gives the user a role in the whole of a project. NotFoundError, ConflictError for the last administrator."""
        user, project = await self._named(name), await self._project_named(project_name)
        await self._store.members.put(user.user_id, project.project_id, role, None, at)

    async def shut_out(self, name: str, project_name: str) -> None:
        """Takes away the user's role in a project. NotFoundError, ConflictError for the last administrator."""
        user, project = await self._named(name), await self._project_named(project_name)
        await self._store.members.remove(user.user_id, project.project_id)

    async def set_enabled(self, name: str, enabled: bool) -> None:
        """Disabled, tokens are taken back and keys disabled. NotFoundError, ConflictError."""
        await self._store.members.set_enabled((await self._named(name)).user_id, enabled)

    async def set_account_admin(self, name: str, account_admin: bool) -> None:
        """NotFoundError, ConflictError for the last one."""
        await self._store.members.set_account_admin((await self._named(name)).user_id, account_admin)

    async def revoke_all(self, name: str) -> int:
        """Takes back all tokens of a user; returns how many. NotFoundError."""
        return await self._store.members.delete_tokens((await self._named(name)).user_id)

    async def delete_project(self, name: str) -> None:
        """NotFoundError, ConflictError unless it is empty."""
        await self._store.accounts.delete_project((await self._project_named(name)).project_id)

    async def delete_user(self, name: str) -> None:
        """NotFoundError; ConflictError for the last administrator of a project."""
        await self._store.members.delete_user((await self._named(name)).user_id)

    async def log_in(
        self,
        name: str,
        password: str,
        at: datetime,
        *,
        project_id: str | None = None,
        project_name: str | None = None,
        address: str = "",
    ) -> tuple[str, Token]:
        """A new token for the project of this id or name, which the user must have a role in; else for the user's own.

        Written into the audit log, whatever comes of it, but for those that are held up. LoginError for a wrong name or
        password, TooManyAttemptsError, ForbiddenError for a project that the user may not enter.
        """
        try:
            user = await self.logins.check(name, password, address)
        except LoginError:
            await self.logins.tell(at, name, address, user=None, project_id=None, error="VIS.0001")
            raise
        access = await self._store.accounts.access(user.user_id, project_id=project_id, project_name=project_name)
        if access is None:
            await self.logins.tell(at, name, address, user=user, project_id=user.project_id, error="VIS.0006")
            raise ForbiddenError("the user may not enter this project")
        await self.logins.tell(at, name, address, user=user, project_id=access.project.project_id)
        return await self._issue(access, at)

    async def lend(self, project_id: str, at: datetime) -> str:
        """A token of the first user who may operate the project, for commands that can read the database anyway.

        NotFoundError if there is no such user.
        """
        for user in await self._store.accounts.users(project_id):
            access = await self._store.accounts.access(user.user_id, project_id=project_id)
            if access is not None and access.role is not Role.VIEWER and access.groups is None:
                return (await self._issue(access, at))[0]
        raise NotFoundError("operator of project", project_id)

    async def _issue(self, access: Access, at: datetime) -> tuple[str, Token]:
        text = secrets.token_urlsafe(TOKEN_BYTES)
        token = Token(
            user=access.user,
            project=access.project,
            role=access.role,
            groups=access.groups,
            proof=token_proof(digest(text)),
            issued_at=at,
            expires_at=at + self._token_life,
        )
        await self._store.accounts.add_token(digest(text), token)
        return text, token

    async def verify(self, text: str, at: datetime) -> Token:
        """The token behind the text; TokenError."""
        token = await self._store.accounts.token(digest(text))
        if token is None or at >= token.expires_at:
            raise TokenError("the token is unknown, expired or taken back")
        return token

    async def revoke(self, text: str) -> None:
        """Takes a token back; TokenError if it is unknown."""
        if not await self._store.accounts.delete_token(digest(text)):
            raise TokenError("the token is unknown, expired or taken back")

    async def _project_named(self, name: str) -> Project:
        project = await self._store.accounts.project_named(name)
        if project is None:
            raise NotFoundError("project", name)
        return project

    async def _named(self, name: str) -> User:
        found = await self._store.accounts.user_named(name)
        if found is None:
            raise NotFoundError("user", name)
        return found[0]


def _project(name: str, at: datetime) -> Project:
    check_project_name(name)
    return Project(project_id=secrets.token_hex(16), name=name, created_at=at, subscribed_at=None, quotas={})


def _user(name: str, project_id: str, at: datetime, *, account_admin: bool = False) -> User:
    check_user_name(name)
    return User(
        user_id=secrets.token_hex(16), name=name, project_id=project_id, created_at=at, account_admin=account_admin
    )
