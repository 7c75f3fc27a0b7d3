"""Who may push an RTMP stream: the token rule and the decision. Pure.

A stream with an access key is pushed to an address with three parameters: `Expires` (UNIX seconds), `AccessKeyId` and
`Token`. What the token is, a rule says; the one that is built in:

    Token = hex(HMAC-SHA256(secret key, app "/" name "\\n" Expires))

with app and name as they stand in the address. Who publishes by RTSP may prove by Digest instead that it has the key:
the user name is the key's id, the password its secret. Another rule is any object with the method of `TokenRule`,
named in the setting `rtmp.token_rule` as `module:name`.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import Final, Protocol, runtime_checkable
from urllib.parse import quote, unquote

from gateway.accounts.proofs import Proof
from gateway.credentials.model import PushKey
from gateway.errors import InvalidError
from gateway.streams.model import AccessType, StreamRecord, StreamState

QUERY_MAX: Final = 2048
PARAMETERS_MAX: Final = 32
ALIAS: Final = "vis"
"""The application that the API document's example pushes to; here it means the project that has the stream."""
_EXPIRES: Final = re.compile(r"[0-9]{1,12}")
_OURS: Final = {"expires", "accesskeyid", "token"}


@runtime_checkable
class TokenRule(Protocol):
    """How a token is made."""

    def token(self, secret_key: str, app: str, name: str, expires: int) -> str:
        """The token that lets its bearer push app/name until `expires` (UNIX seconds)."""


class HmacSha256:
    """64 lower-case hex digits: `openssl dgst -sha256 -hmac` makes them too."""

    def token(self, secret_key: str, app: str, name: str, expires: int) -> str:
        return hmac.new(secret_key.encode(), f"{app}/{name}\n{expires}".encode(), hashlib.sha256).hexdigest()


RULES: Final[Mapping[str, TokenRule]] = {"hmac-sha256": HmacSha256()}


def token_rule(name: str) -> TokenRule:
    """The rule of this name, or the object that `module:name` names; InvalidError."""
    if name in RULES:
        return RULES[name]
    module, colon, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute) if colon else None
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidError("rtmp.token_rule", f"{name} cannot be loaded: {error}") from error
    rule = found() if isinstance(found, type) else found
    if not isinstance(rule, TokenRule):
        raise InvalidError(
            "rtmp.token_rule", f"one of {', '.join(RULES)}, or module:name of an object with a method token"
        )
    return rule


class Refusal(StrEnum):
    """Why a push is refused, in the words that the encoder is told."""

    UNREADABLE = "the parameters cannot be read"
    UNKNOWN = "no such stream"
    OTHER_KIND = "the stream is not of the access type RTMP"
    STOPPED = "the stream is STOPPED"
    NO_TOKEN = "the stream needs Expires, AccessKeyId and Token"
    OTHER_KEY = "AccessKeyId is not the stream's access key"
    BAD_EXPIRES = "Expires is no time in UNIX seconds"
    EXPIRED = "Expires has passed"
    TOO_LONG = "Expires is too far ahead"
    WRONG_TOKEN = "Token is wrong"
    WRONG_PROOF = "user or password is not the stream's access key"
    SLOWED = "too many wrong passwords came from this address"
    TAKEN = "the stream is being pushed already"
    BUSY = "too many pushes at once"
    FAILED = "the gateway cannot decide now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What an encoder asks for; `query` is what it put behind a question mark."""

    app: str
    name: str
    query: str
    proof: Proof | None = None
    challenged: bool = False
    """It proved nothing yet, and is asked to if it is refused for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPolicy:
    """Seconds: how long after `Expires` a token is still taken, for clocks that differ, and how far ahead it may be."""

    rule: TokenRule
    skew: float = 60.0
    life_max: float = 604_800.0


def judge(
    push: Push, stream: StreamRecord | None, key: PushKey | None, now: float, policy: TokenPolicy
) -> Refusal | None:
    """Why the push is refused; None if it is not.

    `stream` is the one that `push` names, `key` its push key; `now` is UNIX seconds.
    """
    if stream is None or push.app not in {stream.app, ALIAS}:
        return Refusal.UNKNOWN
    if stream.access_type is not AccessType.RTMP:
        return Refusal.OTHER_KIND
    if stream.state is not StreamState.ACTIVE:
        return Refusal.STOPPED
    if stream.access_key is None:
        return None
    refusal = _judge_token(push, key, now, policy)
    if refusal is Refusal.NO_TOKEN and push.proof is not None:
        proved = key is not None and push.proof.user == key.access_key and push.proof.fits(key.secret_key)
        return None if proved else Refusal.WRONG_PROOF
    return refusal


def _judge_token(push: Push, key: PushKey | None, now: float, policy: TokenPolicy) -> Refusal | None:
    given = _parameters(push.query)
    if given is None:
        return Refusal.UNREADABLE
    if given.keys() != _OURS:
        return Refusal.NO_TOKEN
    if key is None or given["accesskeyid"] != key.access_key:
        return Refusal.OTHER_KEY
    expires = int(given["expires"]) if _EXPIRES.fullmatch(given["expires"]) else None
    if expires is None:
        return Refusal.BAD_EXPIRES
    token = policy.rule.token(key.secret_key, push.app, push.name, expires)
    if not hmac.compare_digest(token.encode(), given["token"].encode(errors="replace")):
        return Refusal.WRONG_TOKEN
    return _judge_time(expires, now, policy)


def _judge_time(expires: int, now: float, policy: TokenPolicy) -> Refusal | None:
    if now > expires + policy.skew:
        return Refusal.EXPIRED
    return Refusal.TOO_LONG if expires > now + policy.life_max else None


def _parameters(query: str) -> dict[str, str] | None:
    """Those of ours that are there, names in lower case; None if there is too much, or one of ours twice."""
    if len(query) > QUERY_MAX or query.count("&") >= PARAMETERS_MAX:
        return None
    found: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        name = unquote(name).lower()
        if name in _OURS:
            if name in found:
                return None
            found[name] = unquote(value)
    return found


@dataclass(frozen=True, slots=True)
class PushAddress:
    """Where a stream is pushed to, whole and in the two parts that encoders ask for."""

    server: str
    stream_key: str

    @property
    def whole(self) -> str:
        return f"{self.server}/{self.stream_key}"

    def rtsp(self, base: str) -> str:
        """The same push by RTSP, whose addresses begin with `base`."""
        return f"{base}/{self._app}/{self.stream_key}"

    def whip(self, base: str) -> str:
        """The same push by WebRTC, where HTTP begins with `base`."""
        return f"{base}/whip/{self._app}/{self.stream_key}"

    @property
    def _app(self) -> str:
        return self.server.rpartition("/")[2]


def push_address(server: str, stream: StreamRecord, query: str = "") -> PushAddress:
    """`server` is rtmp://host:port, `query` what `signed` gave."""
    name = quote(stream.name, safe="")
    return PushAddress(f"{server}/{quote(stream.app, safe='')}", f"{name}?{query}" if query else name)


def signed(stream: StreamRecord, key: PushKey, expires: int, rule: TokenRule) -> str:
    """The query that lets its bearer push the stream until `expires` (UNIX seconds)."""
    token = quote(rule.token(key.secret_key, stream.app, stream.name, expires), safe="")
    return f"Expires={expires}&AccessKeyId={key.access_key}&Token={token}"
