"""Access keys: making them, and letting in the requests that are signed with them."""

import secrets
import string
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from gateway.accounts import signing
from gateway.accounts.errors import ForbiddenError, SignatureError
from gateway.accounts.model import Access, AccessKey, User
from gateway.accounts.replay import SeenSignatures
from gateway.accounts.signing import Claim, SignedRequest
from gateway.store import Store
from gateway.text import check_description

KEYS_MAX: Final = 10
"""Of one user."""
KEY_LETTERS: Final = string.ascii_uppercase + string.digits
SECRET_LETTERS: Final = string.ascii_letters + string.digits
USED_STEP: Final = timedelta(minutes=1)
"""How exactly the last use of a key is kept: writing it at every request would cost a commit each."""


class AccessKeys:
    """Over the store; the time is given by the caller.

    A signature counts once. Those seen are kept in memory; after a restart everything signed before `started_at` is
    refused, and what was dated ahead of our clock is read back from the database, where it was put before it counted.
    """

    def __init__(self, store: Store, *, started_at: datetime) -> None:
        self._store = store
        self._started_at = started_at
        self._seen = SeenSignatures()

    async def load(self, at: datetime) -> None:
        """Reads back the signatures that could be used again; before the first request."""
        for signature, expires_at in await self._store.access_keys.remembered(at):
            self._seen.add(signature, expires_at, at)

    async def create(self, user: User, description: str, at: datetime) -> tuple[AccessKey, str]:
        """A new key and its secret, which cannot be asked for again. InvalidError, QuotaError."""
        check_description(description)
        key = AccessKey(
            key_id="AK" + _random(KEY_LETTERS, 18),
            user_id=user.user_id,
            description=description,
            enabled=True,
            created_at=at,
            last_used_at=None,
        )
        secret = _random(SECRET_LETTERS, 40)
        await self._store.access_keys.add(key, secret, quota=KEYS_MAX)
        return key, secret

    async def list(self, user: User) -> Sequence[AccessKey]:
        return await self._store.access_keys.of_user(user.user_id)

    async def change(self, user: User, key_id: str, *, enabled: bool | None, description: str | None) -> AccessKey:
        """InvalidError, NotFoundError if the user has no such key."""
        if description is not None:
            check_description(description)
        return await self._store.access_keys.change(user.user_id, key_id, enabled=enabled, description=description)

    async def delete(self, user: User, key_id: str) -> None:
        """NotFoundError if the user has no such key."""
        await self._store.access_keys.delete(user.user_id, key_id)

    async def begin(self, request: SignedRequest, at: datetime) -> tuple[Claim, AccessKey, str]:
        """Everything that can be checked before the body is there, so that strangers' bodies are not read.

        SignatureError, also for a key that is unknown or disabled.
        """
        claim = signing.read(request, at)
        if claim.date < self._started_at:
            raise SignatureError("the request was signed before this gateway started: sign it anew")
        found = await self._store.access_keys.usable(claim.key_id)
        if found is None:
            raise SignatureError("the access key is unknown or disabled")
        return claim, *found

    async def finish(
        self,
        begun: tuple[Claim, AccessKey, str],
        body_hash: str,
        *,
        is_empty: bool,
        project_id: str | None,
        at: datetime,
    ) -> Access:
        """Lets a request in, to this project or else to the user's own, once its body is there.

        SignatureError if the signature is wrong or was used before, ForbiddenError for a project that the user may
        not enter, UnavailableError if too many signatures must be remembered.
        """
        claim, key, secret = begun
        signing.verify(claim, secret, body_hash, is_empty=is_empty)
        expires_at = claim.date + signing.SKEW
        if at > expires_at:  # its body came so late that the signature may have been forgotten already
            raise SignatureError("the request aged out before its body was there")
        if not self._seen.add(claim.signature, expires_at, at):
            raise SignatureError("this signature was used before: sign each request anew")
        if claim.date > at:
            await self._store.access_keys.remember(claim.signature, expires_at, at)
        await note_use(self._store, key, at)
        access = await self._store.accounts.access(key.user_id, project_id=project_id)
        if access is None:
            raise ForbiddenError("the user may not enter this project")
        return replace(access, proof=f"key {key.key_id}")


async def note_use(store: Store, key: AccessKey, at: datetime) -> None:
    """Keeps that the key was used."""
    if key.last_used_at is None or at - key.last_used_at >= USED_STEP:
        await store.access_keys.touch(key.key_id, at)


def _random(letters: str, length: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(length))
