"""Access keys of the caller, to sign requests with (not those for RTMP pushes, which are a project's)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.params import FromPath, JSONBody

from api.context import OWN, Authorised, Services
from gateway.accounts.model import AccessKey


class KeyView(msgspec.Struct, kw_only=True):
    access_key: str
    description: str
    enabled: bool
    created_at: datetime
    last_used_at: datetime | None
    """To the minute."""


class NewKeyView(KeyView, kw_only=True):
    secret_key: str
    """Shown this once."""


class KeyList(msgspec.Struct, kw_only=True):
    access_keys: Sequence[KeyView]


class NewKey(msgspec.Struct, kw_only=True):
    description: str = ""


class KeyChange(msgspec.Struct, kw_only=True):
    enabled: bool | None = None
    description: str | None = None


class AccessKeyController(Controller):
    path = "/access-keys"
    tags = ("access keys",)
    opt = OWN

    @post(status_code=201, summary="Make an access key; its secret is in this answer only")
    async def create(self, data: JSONBody[NewKey], request: Authorised, gateway: Services) -> NewKeyView:
        key, secret = await gateway.keys.create(request.user, data.description, gateway.clock())
        return NewKeyView(**_fields(key), secret_key=secret)

    @get(summary="The caller's access keys")
    async def index(self, request: Authorised, gateway: Services) -> KeyList:
        return KeyList(access_keys=[KeyView(**_fields(key)) for key in await gateway.keys.list(request.user)])

    @put("/{access_key:str}", summary="Disable or enable an access key, or describe it anew")
    async def change(
        self, access_key: FromPath[str], data: JSONBody[KeyChange], request: Authorised, gateway: Services
    ) -> KeyView:
        changed = await gateway.keys.change(
            request.user, access_key, enabled=data.enabled, description=data.description
        )
        return KeyView(**_fields(changed))

    @delete("/{access_key:str}", summary="Delete an access key")
    async def remove(self, access_key: FromPath[str], request: Authorised, gateway: Services) -> None:
        await gateway.keys.delete(request.user, access_key)


def _fields(key: AccessKey) -> dict[str, Any]:
    return {
        "access_key": key.key_id,
        "description": key.description,
        "enabled": key.enabled,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
    }
