"""What part of a list is asked for, and what is given back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a sorted list; `offset` counts the entries left out before it."""

    offset: int
    limit: int
    order_by: str = "created_at"
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """The entries asked for, and how many there are in all."""

    total: int
    entries: Sequence[T]
