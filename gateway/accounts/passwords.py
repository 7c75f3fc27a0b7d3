"""Passwords of users: argon2id, off the loop, a few at a time."""

import asyncio
import secrets
import string
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.errors import UnavailableError

AT_ONCE: Final = 2
"""Hashes computed together: each takes 64 MiB, and log-ins must not starve what else runs."""
WAITING_MAX: Final = 64
"""Log-ins that wait for one; more are refused, counted in `refused`."""
GENERATED_LENGTH: Final = 20
GENERATED_FROM: Final = "".join(sorted(set(string.ascii_letters + string.digits) - set("0OIl1")))
"""Nothing that is mistaken for something else, nor taken for an option by a shell."""


class Passwords:
    """Hashes and checks; an unknown user costs as long as a wrong password."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self.refused = 0
        self._hasher = hasher or PasswordHasher(type=Type.ID)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password: str, known: str | None) -> bool:
        """Whether `password` is the one behind the hash `known`; never for None. UnavailableError if too many wait."""
        if self._waiting >= WAITING_MAX:
            self.refused += 1
            raise UnavailableError("too many log-ins at once")
        self._waiting += 1
        try:
            if self._nobody is None:
                self._nobody = await self.hash(secrets.token_urlsafe())
            async with self._turn:
                right = await asyncio.to_thread(self._verify, known or self._nobody, password)
        finally:
            self._waiting -= 1
        return right and known is not None

    def _verify(self, known: str, password: str) -> bool:
        try:
            return self._hasher.verify(known, password)
        except (VerificationError, InvalidHashError):
            return False


def generate() -> str:
    """A random password of 20 characters that can be typed."""
    return "".join(secrets.choice(GENERATED_FROM) for _ in range(GENERATED_LENGTH))
