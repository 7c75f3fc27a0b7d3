"""Lets a request in by its token, into its own project only."""

import re
from typing import Final, Self

from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from api.errors import NoTokenError, ProjectIdError
from api.services import Gateway
from gateway.accounts.errors import ForbiddenError
from gateway.accounts.model import Access, Role

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
PROJECT_ID: Final = re.compile(r"[0-9a-f]{32}")
TOKEN_MAX: Final = 4096


class Gate(ASGIMiddleware):
    """Puts what the caller may do into the scope as `auth`, the user as `user`; a viewer only reads.

    With a project in the path it must be the token's. `subscribed`: the project must have subscribed, where the
    settings ask for that. Handlers with the option `without_token` are open to everybody. A user who is restricted to
    some devices gets only to handlers with the option `SCOPED`: they promise to ask for nothing but what is in
    `request.auth.scope`. What somebody forgets to say so of is shut, not open.
    """

    scopes = (ScopeType.HTTP,)
    exclude_opt_key = "without_token"

    def __init__(self, gateway: Gateway, *, subscribed: bool = False) -> None:
        self._gateway = gateway
        self._subscribed = subscribed

    def __deepcopy__(self, _memo: object) -> Self:
        """The framework copies what it is given; the gateway must stay the one."""
        return self

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        access = await self._access(Headers.from_scope(scope).get("x-auth-token"))
        self._check(scope, access)
        scope["auth"], scope["user"] = access, access.user
        await next_app(scope, receive, send)

    async def _access(self, text: str | None) -> Access:
        if not text:
            raise NoTokenError("the request carries no X-Auth-Token")
        return await self._gateway.accounts.verify(text[:TOKEN_MAX], self._gateway.clock())

    def _check(self, scope: Scope, access: Access) -> None:
        project_id = scope["path_params"].get("project_id")
        if project_id is not None:
            if not PROJECT_ID.fullmatch(str(project_id)):
                raise ProjectIdError("a project id has 32 hexadecimal digits")
            if project_id != access.project.project_id:
                raise ForbiddenError("the token is for another project")
        if access.role is Role.VIEWER and scope.get("method") not in READING:
            raise ForbiddenError("a viewer may only read")
        if access.scope.is_restricted and not scope["route_handler"].opt.get("scoped"):
            raise ForbiddenError("this is for users of the whole project; the user is restricted to some devices")
        if self._subscribed and not scope["path"].endswith("/subscription"):
            self._gateway.accounts.check_subscribed(access.project)
