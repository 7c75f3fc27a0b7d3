"""Checks of text that people give us. Pure."""

import re
from typing import Final

from gateway.errors import InvalidError

DESCRIPTION_MAX: Final = 500
SUFFIX: Final = re.compile(r"[A-Za-z0-9_-]{0,30}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def check_description(description: str) -> None:
    """At most 500 characters, none of them a control character but tab and line ends; InvalidError."""
    if len(description) > DESCRIPTION_MAX:
        raise InvalidError("description", f"at most {DESCRIPTION_MAX} characters")
    if _CONTROL.search(description):
        raise InvalidError("description", "no control characters")


def check_suffix(suffix: str) -> None:
    """0 to 30 letters, digits, - and _; InvalidError."""
    if not SUFFIX.fullmatch(suffix):
        raise InvalidError("suffix", "0 to 30 letters, digits, - and _")
