"""Reads the fields of an element leniently: what makes no sense is absent and counted, never fatal, never zero."""

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from gateway.gb28181.dates import DateError, format_time, parse_time
from gateway.gb28181.ids import is_identity
from gateway.gb28181.markup import Element

NAME_MAX: Final = 255
"""Characters kept of a text field."""
_EMPTY: Final = frozenset({"null", "(null)", "none"})
_ON: Final = frozenset({"ON", "ONLINE", "OK", "1", "TRUE", "NORMAL"})
_OFF: Final = frozenset({"OFF", "OFFLINE", "0", "FALSE", "ERROR", "VLOST", "DEFECT", "DEL"})


class Reader:
    """The fields of one element; `deviations` grows with what was tolerated."""

    __slots__ = ("_values", "deviations", "element")

    def __init__(self, element: Element, deviations: list[str] | None = None) -> None:
        self.element = element
        self.deviations = deviations if deviations is not None else []
        self._values: dict[str, str] = {}
        for child in element.children:
            if not child.children and child.text:
                self._values.setdefault(child.name.lower(), child.text)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._values

    def text(self, name: str, limit: int = NAME_MAX) -> str | None:
        """The text; None if absent, empty or `null`."""
        value = self._values.get(name.lower())
        if value is None:
            return None
        if value.lower() in _EMPTY:
            self.deviations.append("text-null")
            return None
        return value[:limit]

    def identity(self, name: str) -> str | None:
        """A code that may name something; None if absent or impossible."""
        value = self._values.get(name.lower())
        if value is None or is_identity(value):
            return value
        self.deviations.append(f"{name.lower()}-invalid")
        return None

    def integer(self, name: str, low: int, high: int) -> int | None:
        """A number in low..high; None if absent, not a number or out of range."""
        value = self._values.get(name.lower())
        if value is None:
            return None
        digits = value.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) <= 18 and low <= int(value) <= high:
            return int(value)
        self.deviations.append(f"{name.lower()}-invalid")
        return None

    def number(self, name: str, low: float, high: float) -> float | None:
        """A decimal number in low..high; None if absent, not a number or out of range."""
        value = self._values.get(name.lower())
        if value is None:
            return None
        try:
            number = float(value[:32])
        except ValueError:
            number = math.nan
        if low <= number <= high:
            return number
        self.deviations.append(f"{name.lower()}-invalid")
        return None

    def time(self, name: str) -> datetime | None:
        """A time (UTC+8 unless it names a zone); None if absent or no time."""
        value = self._values.get(name.lower())
        if value is None:
            return None
        try:
            return parse_time(value)
        except DateError:
            self.deviations.append(f"{name.lower()}-invalid")
            return None

    def switch(self, name: str, default: bool) -> bool:
        """ON or OFF in all their spellings; an absent or unknown one is `default`."""
        value = (self._values.get(name.lower()) or "").upper()
        if value in _ON or value in _OFF:
            if value not in {"ON", "OFF", "OK", "ERROR"}:
                self.deviations.append(f"{name.lower()}-spelling")
            return value in _ON
        if value:
            self.deviations.append(f"{name.lower()}-unknown")
        return default

    def nested(self, name: str) -> "Reader | None":
        """A reader of a child element with children of its own."""
        child = self.element.find(name)
        return None if child is None else Reader(child, self.deviations)

    def items(self, list_name: str, item_name: str = "Item") -> Iterator["Reader"]:
        """The items of a list element; also those that lie outside it, where an end tag came too early."""
        lists = [*self.element.all(list_name), self.element]
        for parent in lists:
            for child in parent.all(item_name):
                yield Reader(child, self.deviations)


def optional(name: str, value: object) -> list[Element]:
    """One element, or none where there is no value: for writing in the schema's order."""
    if value is None:
        return []
    return [Element(name, format_time(value) if isinstance(value, datetime) else str(value))]


def decimal(value: float | None, places: int) -> str | None:
    """A number as text with so many decimal places; None stays None."""
    return None if value is None else f"{value:.{places}f}"
