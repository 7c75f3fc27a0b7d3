"""AK/SK credentials, which RTMP streams are pushed with (§4.4.5 to §4.4.8)."""

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, SkipValidation

from api.context import Authorised, Services
from api.vis.common import Done, time
from gateway.credentials.model import PushKey
from gateway.paging import Page
from gateway.store import PushKeyFilter


class NewPushKey(msgspec.Struct, kw_only=True):
    name: str
    """1 to 32 letters, digits, - and _."""
    description: str | None = None


class PushKeyChange(msgspec.Struct, kw_only=True):
    name: str | None = None
    description: str | None = None
    also: str | None = msgspec.field(name="Description", default=None)
    """The same, as the document's table spells it."""


class PushKeyBody(msgspec.Struct, kw_only=True):
    name: str
    access_key: str
    description: str
    created_at: str
    updated_at: str


class CreatedPushKey(PushKeyBody, kw_only=True):
    secret_key: str
    """Shown this once."""


class PushKeyPage(msgspec.Struct, kw_only=True):
    total: int
    entries: list[PushKeyBody]


class PushKeyController(Controller):
    path = "/{project_id:str}/credentials/aksks"
    tags = ("credentials",)

    @post(status_code=200, summary="Create an AK/SK credential")
    async def create(
        self, project_id: FromPath[str], data: JSONBody[NewPushKey], request: Authorised, gateway: Services
    ) -> CreatedPushKey:
        key = await gateway.push_keys.create(
            request.auth.project, name=data.name, description=data.description or "", at=gateway.clock()
        )
        return CreatedPushKey(**msgspec.structs.asdict(_body(key)), secret_key=key.secret_key)

    @get(summary="List AK/SK credentials")
    async def index(
        self,
        project_id: FromPath[str],
        gateway: Services,
        page: NamedDependency[SkipValidation[Page | None]],
        name: FromQuery[str | None] = None,
        access_key: FromQuery[str | None] = None,
    ) -> PushKeyPage | list[PushKeyBody]:
        """Secret keys are not told again."""
        wanted = PushKeyFilter(name=name or None, access_key=access_key or None)
        listing = await gateway.push_keys.list(project_id, wanted, page)
        entries = [_body(key) for key in listing.entries]
        return entries if page is None else PushKeyPage(total=listing.total, entries=entries)

    @put("/{access_key:str}", summary="Change name or description of an AK/SK credential")
    async def update(
        self, project_id: FromPath[str], access_key: FromPath[str], data: JSONBody[PushKeyChange], gateway: Services
    ) -> Done:
        """Also by its present name in place of the access key."""
        description = data.also if data.description is None else data.description
        await gateway.push_keys.update(
            project_id, access_key, name=data.name, description=description, at=gateway.clock()
        )
        return Done()

    @delete("/{access_key:str}", summary="Delete an AK/SK credential")
    async def remove(self, project_id: FromPath[str], access_key: FromPath[str], gateway: Services) -> None:
        """204; refused while a stream is pushed with it."""
        await gateway.push_keys.delete(project_id, access_key)


def _body(key: PushKey) -> PushKeyBody:
    return PushKeyBody(
        name=key.name,
        access_key=key.access_key,
        description=key.description,
        created_at=time(key.created_at),
        updated_at=time(key.updated_at),
    )
