"""Tokens and projects, as clients of Keystone v3 expect them."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.params import JSONBody

from api.context import OWN, Authorised, Services, address
from gateway.accounts.model import Project, Token
from gateway.errors import InvalidError

DOMAIN = "default"
"""The one account that every user belongs to."""


class Named(msgspec.Struct, kw_only=True):
    """A domain or project, by name or id."""

    id: str | None = None
    name: str | None = None


class PasswordUser(msgspec.Struct, kw_only=True):
    """Who logs in."""

    name: str
    password: str
    domain: Named | None = None


class Password(msgspec.Struct, kw_only=True):
    user: PasswordUser


class Identity(msgspec.Struct, kw_only=True):
    password: Password
    methods: list[str] = msgspec.field(default_factory=lambda: ["password"])


class Scope(msgspec.Struct, kw_only=True):
    """Left out, or only a domain: the user's own project."""

    project: Named | None = None
    domain: Named | None = None


class Auth(msgspec.Struct, kw_only=True):
    identity: Identity
    scope: Scope | None = None


class TokenRequest(msgspec.Struct, kw_only=True):
    auth: Auth
    scope: Scope | None = None
    """Beside `auth`, as an example of the VIS API has it (§3.1); the one within counts first."""


class Reference(msgspec.Struct, kw_only=True):
    id: str
    name: str


class Scoped(msgspec.Struct, kw_only=True):
    """A user or project within the account."""

    id: str
    name: str
    domain: Reference


class TokenBody(msgspec.Struct, kw_only=True):
    methods: list[str]
    issued_at: str
    expires_at: str
    project: Scoped
    user: Scoped
    roles: list[Reference]
    catalog: list[str]


class TokenAnswer(msgspec.Struct, kw_only=True):
    token: TokenBody


class ProjectLinks(msgspec.Struct, kw_only=True):
    self_: str = msgspec.field(name="self")
    next: str | None = None
    previous: str | None = None


class ProjectBody(msgspec.Struct, kw_only=True):
    id: str
    name: str
    description: str
    domain_id: str
    parent_id: str
    is_domain: bool
    enabled: bool
    links: ProjectLinks


class Projects(msgspec.Struct, kw_only=True):
    projects: list[ProjectBody]
    links: ProjectLinks


class KeystoneController(Controller):
    path = "/v3"
    tags = ("authentication",)

    @post("/auth/tokens", status_code=201, summary="Log in with name and password", opt={"without_token": True})
    async def log_in(
        self, data: JSONBody[TokenRequest], request: Request[Any, Any, State], gateway: Services
    ) -> Response[TokenAnswer]:
        identity, scope = data.auth.identity, data.auth.scope or data.scope
        if "password" not in identity.methods:
            raise InvalidError("auth.identity.methods", "only password is known")
        project = scope.project if scope else None
        text, token = await gateway.accounts.log_in(
            identity.password.user.name,
            identity.password.user.password,
            gateway.clock(),
            project_id=project.id if project else None,
            project_name=project.name if project else None,
            address=address(request.scope),
        )
        return Response(TokenAnswer(token=_token(token)), headers={"X-Subject-Token": text})

    @delete("/auth/tokens", status_code=204, summary="Take a token back", opt=OWN)
    async def revoke(self, request: Authorised, gateway: Services) -> None:
        """X-Subject-Token names the token; without it, the one of the request."""
        subject = request.headers.get("x-subject-token") or request.headers.get("x-auth-token")
        if not subject:
            raise InvalidError("X-Subject-Token", "needed where the request is signed")
        found = await gateway.accounts.verify(subject, gateway.clock())
        if found.user.user_id != request.user.user_id:
            raise InvalidError("X-Subject-Token", "a token of your own")
        await gateway.accounts.revoke(subject)

    @get(["/projects", "/auth/projects"], summary="The projects of the token's user", opt=OWN)
    async def projects(self, request: Authorised, gateway: Services) -> Projects:
        projects = await gateway.accounts.projects(request.user)
        return Projects(projects=[_project(project) for project in projects], links=ProjectLinks(self_="/v3/projects"))


def _token(token: Token) -> TokenBody:
    account = Reference(id=DOMAIN, name=DOMAIN)
    return TokenBody(
        methods=["password"],
        issued_at=_time(token.issued_at),
        expires_at=_time(token.expires_at),
        project=Scoped(id=token.project.project_id, name=token.project.name, domain=account),
        user=Scoped(id=token.user.user_id, name=token.user.name, domain=account),
        roles=[Reference(id=token.role.value, name=token.role.value)],
        catalog=[],
    )


def _project(project: Project) -> ProjectBody:
    return ProjectBody(
        id=project.project_id,
        name=project.name,
        description="",
        domain_id=DOMAIN,
        parent_id=DOMAIN,
        is_domain=False,
        enabled=True,
        links=ProjectLinks(self_=f"/v3/projects/{project.project_id}"),
    )


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
