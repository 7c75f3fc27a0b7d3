"""What the calls of the VIS API share: times, choices, lists."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar

import msgspec
from litestar.params import FromQuery

from gateway.errors import InvalidError
from gateway.paging import Page

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")
V = TypeVar("V")
OFFSET_MAX: Final = 100_000
LIMIT_MAX: Final = 1_000
CONVERTED_AT_ONCE: Final = 500


class Done(msgspec.Struct, kw_only=True):
    """What calls that change something answer."""

    result: str = "success"


def time(at: datetime) -> str:
    """As 2018-10-25T03:06:10Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def choice(kind: type[E], text: str, field: str) -> E:
    """The value of that name, without regard to case; InvalidError names what may be."""
    try:
        return kind(text.upper())
    except ValueError:
        raise InvalidError(field, f"one of {', '.join(kind)}") from None


async def each(values: Sequence[V], convert: Callable[[V], T]) -> list[T]:
    """Converts a list that may be very long, now and then letting others run."""
    converted: list[T] = []
    for start in range(0, len(values), CONVERTED_AT_ONCE):
        converted += map(convert, values[start : start + CONVERTED_AT_ONCE])
        await asyncio.sleep(0)
    return converted


def optional(kind: type[E], text: str | None, field: str) -> E | None:
    """As `choice`; what is absent or empty is None."""
    return choice(kind, text, field) if text else None


def truth(text: str | bool | None, field: str) -> bool | None:
    """TRUE or FALSE in any case; JSON's own true and false are taken too."""
    if text is None or isinstance(text, bool):
        return text
    try:
        return {"TRUE": True, "FALSE": False}[text.upper()]
    except KeyError:
        raise InvalidError(field, "TRUE or FALSE") from None


def flag(value: bool) -> str:
    """TRUE or FALSE."""
    return "TRUE" if value else "FALSE"


def page(
    offset: FromQuery[int | None] = None,
    limit: FromQuery[int | None] = None,
    sort: FromQuery[str | None] = None,
    order_by: FromQuery[str | None] = None,
) -> Page | None:
    """The part of a list that is asked for (§5).

    `offset` is the position of the first entry, counted from 1, and goes with `limit`; without both, everything is
    asked for and `sort` and `order_by` mean nothing. InvalidError.
    """
    return _page(offset, limit, sort, order_by, first=1)


def page_from_zero(
    offset: FromQuery[int | None] = None,
    limit: FromQuery[int | None] = None,
    sort: FromQuery[str | None] = None,
    order_by: FromQuery[str | None] = None,
) -> Page | None:
    """The same where an `offset` of 0 is allowed (§4.5): it means the first entry, as 1 does. InvalidError."""
    return _page(offset, limit, sort, order_by, first=0)


def _page(offset: int | None, limit: int | None, sort: str | None, order_by: str | None, *, first: int) -> Page | None:
    if offset is None and limit is None:
        return None
    if offset is None or not first <= offset <= OFFSET_MAX:
        raise InvalidError("offset", f"{first} to {OFFSET_MAX}, together with limit")
    if limit is None or not 1 <= limit <= LIMIT_MAX:
        raise InvalidError("limit", f"1 to {LIMIT_MAX}, together with offset")
    direction = (sort or "ASC").upper()
    if direction not in {"ASC", "DESC"}:
        raise InvalidError("sort", "ASC or DESC")
    order = (order_by or "created_at").lower()
    return Page(offset=max(offset - 1, 0), limit=limit, order_by=order, descending=direction == "DESC")
