"""What everybody may know and do about themselves."""

import msgspec
from litestar import Controller, delete, get, put
from litestar.params import FromPath, JSONBody

from api.context import OWN, Authorised, Services, address
from api.operator.users import TokenList, token_list


class Place(msgspec.Struct, kw_only=True):
    project_id: str
    name: str


class Me(msgspec.Struct, kw_only=True):
    """`project` and what follows are those of the token, or that the signed request entered."""

    user_id: str
    name: str
    account_admin: bool
    project: Place
    role: str
    groups: list[str] | None
    projects: list[Place]


class PasswordChange(msgspec.Struct, kw_only=True):
    password: str
    """The present one."""
    new_password: str


class MeController(Controller):
    path = "/me"
    tags = ("oneself",)
    opt = OWN

    @get(summary="Who I am, and what I may do here")
    async def show(self, request: Authorised, gateway: Services) -> Me:
        access = request.auth
        projects = await gateway.accounts.projects(access.user)
        return Me(
            user_id=access.user.user_id,
            name=access.user.name,
            account_admin=access.user.account_admin,
            project=Place(project_id=access.project.project_id, name=access.project.name),
            role=access.role.value,
            groups=None if access.groups is None else sorted(access.groups),
            projects=[Place(project_id=one.project_id, name=one.name) for one in projects],
        )

    @put("/password", status_code=204, summary="Change my password; all my tokens end, my access keys are disabled")
    async def change_password(self, data: JSONBody[PasswordChange], request: Authorised, gateway: Services) -> None:
        await gateway.users.change_own_password(request.user, data.password, data.new_password, address(request.scope))

    @get("/tokens", summary="My tokens that are good")
    async def tokens(self, request: Authorised, gateway: Services) -> TokenList:
        return token_list(await gateway.users.own_tokens(request.user, gateway.clock()))

    @delete("/tokens/{token_id:str}", summary="Take back one of my tokens")
    async def revoke(self, token_id: FromPath[str], request: Authorised, gateway: Services) -> None:
        await gateway.users.revoke_own_token(request.user, token_id)
