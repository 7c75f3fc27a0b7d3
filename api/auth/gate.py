"""Lets a request in by its token or signature, into one project only."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from api.auth.recorder import READING
from api.auth.signature import Bodies, again, digest, received
from api.errors import NoTokenError, ProjectIdError
from api.services import Gateway
from gateway.accounts.errors import AccountsAwayError, AnotherProjectError, ForbiddenError
from gateway.accounts.model import Access, Role
from gateway.accounts.signing import is_signed
from gateway.errors import UnavailableError

PROJECT_ID: Final = re.compile(r"[0-9a-f]{32}")
TOKEN_MAX: Final = 4096


class Gate(ASGIMiddleware):
    """Puts what the caller may do into the scope as `auth`, the user as `user`; a viewer only reads.

    With a project in the path it must be the token's; a signed request enters that project, or the one that
    X-Project-Id names, or else the user's own. `subscribed`: the project must have subscribed, where the settings ask
    for that. Options of handlers (`api.context`): `without_token` ones are open to everybody, `OWN` ones to viewers
    too, those that `needs` a role only to users who have it. A user who is restricted to some devices gets only to
    handlers with the option `SCOPED`: they promise to ask for nothing but what is in `request.auth.scope`. What
    somebody forgets to say so of is shut, not open.
    """

    scopes = (ScopeType.HTTP,)
    exclude_opt_key = "without_token"

    def __init__(self, gateway: Gateway, *, subscribed: bool = False) -> None:
        self._gateway = gateway
        self._subscribed = subscribed
        self._bodies = Bodies()

    def __deepcopy__(self, _memo: object) -> Self:
        """The framework copies what it is given; the gateway must stay the one."""
        return self

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        headers = Headers.from_scope(scope)
        token, authorization = headers.get("x-auth-token"), headers.get("authorization", "")
        if not token and not is_signed(authorization):
            raise NoTokenError("the request carries no X-Auth-Token and is not signed")
        project_id = _project_id(scope, headers)
        access: Access
        if token:
            with _looking_up():
                access = await self._gateway.accounts.verify(token[:TOKEN_MAX], self._gateway.clock())
        else:
            access, receive = await self._signed(scope, receive, project_id)
        scope["auth"], scope["user"] = access, access.user  # whatever is refused now, the audit log knows who asked
        if project_id not in {None, access.project.project_id}:
            raise ForbiddenError("the token is for another project")
        self._check(scope, access)
        await next_app(scope, receive, send)

    async def _signed(self, scope: Scope, receive: Receive, project_id: str | None) -> tuple[Access, Receive]:
        keys = self._gateway.keys
        with _looking_up():
            begun = await keys.begin(received(scope), self._gateway.clock())
        body = await self._bodies.read(receive)
        with _looking_up():
            access = await keys.finish(
                begun, digest(body), is_empty=not body, project_id=project_id, at=self._gateway.clock()
            )
        return access, again(body, receive)

    def _check(self, scope: Scope, access: Access) -> None:
        option: dict[str, Any] = scope["route_handler"].opt
        needed = option.get("needs", Role.VIEWER)
        if not access.role.includes(needed):
            raise ForbiddenError(f"only users who are {needed} of the project may do this")
        if access.role is Role.VIEWER and scope.get("method") not in READING and not option.get("own"):
            raise ForbiddenError("a viewer may only read")
        if access.scope.is_restricted and not (option.get("scoped") or option.get("own")):
            raise ForbiddenError("this is for users of the whole project; the user is restricted to some devices")
        if self._subscribed and not scope["path"].endswith("/subscription"):
            self._gateway.accounts.check_subscribed(access.project)


@contextmanager
def _looking_up() -> Iterator[None]:
    """AccountsAwayError for what is down meanwhile: it is told apart from what the request itself would need."""
    try:
        yield
    except UnavailableError as error:
        raise AccountsAwayError(str(error)) from error


def _project_id(scope: Scope, headers: Headers) -> str | None:
    """The project that is asked for, by the path or by X-Project-Id."""
    in_path, in_header = scope["path_params"].get("project_id"), headers.get("x-project-id") or None
    for project_id in (in_path, in_header):
        if project_id is not None and not PROJECT_ID.fullmatch(str(project_id)):
            raise ProjectIdError("a project id has 32 hexadecimal digits")
    if in_path is not None and in_header not in {None, in_path}:
        raise AnotherProjectError("X-Project-Id and the path name different projects")
    return in_path or in_header
