"""Users of the project, for its administrators."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, UnsetType

from api.context import Authorised, Services, needs
from api.services import Gateway
from gateway.accounts.model import Access, Role, TokenNote
from gateway.errors import InvalidError


class UserView(msgspec.Struct, kw_only=True):
    """A user as one project sees it. `own`: the user belongs to this project, and is not only let in."""

    user_id: str
    name: str
    role: str
    groups: list[str] | None
    """Ids of the device groups that the user is restricted to; null: all devices."""
    enabled: bool
    account_admin: bool
    own: bool
    created_at: datetime


class UserList(msgspec.Struct, kw_only=True):
    users: list[UserView]


class NewUser(msgspec.Struct, kw_only=True):
    name: str
    role: str
    """administrator, operator or viewer."""
    groups: list[str] | None = None
    password: str | None = None
    """8 to 128 characters; random, and in the answer, unless given."""


class NewUserView(UserView, kw_only=True):
    password: str | UnsetType = UNSET
    """If it was made up: shown this once."""


class UserChange(msgspec.Struct, kw_only=True):
    """What is left out stays. `groups` null lifts the restriction; with `role` alone the groups stay."""

    role: str | UnsetType = UNSET
    groups: list[str] | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    account_admin: bool | UnsetType = UNSET


class NewPassword(msgspec.Struct, kw_only=True):
    password: str | None = None
    """Random, and in the answer, unless given."""


class PasswordView(msgspec.Struct, kw_only=True):
    password: str | UnsetType = UNSET


class TokenView(msgspec.Struct, kw_only=True):
    token_id: str
    project: str
    issued_at: datetime
    expires_at: datetime


class TokenList(msgspec.Struct, kw_only=True):
    tokens: list[TokenView]


class UserController(Controller):
    path = "/users"
    tags = ("users",)
    opt = needs(Role.ADMINISTRATOR)

    @get(summary="Who may do what in the project")
    async def index(self, request: Authorised, gateway: Services) -> UserList:
        return UserList(users=[_view(request.auth, member) for member in await gateway.users.list(request.auth)])

    @post(status_code=201, summary="Make a user of the project")
    async def create(self, data: JSONBody[NewUser], request: Authorised, gateway: Services) -> NewUserView:
        member, password = await gateway.users.add(
            request.auth,
            data.name,
            role(data.role),
            groups=data.groups,
            password=data.password,
            at=gateway.clock(),
        )
        view = _view(request.auth, member)
        shown = password if data.password is None else UNSET
        return NewUserView(**msgspec.structs.asdict(view), password=shown)

    @get("/{name:str}", summary="A user of the project")
    async def show(self, name: FromPath[str], request: Authorised, gateway: Services) -> UserView:
        return _view(request.auth, await gateway.users.get(request.auth, name))

    @put("/{name:str}", summary="Change role, groups or standing of a user; let in a user of another project")
    async def change(
        self, name: FromPath[str], data: JSONBody[UserChange], request: Authorised, gateway: Services
    ) -> UserView:
        """An account administrator lets in users of other projects, by giving them a role here."""
        if data.role is not UNSET or data.groups is not UNSET:
            await _set_role(gateway, request.auth, name, data)
        if data.account_admin is not UNSET:
            await gateway.users.set_account_admin(request.auth, name, data.account_admin)
        if data.enabled is not UNSET:
            await gateway.users.set_enabled(request.auth, name, data.enabled)
        return _view(request.auth, await gateway.users.get(request.auth, name))

    @delete("/{name:str}", summary="Delete a user with tokens and access keys")
    async def remove(self, name: FromPath[str], request: Authorised, gateway: Services) -> None:
        await gateway.users.delete(request.auth, name)

    @delete("/{name:str}/role", summary="Let a user into the project no longer")
    async def shut_out(self, name: FromPath[str], request: Authorised, gateway: Services) -> None:
        await gateway.users.remove(request.auth, name)

    @put("/{name:str}/password", summary="Give a user a new password; tokens end, access keys are disabled")
    async def set_password(
        self, name: FromPath[str], data: JSONBody[NewPassword], request: Authorised, gateway: Services
    ) -> PasswordView:
        password = await gateway.users.set_password(request.auth, name, data.password)
        return PasswordView(password=password if data.password is None else UNSET)

    @get("/{name:str}/tokens", summary="Tokens of a user that are good")
    async def tokens(self, name: FromPath[str], request: Authorised, gateway: Services) -> TokenList:
        return token_list(await gateway.users.tokens(request.auth, name, gateway.clock()))

    @delete("/{name:str}/tokens", summary="Take back all tokens of a user")
    async def revoke(self, name: FromPath[str], request: Authorised, gateway: Services) -> None:
        await gateway.users.revoke_tokens(request.auth, name)


async def _set_role(gateway: Gateway, by: Access, name: str, data: UserChange) -> None:
    """What is not given stays as it is; who is not in the project yet needs a role."""
    present = next((one for one in await gateway.users.list(by) if one.user.name == name), None)
    if data.role is not UNSET:
        wanted = role(data.role)
    elif present is not None:
        wanted = present.role
    else:
        raise InvalidError("role", "needed to let a user in")
    if data.groups is not UNSET:
        groups = data.groups
    else:
        groups = None if present is None or present.groups is None else list(present.groups)
    await gateway.users.set_role(by, name, wanted, groups, gateway.clock())


def role(text: str) -> Role:
    """InvalidError."""
    try:
        return Role(text.lower())
    except ValueError:
        raise InvalidError("role", f"one of {', '.join(Role)}") from None


def token_list(tokens: Sequence[TokenNote]) -> TokenList:
    return TokenList(
        tokens=[
            TokenView(
                token_id=token.token_id,
                project=token.project_name,
                issued_at=token.issued_at,
                expires_at=token.expires_at,
            )
            for token in tokens
        ]
    )


def _view(by: Access, member: Access) -> UserView:
    return UserView(
        user_id=member.user.user_id,
        name=member.user.name,
        role=member.role.value,
        groups=None if member.groups is None else sorted(member.groups),
        enabled=member.user.enabled,
        account_admin=member.user.account_admin,
        own=member.user.project_id == by.project.project_id,
        created_at=member.user.created_at,
    )
