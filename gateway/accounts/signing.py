"""Requests signed with an access key and its secret (SDK-HMAC-SHA256), as the vendor's signers make them. Pure.

What is signed is rebuilt from what was received: method, path, query, the headers that `SignedHeaders` names, and the
hash of the body. Path and query count decoded, for that is how they are acted upon: `%2f`, `%2F` and `/` are one.
Looking up the key and remembering signatures is left to `gateway.accounts.signatures`.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from gateway.accounts.errors import SignatureError

ALGORITHM: Final = "SDK-HMAC-SHA256"
OTHERS: Final = ("SDK-HMAC-SM3", "V11-HMAC-", "SDK-ECDSA-", "SDK-SM2-", "SDK-RSA-")
"""Beginnings of what else the vendor's signers can do."""
SKEW: Final = timedelta(minutes=15)
"""How far X-Sdk-Date may be from now, either way."""
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
AUTHORIZATION: Final = re.compile(
    r"SDK-HMAC-SHA256 Access=([A-Za-z0-9]{1,64}), ?SignedHeaders=([a-z0-9.;-]{1,4096}), ?Signature=([0-9a-f]{64})"
)
DATE: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")
REQUIRED: Final = ("host", "x-sdk-date")
MEANT: Final = ("content-type", "x-project-id", "x-subject-token", "x-sdk-content-sha256")
"""Headers that change what a request means: where they are sent, they must be signed."""
SIGNED_BODIES: Final = ("application/json", "application/bson")
"""Content types whose bodies every signer signs; for others they write UNSIGNED-PAYLOAD."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it was received; path and query as on the wire, names of headers in lower case."""

    method: str
    path: bytes
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Claim:
    """A signed request before its signature is checked."""

    request: SignedRequest
    key_id: str
    names: tuple[str, ...]
    """The signed headers in the order in which they were signed."""
    values: dict[str, bytes]
    signature: str
    date: datetime
    content: str | None
    """X-Sdk-Content-Sha256, if it was sent."""


def is_signed(authorization: str) -> bool:
    """Whether an Authorization header is meant as a signature, of a kind that is known here or not."""
    return authorization.startswith((ALGORITHM, *OTHERS))


def read(request: SignedRequest, at: datetime) -> Claim:
    """Reads what the request claims; SignatureError for everything that is wrong about it but the signature."""
    values = _values(request.headers)
    key_id, names, signature = _authorization(values)
    for name in (*REQUIRED, *(name for name in MEANT if name in values)):
        if name not in names:
            raise SignatureError(f"the header {name} must be among SignedHeaders")
    if len(set(names)) < len(names):
        raise SignatureError("SignedHeaders names a header twice")
    signed = {}
    for name in names:
        if len(values.get(name, ())) != 1:
            raise SignatureError(f"the signed header {name} must be sent once")
        signed[name] = values[name][0]
    content = signed["x-sdk-content-sha256"].decode("latin-1") if "x-sdk-content-sha256" in signed else None
    date = _date(signed["x-sdk-date"].decode("latin-1"), at)
    return Claim(request, key_id, names, signed, signature, date, content)


def verify(claim: Claim, secret: str, body_hash: str, *, is_empty: bool) -> None:
    """SignatureError unless the request was signed with this secret. `body_hash` is hex SHA-256 of the whole body."""
    for canonical in _canonical(claim, _payloads(claim, body_hash, is_empty=is_empty)):
        text = f"{ALGORITHM}\n{claim.date:%Y%m%dT%H%M%SZ}\n{hashlib.sha256(canonical).hexdigest()}"
        right = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if hmac.compare_digest(right, claim.signature):
            return
    raise SignatureError(
        "the signature is wrong: another secret, or something signed was changed on the way (method, host, path, query,"
        " a signed header, the body)"
    )


def _values(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, list[bytes]]:
    values: dict[str, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name.decode("latin-1").lower(), []).append(value.strip())
    return values


def _authorization(values: dict[str, list[bytes]]) -> tuple[str, tuple[str, ...], str]:
    given = values.get("authorization", [])
    text = given[0].decode("latin-1") if len(given) == 1 else ""
    if text.startswith(OTHERS):
        raise SignatureError(f"{text.split(' ', 1)[0][:32]} is not supported: sign with {ALGORITHM}")
    found = AUTHORIZATION.fullmatch(text)
    if found is None:
        raise SignatureError(f"Authorization is not of the form {ALGORITHM} Access=…, SignedHeaders=…, Signature=…")
    key_id, names, signature = found.groups()
    return key_id, tuple(names.split(";")), signature


def _date(text: str, at: datetime) -> datetime:
    try:
        date = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) if DATE.fullmatch(text) else None
    except ValueError:
        date = None
    if date is None:
        raise SignatureError("X-Sdk-Date is not of the form YYYYMMDDTHHMMSSZ")
    if abs(at - date) > SKEW:
        raise SignatureError(f"X-Sdk-Date is more than 15 minutes from now, which is {at:%Y%m%dT%H%M%SZ}")
    return date


def _payloads(claim: Claim, body_hash: str, *, is_empty: bool) -> tuple[str, ...]:
    """What may stand for the body; of an empty one, some signers hash nothing whatever the header says."""
    if claim.content is None:
        return (body_hash,)
    if claim.content == UNSIGNED:
        kind = claim.values.get("content-type", b"").decode("latin-1").lower()
        if not kind or kind.startswith(SIGNED_BODIES):
            raise SignatureError(f"{UNSIGNED} is not accepted for this content type: sign the body")
        if not is_empty:
            raise SignatureError("the body is not signed: send JSON as application/json, whose hash is signed")
        return (body_hash, UNSIGNED)
    if not hmac.compare_digest(claim.content.encode(), body_hash.encode()):
        raise SignatureError("X-Sdk-Content-Sha256 is not the SHA-256 of the body")
    return (body_hash,)


def _canonical(claim: Claim, payloads: tuple[str, ...]) -> Iterator[bytes]:
    """The canonical request, in each form that a signer may have given it."""
    request = claim.request
    headers = b"".join(name.encode() + b":" + claim.values[name] + b"\n" for name in claim.names)
    for payload in payloads:
        for query in _queries(request.query):
            parts = (request.method.upper().encode(), _path(request.path), query)
            yield b"\n".join((*parts, headers, ";".join(claim.names).encode(), payload.encode()))


def _path(path: bytes) -> bytes:
    """Each segment encoded anew, with a slash at the end."""
    encoded = quote(unquote_to_bytes(path), safe="/~")
    return (encoded if encoded.endswith("/") else f"{encoded}/").encode()


def _queries(query: bytes) -> Iterator[bytes]:
    """Sorted by name and value; and by name alone, since signers sort repeated numbers as numbers."""
    pairs = []
    for part in query.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            pairs.append((_decoded(name), _decoded(value)))
    by_value = _joined(sorted(pairs))
    yield by_value
    by_name = _joined(sorted(pairs, key=lambda pair: pair[0]))
    if by_name != by_value:
        yield by_name


def _decoded(text: bytes) -> bytes:
    """A plus means a blank, as to everybody who reads a query."""
    return unquote_to_bytes(text.replace(b"+", b" "))


def _joined(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs).encode()
