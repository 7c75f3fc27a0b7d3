"""The audit log, for administrators."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from litestar import Controller, get
from litestar.params import FromQuery

from api.context import Authorised, Services, needs
from api.operator.paging import Before, Limit
from gateway.accounts.model import Role
from gateway.audit.entry import Entry
from gateway.errors import InvalidError
from gateway.store import AuditFilter


class EntryView(msgspec.Struct, kw_only=True):
    """`error` is empty for what was done, else the code it was refused with. `status` is null for commands."""

    number: int
    at: datetime
    project_id: str | None
    user_id: str | None
    user_name: str
    proof: str
    address: str
    call: str
    target: Mapping[str, Any]
    changes: Mapping[str, Any]
    status: int | None
    error: str
    request_id: str


class AuditList(msgspec.Struct, kw_only=True):
    """Newest first; `next` continues as `before`."""

    entries: list[EntryView]
    next: int | None


class AuditController(Controller):
    path = "/audit"
    tags = ("audit",)
    opt = needs(Role.ADMINISTRATOR)

    @get(summary="Who changed what, and who logged in")
    async def index(
        self,
        request: Authorised,
        gateway: Services,
        user: FromQuery[str | None] = None,
        call: FromQuery[str | None] = None,
        target: FromQuery[str | None] = None,
        since: FromQuery[datetime | None] = None,
        until: FromQuery[datetime | None] = None,
        outcome: FromQuery[Literal["done", "refused"] | None] = None,
        everywhere: FromQuery[bool] = False,
        before: Before = None,
        limit: Limit = 100,
    ) -> AuditList:
        """Of the project; `everywhere`, for an account administrator, of all and of strangers.

        `user` is a name, `call` a part of method and path, `target` a part of what it was about, such as an id.
        """
        wanted = AuditFilter(
            user_name=user or None,
            call=call or None,
            target=target or None,
            since=_aware(since, "since"),
            until=_aware(until, "until"),
            done=None if outcome is None else outcome == "done",
        )
        found = await gateway.audit.list(request.auth, wanted, everywhere=everywhere, before=before, limit=limit)
        entries = [_view(number, entry) for number, entry in found]
        return AuditList(entries=entries, next=entries[-1].number if len(entries) == limit else None)


def _aware(at: datetime | None, field: str) -> datetime | None:
    """A time without a zone is UTC. InvalidError for what is no time on the calendar everywhere."""
    try:
        return None if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise InvalidError(field, "a time") from None


def _view(number: int, entry: Entry) -> EntryView:
    return EntryView(
        number=number,
        at=entry.at.astimezone(UTC),
        project_id=entry.project_id,
        user_id=entry.user_id,
        user_name=entry.user_name,
        proof=entry.proof,
        address=entry.address,
        call=entry.call,
        target=entry.target,
        changes=entry.changes,
        status=entry.status,
        error=entry.error,
        request_id=entry.request_id,
    )
