"""Passwords at the door: checked, slowed where they are wrong, and written down."""

from collections.abc import Callable
from datetime import datetime

import structlog

from gateway.accounts.errors import LoginError, TooManyAttemptsError
from gateway.accounts.login_limits import LoginLimits
from gateway.accounts.model import User
from gateway.accounts.passwords import Passwords
from gateway.audit.entry import Entry
from gateway.store import Store

log = structlog.get_logger(__name__)

CALL = "POST /v3/auth/tokens"
NAME_MAX = 64


class Logins:
    """`now` is monotonic seconds."""

    def __init__(self, store: Store, passwords: Passwords, now: Callable[[], float]) -> None:
        self.limits = LoginLimits()
        self._store = store
        self._passwords = passwords
        self._now = now

    @property
    def busy(self) -> int:
        """Log-ins that were refused because too many waited for their passwords to be checked."""
        return self._passwords.refused

    async def check(self, name: str, password: str, address: str) -> User:
        """The user, if this is the password; LoginError, TooManyAttemptsError, UnavailableError if too many wait."""
        name = name[: NAME_MAX + 1]
        wait = self.limits.wait(self._now(), name, address)
        if wait > 0:
            log.info("log-in held up", user=name, address=address, seconds=round(wait, 1))
            raise TooManyAttemptsError(wait)
        self.limits.begin(self._now(), name, address)
        failed = False
        try:
            found = await self._store.accounts.user_named(name)
            right = await self._passwords.verify(password, found[1] if found else None)
            failed = not right or found is None or not found[0].enabled
        finally:
            self.limits.end(self._now(), name, address, failed=failed)
        if failed or found is None:
            raise LoginError("the user name or the password is wrong")
        return found[0]

    async def tell(
        self, at: datetime, name: str, address: str, *, user: User | None, project_id: str | None, error: str = ""
    ) -> None:
        """Writes a log-in down, durably. Of a failed one the project is that of the user, if there is such a user."""
        if user is None:
            found = await self._store.accounts.user_named(name[: NAME_MAX + 1])
            project_id = found[0].project_id if found else None
        context = structlog.contextvars.get_contextvars()
        await self._store.audit.append(
            Entry(
                at=at,
                project_id=project_id,
                user_id=user.user_id if user else None,
                user_name=name,
                proof="password",
                address=address,
                call=CALL,
                status=None,
                error=error,
                request_id=str(context.get("request_id", "")),
            )
        )
