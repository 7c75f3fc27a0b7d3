"""What stands beside the words of a refusal, for programs that say it in other words: a code, and the values in it.

Written as `code?name=value&…`, percent-encoded: `url.private?field=url`, `not_found?kind=stream&name=gate`. Codes
are those that errors carry, else the kinds of errors; they stay when the words change. Faults of our own have none.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from litestar.exceptions import HTTPException

from gateway.accounts.errors import TooManyAttemptsError
from gateway.errors import GatewayError, InvalidError, NotFoundError, QuotaError
from gateway.streams.webrtc import SessionRefusedError

HEADER: Final = "X-Error-Reason"
VALUE_MAX: Final = 200
"""Characters of a value: some are what the client sent."""
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_FRAMEWORK: Final = (
    (re.compile(r"Expected `(?:int|float)` <= (?P<most>[-\d.e+]+)"), "at_most"),
    (re.compile(r"Expected `(?:int|float)` >= (?P<least>[-\d.e+]+)"), "at_least"),
    (re.compile(r"Expected `(?:str|array)` of length <= (?P<most>\d+)"), "at_most"),
    (re.compile(r"Expected `(?:str|array)` of length >= (?P<least>\d+)"), "at_least"),
    (re.compile(r"Expected `int(?: \| null)?`, got `(?:float|str)`"), "whole_number"),
    (re.compile(r"Expected `float(?: \| null)?`, got `str`"), "number"),
    (re.compile(r"Object missing required field `(?P<field>\w+)`"), "required"),
    (re.compile(r"Object contains unknown field `(?P<field>\w+)`"), "unknown_field"),
)
"""What the framework says of wrong fields, as far as people can make such mistakes."""
MALFORMED: Final = "malformed"
"""The request cannot be read at all."""
_STATUS: Final = {
    401: "token",
    403: "forbidden",
    404: "unknown_path",
    405: "unknown_method",
    413: "body_too_large",
}
"""What the framework refuses for no field's sake; every other such request cannot be read."""


def reason_of(error: Exception) -> str:
    """Empty for what is no refusal: a fault of our own."""
    if isinstance(error, GatewayError):
        return _written(_code(error), _values(error))
    if isinstance(error, HTTPException):
        return _of_framework(error)
    return ""


def _code(error: GatewayError) -> str:
    if isinstance(error, SessionRefusedError):
        return f"session.{error.why.value}"
    if isinstance(error, InvalidError) and error.code:
        return error.code
    return _WORD.sub("_", type(error).__name__.removesuffix("Error")).lower()


def _values(error: GatewayError) -> Mapping[str, object]:
    match error:
        case InvalidError():
            return {"field": error.field, **error.values}
        case NotFoundError():
            return {"kind": error.kind, "name": error.identity}
        case QuotaError():
            return {"resource": error.resource, "total": error.total}
        case TooManyAttemptsError():
            return {"wait": max(1, round(error.wait))}
    return {}


def _of_framework(error: HTTPException) -> str:
    """Of the first field that is wrong: the framework stops there."""
    if error.status_code >= 500:
        return ""
    found = error.extra[0] if isinstance(error.extra, list) and error.extra else None
    if not isinstance(found, dict):
        return _STATUS.get(error.status_code, MALFORMED)
    said, field = str(found.get("message", "")), found.get("key")
    for pattern, code in _FRAMEWORK:
        match = pattern.match(said)
        if match is not None:
            return _written(code, {**({"field": field} if field else {}), **match.groupdict()})
    return _written("invalid", {"field": field}) if field else MALFORMED


def _written(code: str, values: Mapping[str, object]) -> str:
    if not values:
        return code
    return f"{code}?{urlencode({name: str(value)[:VALUE_MAX] for name, value in values.items()}, errors='replace')}"
