"""What administrators do about users, and everybody about themselves.

An administrator looks after the users of one project; an account administrator after all. A user who may enter another
project too, or who is an account administrator, is no business of a project's administrator beyond the role there:
whoever could set such a user's password could enter where the administrator may not.
"""

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from gateway.accounts.errors import ForbiddenError, LoginError, PasswordError
from gateway.accounts.logins import Logins
from gateway.accounts.model import Access, Role, TokenNote, User
from gateway.accounts.passwords import Passwords
from gateway.accounts.rules import check_user_name, chosen_password
from gateway.errors import InvalidError, NotFoundError
from gateway.store import Store

GROUPS_MAX: Final = 100
"""That one user is restricted to; each is a parameter of every question the user asks."""


class Users:
    """`by` is the administrator who asks, in the project that is meant."""

    def __init__(self, store: Store, passwords: Passwords, logins: Logins) -> None:
        self._store = store
        self._passwords = passwords
        self._logins = logins

    async def list(self, by: Access) -> Sequence[Access]:
        """Who may do what in the project."""
        return await self._store.accounts.members(by.project.project_id)

    async def get(self, by: Access, name: str) -> Access:
        """NotFoundError."""
        for member in await self._store.accounts.members(by.project.project_id, name=name):
            return member
        raise NotFoundError("user", name)

    async def add(
        self,
        by: Access,
        name: str,
        role: Role,
        *,
        groups: Collection[str] | None,
        password: str | None,
        at: datetime,
    ) -> tuple[Access, str]:
        """Makes a user of the project; returns the password too, random unless given.

        InvalidError, ConflictError if the name is taken, NotFoundError for an unknown group.
        """
        check_user_name(name)
        chosen, restriction = chosen_password(password), _restriction(role, groups)
        user = User(user_id=secrets.token_hex(16), name=name, project_id=by.project.project_id, created_at=at)
        await self._store.accounts.add_user(user, role, await self._passwords.hash(chosen), groups=restriction)
        return await self.get(by, name), chosen

    async def set_role(self, by: Access, name: str, role: Role, groups: Collection[str] | None, at: datetime) -> Access:
        """Gives a user this role in the project; `groups`: what to restrict the user to, None for nothing.

        A user of other projects is let in by an account administrator only. NotFoundError, InvalidError,
        ConflictError if the project's last administrator were none any more.
        """
        user = await self._let_in(by, name)
        await self._store.members.put(user.user_id, by.project.project_id, role, _restriction(role, groups), at)
        return await self.get(by, name)

    async def remove(self, by: Access, name: str) -> None:
        """Takes away the user's role in the project. NotFoundError, ConflictError for the last administrator."""
        member = await self.get(by, name)
        await self._store.members.remove(member.user.user_id, by.project.project_id)

    async def set_enabled(self, by: Access, name: str, enabled: bool) -> None:
        """Disabled, tokens are taken back and keys disabled. NotFoundError, ForbiddenError, ConflictError."""
        await self._store.members.set_enabled((await self._own(by, name)).user_id, enabled)

    async def set_password(self, by: Access, name: str, password: str | None) -> str:
        """Changes the password, random unless given; takes back tokens, disables keys.

        InvalidError, NotFoundError, ForbiddenError.
        """
        chosen = chosen_password(password)
        user = await self._own(by, name)
        await self._store.accounts.set_password(user.user_id, await self._passwords.hash(chosen))
        return chosen

    async def set_account_admin(self, by: Access, name: str, account_admin: bool) -> None:
        """ForbiddenError unless an account administrator asks; NotFoundError, ConflictError for the last one."""
        if not by.user.account_admin:
            raise ForbiddenError("only an account administrator makes another")
        await self._store.members.set_account_admin((await self._own(by, name)).user_id, account_admin)

    async def delete(self, by: Access, name: str) -> None:
        """NotFoundError, ForbiddenError, ConflictError for the last administrator."""
        await self._store.members.delete_user((await self._own(by, name)).user_id)

    async def tokens(self, by: Access, name: str, at: datetime) -> Sequence[TokenNote]:
        """NotFoundError, ForbiddenError."""
        return await self._store.members.tokens((await self._own(by, name)).user_id, at)

    async def revoke_tokens(self, by: Access, name: str) -> int:
        """Takes back all; returns how many. NotFoundError, ForbiddenError."""
        return await self._store.members.delete_tokens((await self._own(by, name)).user_id)

    # -- oneself ----------------------------------------------------------------------------------------------------

    async def own_tokens(self, user: User, at: datetime) -> Sequence[TokenNote]:
        return await self._store.members.tokens(user.user_id, at)

    async def revoke_own_token(self, user: User, token_id: str) -> None:
        """NotFoundError."""
        if not await self._store.members.delete_tokens(user.user_id, token_id):
            raise NotFoundError("token", token_id)

    async def change_own_password(self, user: User, password: str, new_password: str, address: str) -> None:
        """All tokens end, the one of the request too.

        InvalidError, PasswordError if `password` is not the present one, TooManyAttemptsError as at log-in.
        """
        chosen = chosen_password(new_password)
        try:
            await self._logins.check(user.name, password, address)
        except LoginError as error:
            raise PasswordError("the present password is another") from error
        await self._store.accounts.set_password(user.user_id, await self._passwords.hash(chosen))

    async def _let_in(self, by: Access, name: str) -> User:
        """A member, or, for an account administrator, anybody."""
        try:
            return (await self.get(by, name)).user
        except NotFoundError:
            found = await self._store.accounts.user_named(name) if by.user.account_admin else None
            if found is None:
                raise
            return found[0]

    async def _own(self, by: Access, name: str) -> User:
        """A user whom the administrator may do with as with one of the own."""
        user = await self._let_in(by, name)
        if by.user.account_admin:
            return user
        if user.account_admin or not await self._store.members.is_only_in(user.user_id, by.project.project_id):
            raise ForbiddenError("the user is not of this project alone: an account administrator may do this")
        return user


def _restriction(role: Role, groups: Collection[str] | None) -> frozenset[str] | None:
    if groups is None:
        return None
    if role is Role.ADMINISTRATOR:
        raise InvalidError("groups", "an administrator is not restricted to groups")
    if len(groups) > GROUPS_MAX:
        raise InvalidError("groups", f"at most {GROUPS_MAX}")
    return frozenset(groups)
