"""Proofs by Digest that somebody has a secret, as players and encoders give them to RTSP (RFC 7616, RFC 2617).

The relay makes the challenges and sees to it that an answer counts once; here it is said whether the secret is right.
"""

import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from gateway.accounts.errors import ForbiddenError, SignatureError, TooManyAttemptsError
from gateway.accounts.keys import note_use
from gateway.accounts.login_limits import AddressLimits
from gateway.accounts.model import Access
from gateway.store import Store
from sip.digest import Algorithm, digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was sent, for a nonce that is good."""

    user: str
    realm: str
    nonce: str
    uri: str
    method: str
    algorithm: str
    response: str
    qop: str | None = None
    nc: str = ""
    cnonce: str = ""

    @classmethod
    def read(cls, detail: Mapping[str, str]) -> Self | None:
        """The proof that an event of the relay brings; None if it brings none."""
        if "user" not in detail:
            return None
        return cls(**{name: detail[name] for name in cls.__dataclass_fields__ if name in detail})

    def fits(self, secret: str) -> bool:
        """Whether it was made with this secret. The `-sess` forms were not asked for, and never fit."""
        try:
            algorithm = Algorithm(self.algorithm)
        except ValueError:
            return False
        right = digest(
            algorithm,
            username=self.user,
            realm=self.realm,
            password=secret,
            method=self.method,
            uri=self.uri,
            nonce=self.nonce,
            qop=self.qop,
            nc=self.nc,
            cnonce=self.cnonce,
        )
        return hmac.compare_digest(right.encode(), self.response.encode(errors="replace"))


@dataclass(slots=True)
class Attempt:
    """One proof that is checked."""

    failed: bool = False


class Attempts:
    """Slows those down who guess, by their addresses, as log-ins are; `now` gives monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._limits = AddressLimits()
        self._now = now

    @contextmanager
    def one(self, peer: str) -> Iterator[Attempt]:
        """Around the check of one proof that came from `peer` (host:port).

        TooManyAttemptsError if there were too many.
        """
        address = peer.rpartition(":")[0].strip("[]")
        wait = self._limits.wait(self._now(), address)
        if wait > 0:
            raise TooManyAttemptsError(wait)
        self._limits.begin(self._now(), address)
        attempt = Attempt()
        try:
            yield attempt
        finally:
            self._limits.end(self._now(), address, failed=attempt.failed)


class KeyProofs:
    """Proofs made with access keys: the user name is the key's id, the password its secret."""

    def __init__(self, store: Store, attempts: Attempts) -> None:
        self._store = store
        self._attempts = attempts

    async def access(self, proof: Proof, project_name: str, peer: str, at: datetime) -> Access:
        """What the key's user may do in the project.

        SignatureError for a key that is unknown or disabled, or another secret; ForbiddenError for a project that the
        user may not enter; TooManyAttemptsError.
        """
        with self._attempts.one(peer) as attempt:
            found = await self._store.access_keys.usable(proof.user)
            if found is None or not proof.fits(found[1]):
                attempt.failed = True
                raise SignatureError("the access key is unknown or disabled, or its secret is another")
        await note_use(self._store, found[0], at)
        access = await self._store.accounts.access(found[0].user_id, project_name=project_name)
        if access is None:
            raise ForbiddenError("the user may not enter this project")
        return access
