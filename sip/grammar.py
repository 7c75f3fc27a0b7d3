"""The few rules that all SIP headers share: splitting outside quotes, parameters, numbers, tokens (RFC 3261 §25.1)."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sip.errors import SipParseError

BLANK: Final = " \t"
MAX_NUMBER: Final = 2**31 - 1  # RFC 3261 §8.1.1.5: CSeq below 2**31; the same bound serves every other number

TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
Params = Mapping[str, str | None]  # names in lower case; a flag has the value None
NO_PARAMS: Final[Params] = MappingProxyType({})

_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_PIECES: Final = {
    ",": re.compile(rf'((?:[^",<]|{_QUOTED}|<[^>]*+>)*+)(,|$)', re.DOTALL),
    ";": re.compile(rf'((?:[^";]|{_QUOTED})*+)(;|$)', re.DOTALL),
}
_BARE_VALUE: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~\[\]:/&$@|{}^=?]*")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def no_params() -> Params:
    """The empty mapping that all values without parameters share."""
    return NO_PARAMS


def split(text: str, separator: str) -> list[str]:
    """Parts of a list between `separator` ("," or ";"), without blanks around them; quoted strings stay whole.

    For commas, `<…>` stays whole too. Raises SipParseError if a quote or bracket is left open.
    """
    if '"' not in text and ("<" not in text or separator not in text):
        return [part.strip(BLANK) for part in text.split(separator)]
    piece, parts, at = _PIECES[separator], [], 0
    while True:
        match = piece.match(text, at)
        if match is None:
            raise SipParseError("quoted string or bracket left open", at, "RFC 3261 §25.1")
        parts.append(match[1].strip(BLANK))
        if not match[2]:
            return parts
        at = match.end()


def quote(text: str) -> str:
    """`text` as a quoted-string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def unquote(text: str) -> str:
    """What a quoted-string means; anything else is returned as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    text = text[1:-1]
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def parse_params(text: str) -> Params:
    """`;name=value;flag` as a mapping with lower-case names; a flag has the value None, the first of a pair wins.

    Values are unquoted; parts without a name (`;;`) or with a name that is no token are skipped.
    """
    params: dict[str, str | None] = {}
    for part in split(text, ";") if '"' in text else text.split(";"):
        name, equals, value = part.partition("=")
        name = name.strip(BLANK).lower()
        if TOKEN.fullmatch(name):
            params.setdefault(name, unquote(value.strip(BLANK)) if equals else None)
    return params


def format_params(params: Params) -> str:
    """The inverse of `parse_params`; values that need quotes get them."""
    text = ""
    for name, value in params.items():
        if value is None:
            text += f";{name}"
        else:
            text += f";{name}={value if _BARE_VALUE.fullmatch(value) else quote(value)}"
    return text


def seconds(text: str | None) -> int | None:
    """A duration in seconds, cut to `MAX_NUMBER`; None for what is none."""
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return MAX_NUMBER if len(text) > 20 else min(int(text), MAX_NUMBER)


def parse_number(text: str, clause: str, limit: int = MAX_NUMBER) -> int:
    """A decimal number of ASCII digits, at most `limit`; raises SipParseError."""
    text = text.strip(BLANK)
    if not (text.isascii() and text.isdigit()):
        raise SipParseError(f"not a number: {text[:32]!r}", 0, clause)
    if len(text) > 20 or int(text) > limit:
        raise SipParseError(f"number too large: {text[:32]}", 0, clause)
    return int(text)
