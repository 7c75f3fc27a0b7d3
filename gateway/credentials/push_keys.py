"""AK/SK credentials of a project, which RTMP streams are pushed with: the rules over the store."""

import base64
import re
import secrets
from datetime import datetime
from typing import Final

from gateway.accounts.model import Project
from gateway.accounts.quotas import Quotas
from gateway.credentials.errors import PushKeyExistsError, PushKeyInUseError
from gateway.credentials.model import PushKey
from gateway.errors import ConflictError, InvalidError, NotFoundError
from gateway.paging import Listing, Page
from gateway.store import PushKeyFilter, Store
from gateway.text import check_description

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
ACCESS_KEY_BYTES: Final = 20
"""160 bits, 32 letters and digits: it is found by chance no more than a secret is."""
SECRET_KEY_BYTES: Final = 40
"""320 bits, 64 letters and digits."""


class PushKeys:
    """Every call is for one project; what belongs to another is not found."""

    def __init__(self, store: Store, quotas: Quotas) -> None:
        self._store = store
        self._quotas = quotas

    async def create(self, project: Project, *, name: str, description: str, at: datetime) -> PushKey:
        """Makes a key; its secret is shown to nobody later. InvalidError, PushKeyExistsError, QuotaError."""
        _check_name(name)
        check_description(description)
        key = PushKey(
            access_key=_random(ACCESS_KEY_BYTES),
            project_id=project.project_id,
            name=name,
            secret_key=_random(SECRET_KEY_BYTES),
            description=description,
            created_at=at,
            updated_at=at,
        )
        try:
            await self._store.push_keys.add(key, quota=self._quotas.of(project, "aksk"))
        except ConflictError as error:
            raise PushKeyExistsError(f"the name {name} is taken") from error
        return key

    async def list(self, project_id: str, wanted: PushKeyFilter, page: Page | None) -> Listing[PushKey]:
        """InvalidError if it may not be sorted so."""
        return await self._store.push_keys.list(project_id, wanted, page)

    async def get(self, project_id: str, access_key: str) -> PushKey:
        """NotFoundError."""
        key = await self._store.push_keys.get(project_id, access_key)
        if key is None:
            raise NotFoundError("access key", access_key)
        return key

    async def update(
        self, project_id: str, access_key_or_name: str, *, name: str | None, description: str | None, at: datetime
    ) -> None:
        """Changes what is given; secrets never change. The key is known by its access key, or else by its name.

        InvalidError, PushKeyExistsError, NotFoundError.
        """
        if name is not None:
            _check_name(name)
        if description is not None:
            check_description(description)
        key = await self._store.push_keys.get(project_id, access_key_or_name)
        key = key or await self._store.push_keys.named(project_id, access_key_or_name)
        if key is None:
            raise NotFoundError("access key", access_key_or_name)
        try:
            await self._store.push_keys.update(project_id, key.access_key, at=at, name=name, description=description)
        except ConflictError as error:
            raise PushKeyExistsError(f"the name {name} is taken") from error

    async def delete(self, project_id: str, access_key: str) -> None:
        """NotFoundError; PushKeyInUseError while a stream is pushed with it."""
        try:
            await self._store.push_keys.delete(project_id, access_key)
        except ConflictError as error:
            raise PushKeyInUseError(f"streams are pushed with the key {access_key}") from error


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InvalidError("name", "1 to 32 letters, digits, - and _")


def _random(size: int) -> str:
    """Capital letters and the digits 2 to 7: nothing that a URL or an encoder's settings page would mangle."""
    return base64.b32encode(secrets.token_bytes(size)).decode().rstrip("=")
