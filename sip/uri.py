"""SIP, SIPS and tel URIs, and any other absolute URI as opaque text (RFC 3261 §19.1, RFC 3966)."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from sip.errors import SipParseError
from sip.grammar import NO_PARAMS, Params, no_params

_SIP: Final = re.compile(
    r"""([sS][iI][pP][sS]?):
        (?:([^\s@<>":]*+)(?::([^\s@<>"]*+))?@)?     # user, password
        (\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]*+)       # host: a name, an address, or a bare number
        (?::([0-9]{0,5}))?                          # port
        (;[^\s<>"?]*+)?                             # parameters
        (?:\?([^\s<>"]*+))?                         # headers
    """,
    re.VERBOSE,
)
_OTHER: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):([^\s<>\"]+)")
_THIRD_COLON: Final = re.compile(r"(?<!:):::(?!:)")
_CLAUSE: Final = "RFC 3261 §19.1.1"
_REMEMBERED: Final = 4096
_REMEMBERED_LENGTH: Final = 128


@dataclass(frozen=True, slots=True)
class Uri:
    """One URI. `user`, `password`, parameters and headers are kept as written, escapes (`%40`) included.

    `host` has no brackets around IPv6. It is advice only: a number such as 3101150000 is legal and is never resolved;
    it may be empty. tel keeps its number in `user`; other schemes but sips keep all behind the colon in `opaque`.
    """

    user: str | None
    host: str
    port: int | None = None
    scheme: str = "sip"
    password: str | None = None
    params: Params = field(default_factory=no_params, hash=False)
    headers: Params = field(default_factory=no_params, hash=False)
    opaque: str = ""

    @staticmethod
    def parse(text: str) -> "Uri":
        """Reads a URI without surrounding blanks or brackets; raises SipParseError."""
        return _parse_remembered(text) if len(text) <= _REMEMBERED_LENGTH else _parse(text)

    def __str__(self) -> str:
        if self.opaque:
            return f"{self.scheme}:{self.opaque}"
        text = f"{self.scheme}:{self.user or ''}"
        rest = "".join(f";{_pair(*item)}" for item in self.params.items())
        if self.headers:
            rest += "?" + "&".join(_pair(*item) for item in self.headers.items())
        if self.scheme != "tel":
            if self.password is not None:
                text += f":{self.password}"
            # Without a user, an @ further behind would end one.
            if self.user or self.password is not None or "@" in rest:
                text += "@"
            text += host_port(self.host, self.port)
        return text + rest


def _parse(text: str) -> Uri:
    match = _SIP.fullmatch(text)
    if match is None:
        return _parse_other(text)
    scheme, user, password, host, port, params, headers = match.groups()
    if not host and not user:
        raise SipParseError("URI with neither user nor host", len(scheme), _CLAUSE)
    number = int(port) if port else None
    if number is not None and number > 0xFFFF:
        raise SipParseError("port above 65535", match.start(5), _CLAUSE)
    return Uri(
        user or None,
        bare_host(host),
        number,
        scheme.lower(),
        password,
        _pairs(params[1:], ";") if params else NO_PARAMS,
        _pairs(headers, "&") if headers else NO_PARAMS,
    )


_parse_remembered: Final = lru_cache(_REMEMBERED)(_parse)
"""The same few URIs stand in From, To, Contact and request line of message after message; a few MiB at most."""


def bare_host(host: str) -> str:
    """A host without the brackets of an IPv6 reference, and without the third colon that RFC 5118 §4.10 speaks of."""
    return _THIRD_COLON.sub("::", host.strip("[]")) if host[:1] == "[" else host


def host_port(host: str, port: int | None) -> str:
    """`host:port`, with brackets around IPv6 and the port only if given."""
    if ":" in host:
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"


def _parse_other(text: str) -> Uri:
    match = _OTHER.fullmatch(text)
    if match is None or match[1].lower() in {"sip", "sips"}:
        raise SipParseError(f"not a URI: {text[:64]!r}", 0, _CLAUSE)
    scheme = match[1].lower()
    if scheme != "tel":
        return Uri(None, "", scheme=scheme, opaque=match[2])
    number, _, params = match[2].partition(";")
    if not number:
        raise SipParseError("tel URI without a number", 4, "RFC 3966 §3")
    return Uri(number, "", scheme=scheme, params=_pairs(params, ";") if params else NO_PARAMS)


def _pairs(text: str, separator: str) -> dict[str, str | None]:
    pairs: dict[str, str | None] = {}
    for part in text.split(separator):
        name, equals, value = part.partition("=")
        if name:
            pairs.setdefault(name.lower() if separator == ";" else name, value if equals else None)
    return pairs


def _pair(name: str, value: str | None) -> str:
    return name if value is None else f"{name}={value}"
