"""Typed values of headers: `Via`, `NameAddr`, `CSeq` and smaller ones. `str(value)` writes what `parse` reads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from sip.errors import Deviation, SipParseError
from sip.grammar import (
    BLANK,
    NO_PARAMS,
    TOKEN,
    Params,
    format_params,
    no_params,
    parse_number,
    parse_params,
    quote,
    seconds,
    split,
    unquote,
)
from sip.uri import Uri, bare_host, host_port

MAGIC_COOKIE: Final = "z9hG4bK"
MAX_IDENTIFIER: Final = 256  # longest branch, tag or Call-ID; they become keys of tables

_VIA: Final = re.compile(
    r"""([A-Za-z]+)\s*/\s*([0-9.]+)\s*/\s*([\w\-.!%*+`'~]+)\s+     # SIP / 2.0 / UDP
        (\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)                        # sent-by host
        (?:\s*:\s*([0-9]{1,5}))?\s*(;.*)?                    # port, parameters
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_NAME_ADDR: Final = re.compile(r'(?:("(?:[^"\\]|\\.)*+")|([^<"]*+))[ \t]*<([^<>]*+)>[ \t]*(;.*)?', re.DOTALL)
_DISPLAY_TOKENS: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~ \t]*")


@dataclass(frozen=True, slots=True)
class Via:
    """One hop (RFC 3261 §20.42). `host` without IPv6 brackets; `transport` in capitals (`UDP`, `TCP`, `TLS`)."""

    transport: str
    host: str
    port: int | None = None
    params: Params = field(default_factory=no_params, hash=False)

    @staticmethod
    def parse(text: str) -> "Via":
        """Reads one hop; raises SipParseError."""
        match = _VIA.fullmatch(text)
        if match is None:
            raise SipParseError(f"Via not understood: {text[:64]!r}", 0, "RFC 3261 §20.42")
        protocol, version, transport, host, port, params = match.groups()
        if version != "2.0" or protocol.upper() != "SIP":
            raise SipParseError(f"Via of another protocol: {protocol}/{version}", 0, "RFC 3261 §20.42")
        number = int(port) if port else None
        if number is not None and number > 0xFFFF:
            raise SipParseError("port above 65535", match.start(5), "RFC 3261 §20.42")
        via = Via(transport.upper(), bare_host(host), number, parse_params(params) if params else NO_PARAMS)
        if len(via.branch or "") > MAX_IDENTIFIER:
            raise SipParseError("branch too long", 0, "RFC 3261 §8.1.1.7")
        return via

    @property
    def branch(self) -> str | None:
        return self.params.get("branch")

    @property
    def has_cookie(self) -> bool:
        """Whether the branch promises to be unique (RFC 3261 §8.1.1.7); devices forget it."""
        branch = self.params.get("branch") or ""
        return branch.startswith(MAGIC_COOKIE) and len(branch) > len(MAGIC_COOKIE)

    @property
    def received(self) -> str | None:
        """Address the request came from, as the next hop saw it; without IPv6 brackets."""
        text = self.params.get("received")
        return bare_host(text) if text else None

    @property
    def rport(self) -> int | None:
        """Port the request came from (RFC 3581); None if not filled in.

        Whether it was asked for says `"rport" in via.params`.
        """
        text = self.params.get("rport") or ""
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 0xFFFF else None

    @property
    def sent_by(self) -> str:
        """`host:port` as a key; the port is filled in with the transport's default."""
        return host_port(self.host.lower(), self.port or (5061 if self.transport == "TLS" else 5060))

    def stamped(self, host: str, port: int) -> "Via":
        """This hop, telling where the request really came from.

        `rport` is filled in for those who asked (RFC 3581 §4), `received` for them and where it differs from `host`
        (RFC 3261 §18.2.1).
        """
        params = dict(self.params)
        if "rport" in params:
            params["rport"] = str(port)
        if "rport" in params or host != self.host:
            params["received"] = host
        return replace(self, params=params)

    def __str__(self) -> str:
        return f"SIP/2.0/{self.transport} {host_port(self.host, self.port)}{format_params(self.params)}"


@dataclass(frozen=True, slots=True)
class NameAddr:
    """An address with an optional display name and header parameters: From, To, Contact, Route (RFC 3261 §20.10)."""

    uri: Uri
    display_name: str = ""
    params: Params = field(default_factory=no_params, hash=False)

    @staticmethod
    def parse(text: str, deviations: set[Deviation] | None = None) -> "NameAddr":
        """Reads `"Name" <uri>;params`, or a bare URI whose parameters belong to the header; raises SipParseError."""
        if "<" not in text:
            uri, semicolon, params = text.partition(";")
            if deviations is not None and "?" in uri.partition("@")[2]:
                deviations.add(Deviation.ADDRESS_FORM)
            return NameAddr(Uri.parse(uri.strip(BLANK)), "", parse_params(params) if semicolon else NO_PARAMS)
        match = _NAME_ADDR.fullmatch(text)
        if match is None:
            raise SipParseError(f"address not understood: {text[:64]!r}", 0, "RFC 3261 §20.10")
        quoted, plain, uri, params = match.groups()
        if plain and deviations is not None and not _DISPLAY_TOKENS.fullmatch(plain):
            deviations.add(Deviation.UNQUOTED_DISPLAY_NAME)
        if deviations is not None and uri.strip(BLANK) != uri:
            deviations.add(Deviation.ADDRESS_FORM)
        name = unquote(quoted) if quoted else plain.strip(BLANK)
        return NameAddr(Uri.parse(uri.strip(BLANK)), name, parse_params(params) if params else NO_PARAMS)

    @property
    def tag(self) -> str | None:
        return self.params.get("tag")

    @property
    def expires(self) -> int | None:
        """`;expires=` of a Contact in seconds; None if absent or not a number."""
        return seconds(self.params.get("expires"))

    def with_tag(self, tag: str) -> "NameAddr":
        return replace(self, params={**self.params, "tag": tag})

    def with_params(self, **params: str | None) -> "NameAddr":
        """This address with header parameters added or replaced."""
        return replace(self, params={**self.params, **params})

    def __str__(self) -> str:
        name = f"{quote(self.display_name)} " if self.display_name else ""
        return f"{name}<{self.uri}>{format_params(self.params)}"


@dataclass(frozen=True, slots=True)
class CSeq:
    """Sequence number, below 2**31, and method (RFC 3261 §20.16)."""

    number: int
    method: str

    @staticmethod
    def parse(text: str) -> "CSeq":
        """Reads `20 INVITE`; raises SipParseError."""
        number, _, method = text.replace("\t", " ").partition(" ")
        method = method.strip(BLANK)
        if not TOKEN.fullmatch(method):
            raise SipParseError(f"CSeq not understood: {text[:64]!r}", 0, "RFC 3261 §20.16")
        return CSeq(parse_number(number, "RFC 3261 §8.1.1.5"), method)

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@dataclass(frozen=True, slots=True)
class Event:
    """Event package in lower case and its parameters (RFC 6665 §8.2.1); `Catalog;id=7` is package `catalog`, id `7`."""

    package: str
    params: Params = field(default_factory=no_params, hash=False)

    @staticmethod
    def parse(text: str) -> "Event":
        """Reads `package;id=…`; also the bare `id=…` that some devices send, as package ""."""
        package, semicolon, params = text.partition(";")
        package = package.strip(BLANK)
        if package.lower().startswith("id="):
            package, semicolon, params = "", ";", text
        elif not TOKEN.fullmatch(package):
            raise SipParseError(f"Event not understood: {text[:64]!r}", 0, "RFC 6665 §8.2.1")
        return Event(package.lower(), parse_params(params) if semicolon else NO_PARAMS)

    @property
    def id(self) -> str | None:
        return self.params.get("id")

    def __str__(self) -> str:
        return f"{self.package}{format_params(self.params)}".lstrip(";")


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """State of a subscription in lower case (`active`, `pending`, `terminated`) with parameters (RFC 6665 §8.2.3)."""

    state: str
    params: Params = field(default_factory=no_params, hash=False)

    @staticmethod
    def parse(text: str) -> "SubscriptionState":
        """Reads `active;expires=600`; raises SipParseError."""
        state, semicolon, params = text.partition(";")
        state = state.strip(BLANK).lower()
        if not TOKEN.fullmatch(state):
            raise SipParseError(f"Subscription-State not understood: {text[:64]!r}", 0, "RFC 6665 §8.2.3")
        return SubscriptionState(state, parse_params(params) if semicolon else NO_PARAMS)

    @property
    def expires(self) -> int | None:
        return seconds(self.params.get("expires"))

    @property
    def reason(self) -> str | None:
        return self.params.get("reason")

    def __str__(self) -> str:
        return f"{self.state}{format_params(self.params)}"


@dataclass(frozen=True, slots=True)
class Auth:
    """Scheme and parameters of a challenge or of credentials (RFC 3261 §25.1); `params` in lower case, unquoted."""

    scheme: str
    params: Mapping[str, str] = field(hash=False)

    @staticmethod
    def parse(text: str) -> "Auth":
        """Reads `Digest realm="…", nonce="…"`; quotes may be missing or needless. Raises SipParseError."""
        scheme, _, rest = text.strip(BLANK).partition(" ")
        if not TOKEN.fullmatch(scheme):
            raise SipParseError(f"authentication scheme not understood: {text[:32]!r}", 0, "RFC 3261 §20.7")
        params: dict[str, str] = {}
        for part in split(rest, ","):
            name, equals, value = part.partition("=")
            name = name.strip(BLANK).lower()
            if equals and TOKEN.fullmatch(name):
                params.setdefault(name, unquote(value.strip(BLANK)))
            elif part:
                raise SipParseError(f"parameter not understood: {part[:32]!r}", 0, "RFC 3261 §25.1")
        return Auth(scheme, params)

    @property
    def is_digest(self) -> bool:
        return self.scheme.lower() == "digest"

    def __str__(self) -> str:
        return f"{self.scheme} {', '.join(self._written(*item) for item in self.params.items())}"

    def _written(self, name: str, value: str) -> str:
        # RFC 7616 §3.3, §3.4: qop is quoted in a challenge (a list) and bare in credentials, which carry nc
        bare = name in {"algorithm", "stale", "nc"} or (name == "qop" and "nc" in self.params)
        return f"{name}={value if bare and TOKEN.fullmatch(value) else quote(value)}"
