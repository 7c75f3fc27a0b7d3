"""GB28181 credentials (§4.4.1 to §4.4.4)."""

from typing import Annotated

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter, SkipValidation

from api.context import Authorised, Services
from api.vis.common import Done, choice, optional, time
from gateway.credentials.model import Credential, CredentialType
from gateway.paging import Page
from gateway.store import CredentialFilter


class NewCredential(msgspec.Struct, kw_only=True):
    password: str
    username: str | None = None
    """1 to 32 letters and digits; ignored for ANONYMOUS."""
    type: str | None = None
    """NORMAL or ANONYMOUS."""
    description: str | None = None


class CredentialChange(msgspec.Struct, kw_only=True):
    password: str | None = None
    """The present one, needed to change it."""
    new_password: str | None = None
    description: str | None = None


class CredentialBody(msgspec.Struct, kw_only=True):
    username: str
    description: str
    type: str
    created_at: str
    updated_at: str


class CredentialPage(msgspec.Struct, kw_only=True):
    total: int
    entries: list[CredentialBody]


class CredentialController(Controller):
    path = "/{project_id:str}/credentials/codes"
    tags = ("credentials",)

    @post(status_code=200, summary="Create a GB28181 credential")
    async def create(
        self, project_id: FromPath[str], data: JSONBody[NewCredential], request: Authorised, gateway: Services
    ) -> CredentialBody:
        credential = await gateway.credentials.create(
            request.auth.project,
            username=data.username,
            type_=choice(CredentialType, data.type or "NORMAL", "type"),
            password=data.password,
            description=data.description or "",
            at=gateway.clock(),
        )
        return _body(credential)

    @get(summary="List GB28181 credentials")
    async def index(
        self,
        project_id: FromPath[str],
        gateway: Services,
        page: NamedDependency[SkipValidation[Page | None]],
        username: FromQuery[str | None] = None,
        type_: Annotated[str | None, QueryParameter(name="type")] = None,
    ) -> CredentialPage | list[CredentialBody]:
        wanted = CredentialFilter(username=username or None, type=optional(CredentialType, type_, "type"))
        listing = await gateway.credentials.list(project_id, wanted, page)
        entries = [_body(credential) for credential in listing.entries]
        return entries if page is None else CredentialPage(total=listing.total, entries=entries)

    @put("/{username:str}", summary="Change description or password of a GB28181 credential")
    async def update(
        self, project_id: FromPath[str], username: FromPath[str], data: JSONBody[CredentialChange], gateway: Services
    ) -> Done:
        await gateway.credentials.update(
            project_id,
            username,
            password=data.password,
            new_password=data.new_password,
            description=data.description,
            at=gateway.clock(),
        )
        return Done()

    @delete("/{username:str}", status_code=200, summary="Delete a GB28181 credential")
    async def remove(self, project_id: FromPath[str], username: FromPath[str], gateway: Services) -> Done:
        await gateway.credentials.delete(project_id, username)
        return Done()


def _body(credential: Credential) -> CredentialBody:
    return CredentialBody(
        username=credential.username,
        description=credential.description,
        type=credential.type.value,
        created_at=time(credential.created_at),
        updated_at=time(credential.updated_at),
    )
