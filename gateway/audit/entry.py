"""One entry of the audit log, and what may stand in it. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

SECRET: Final = re.compile(r"pass|secret|token|signature|^sk$|private|authorization", re.IGNORECASE)
"""Names of fields whose values nobody may read here."""
URL: Final = re.compile(r"([a-z][a-z0-9+.-]*://)(?:[^/?#\s@]*@)?([^?#\s]*)[^\s]*", re.IGNORECASE)
MASK: Final = "***"
KEY_MIN: Final = 8
PUBLISHING: Final = frozenset({"rtmp://", "rtmps://", "rtsp://", "rtsps://"})
"""A name of a stream that is longer may be a key."""
TEXT_MAX: Final = 200
ITEMS_MAX: Final = 20
DEPTH_MAX: Final = 4
NAMES_MAX: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What somebody did, or tried to do."""

    at: datetime
    project_id: str | None
    """In which project; None where that is not known, as of a stranger who tries to log in."""
    user_id: str | None
    user_name: str
    """As it was then; of a log-in, as it was given."""
    proof: str
    """What proved who it was: `token` or `key` with its id, `password`, `command line`."""
    address: str
    call: str
    """Method and path, with parameters in braces; or the command."""
    target: Mapping[str, Any] = field(default_factory=dict)
    """What the call was about: ids in its path, and those of what it made."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """The fields that were given, secrets masked."""
    status: int | None = None
    """Of the HTTP answer."""
    error: str = ""
    """Why it was refused, as a code; empty: it was done."""
    request_id: str = ""


def masked(value: Any) -> Any:
    """What was given, fit to be kept: secrets masked, addresses without what may be secret in them, all bounded."""
    return _masked(value, DEPTH_MAX)


def made(answer: Any) -> dict[str, Any]:
    """What an answer tells of what was made: ids and names, no more."""
    if not isinstance(answer, Mapping):
        return {}
    named = {name: value for name, value in answer.items() if isinstance(name, str) and _is_name(name)}
    return {name: masked(value) for name, value in named.items()}


def _is_name(name: str) -> bool:
    return name in {"name", "username", "access_key", "id"} or name.endswith(("_id", "_ids", "_id_list", "_name"))


def _masked(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _clipped(URL.sub(_address, value))
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        pairs = [(_clipped(str(name)), one) for name, one in list(value.items())[:NAMES_MAX]]
        return {name: MASK if SECRET.search(name) else _masked(one, depth - 1) for name, one in pairs}
    if isinstance(value, Sequence):
        items = [_masked(one, depth - 1) for one in value[:ITEMS_MAX]]
        return [*items, f"… {len(value)} in all"] if len(value) > ITEMS_MAX else items
    return "…"


def _address(found: re.Match[str]) -> str:
    """Without what may be secret: where streams are published, the end of the path is mostly a key."""
    scheme, rest = found[1], found[2]
    server, slash, name = rest.rpartition("/")
    if scheme.lower() in PUBLISHING and slash and len(name) > KEY_MIN:
        return f"{scheme}{server}/{name[:4]}{MASK}"
    return scheme + rest


def _clipped(text: str) -> str:
    text = text.replace("\x00", "")
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"
