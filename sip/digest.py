"""Digest authentication, both sides (RFC 3261 §22, RFC 2617, RFC 7616; SM3 as some GB/T 28181 vendors use it).

Time and randomness come from outside: `now` is monotonic seconds, `random` gives that many unpredictable bytes.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Final

from sip.values import Auth

NONCE_LIFETIME: Final = 60.0  # seconds
MAX_NONCES: Final = 100_000  # answered nonces remembered until they expire
MAX_FIELD: Final = 512  # longest username, realm, uri, cnonce

_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_NONCE: Final = re.compile(r"[0-9a-f]{40}")
_NONCE_COUNT: Final = re.compile(r"[0-9a-fA-F]{8}")

Random = Callable[[int], bytes]


class Algorithm(Enum):
    """Hash functions by the names that `algorithm=` has for them; the `-sess` forms are not offered."""

    MD5 = "MD5"
    SHA256 = "SHA-256"
    SM3 = "SM3"

    @property
    def hex_digits(self) -> int:
        return 32 if self is Algorithm.MD5 else 64

    def hash(self, text: str) -> str:
        """Hash of the UTF-8 text, in lower-case hex."""
        data = text.encode("utf-8", "surrogatepass")
        match self:
            case Algorithm.MD5:
                return hashlib.md5(data, usedforsecurity=False).hexdigest()
            case Algorithm.SHA256:
                return hashlib.sha256(data).hexdigest()
            case Algorithm.SM3:
                return _sm3(data)


def digest(
    algorithm: Algorithm,
    *,
    username: str,
    realm: str,
    password: str,
    method: str,
    uri: str,
    nonce: str,
    qop: str | None = None,
    nc: str = "",
    cnonce: str = "",
) -> str:
    """The `response` of credentials (RFC 7616 §3.4.1); without `qop`, the older form (RFC 2617 §3.2.2.1)."""
    ha1 = algorithm.hash(f"{username}:{realm}:{password}")
    ha2 = algorithm.hash(f"{method}:{uri}")
    middle = nonce if qop is None else f"{nonce}:{nc}:{cnonce}:{qop}"
    return algorithm.hash(f"{ha1}:{middle}:{ha2}")


class Verdict(Enum):
    """What credentials are worth. Only `WRONG` is a failed password; all but `OK` deserve a new challenge."""

    OK = "ok"
    STALE = "right answer to an expired nonce"
    WRONG = "wrong answer"
    REPLAYED = "right answer to a nonce that was used before"
    FOREIGN_NONCE = "nonce not from here, or for another peer"
    MALFORMED = "credentials not understood"

    @property
    def is_stale(self) -> bool:
        """Whether the new challenge says `stale=true`: the password was not the reason (RFC 7616 §3.3)."""
        return self in {Verdict.STALE, Verdict.REPLAYED, Verdict.FOREIGN_NONCE}


class Authenticator:
    """The server's side: makes nonces and judges answers to them.

    A nonce is an HMAC over time, peer and device: none is stored until it was answered rightly, so strangers cannot
    fill the memory. An answered nonce is spent, unless the client counts its use (`nc`) and the count rises.
    Nonces end with the process: `key` (32 bytes or more) is made anew at each start.
    """

    def __init__(self, key: bytes, random: Random, *, lifetime: float = NONCE_LIFETIME) -> None:
        if len(key) < 32:
            raise ValueError("the key of nonces needs 32 bytes")
        self._key = key
        self._random = random
        self._lifetime = lifetime
        self._used: dict[str, tuple[float, int]] = {}  # nonce -> when it expires, highest nc; oldest answer first

    def challenge(
        self,
        now: float,
        realm: str,
        peer: str,
        device: str,
        *,
        algorithm: Algorithm = Algorithm.MD5,
        qop: bool = True,
        stale: bool = False,
    ) -> Auth:
        """A challenge for WWW-Authenticate. `peer` is the IP address asked, `device` whom it claims to be.

        `algorithm` is always named: there are NVRs that do not answer without it (Dahua).
        """
        issued = int(now * 10) & 0xFFFFFFFF
        stamp = issued.to_bytes(4, "big") + self._random(4)
        params = {"realm": realm, "nonce": self._nonce(stamp, peer, device), "algorithm": algorithm.value}
        if qop:
            params["qop"] = "auth"
        if stale:
            params["stale"] = "true"
        return Auth("Digest", params)

    def verify(
        self,
        now: float,
        credentials: Auth,
        *,
        method: str,
        password: str,
        peer: str,
        device: str,
        algorithm: Algorithm = Algorithm.MD5,
        require_qop: bool = False,
    ) -> Verdict:
        """Judges the credentials of a request; `peer` and `device` as in the challenge.

        Username, realm and uri are hashed as the client sent them, for devices confuse them; none of them is checked
        here, so look the password up by the device, never by these. Never raises.
        """
        params = credentials.params
        if not credentials.is_digest or not _well_formed(params, algorithm, require_qop):
            return Verdict.MALFORMED
        nonce = params["nonce"]
        if not self.is_ours(nonce, peer, device):
            return Verdict.FOREIGN_NONCE
        qop = params.get("qop")
        expected = digest(
            algorithm,
            username=params["username"],
            realm=params["realm"],
            password=password,
            method=method,
            uri=params["uri"],
            nonce=nonce,
            qop=qop,
            nc=params.get("nc", ""),
            cnonce=params.get("cnonce", ""),
        )
        if not hmac.compare_digest(expected, params["response"].lower()):
            return Verdict.WRONG
        return self._spend(now, nonce, int(params["nc"], 16) if qop is not None else None)

    def _nonce(self, stamp: bytes, peer: str, device: str) -> str:
        fields = [stamp, peer.encode("utf-8", "surrogatepass"), device.encode("utf-8", "surrogatepass")]
        text = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
        return (stamp + hmac.digest(self._key, text, "sha256")[:12]).hex()

    def is_ours(self, nonce: str, peer: str, device: str) -> bool:
        """Whether we made this nonce for this peer and device, in this process; no password is needed to say so."""
        if not _NONCE.fullmatch(nonce):
            return False
        return hmac.compare_digest(self._nonce(bytes.fromhex(nonce[:16]), peer, device), nonce)

    def _spend(self, now: float, nonce: str, count: int | None) -> Verdict:
        """Marks a rightly answered nonce as used; `count` is the client's, None if it does not count."""
        age = (int(now * 10) - int(nonce[:8], 16)) & 0xFFFFFFFF
        if age > self._lifetime * 10:
            return Verdict.STALE
        self._forget_expired(now)
        spent = self._used.get(nonce)
        if spent is not None and (count is None or count <= spent[1]):
            return Verdict.REPLAYED
        if spent is None and len(self._used) >= MAX_NONCES:
            return Verdict.STALE  # better another round than a nonce whose use is not remembered
        highest = 0xFFFFFFFF if count is None else count
        # kept for two lifetimes, so that rounding can never forget a nonce that is still good
        self._used[nonce] = (now + 2 * self._lifetime if spent is None else spent[0], highest)
        return Verdict.OK

    def _forget_expired(self, now: float) -> None:
        while self._used:
            oldest = next(iter(self._used))
            if self._used[oldest][0] > now:
                return
            del self._used[oldest]


class DigestClient:
    """The client's side: answers the challenges of one server with one account."""

    def __init__(self, username: str, password: str, random: Random) -> None:
        self._username = username
        self._password = password
        self._random = random
        self._challenge: Mapping[str, str] | None = None
        self._algorithm = Algorithm.MD5
        self._count = 0

    def handle_challenge(self, challenges: Iterable[Auth]) -> bool:
        """Takes the challenges of a 401 or 407 and keeps the first that it can answer; whether there is one."""
        for challenge in challenges:
            algorithm = _algorithm(challenge.params.get("algorithm", "MD5"))
            qop = challenge.params.get("qop")
            if challenge.is_digest and algorithm and "nonce" in challenge.params and (qop is None or _offers_auth(qop)):
                self._challenge, self._algorithm, self._count = challenge.params, algorithm, 0
                return True
        return False

    def authorize(self, method: str, uri: str) -> Auth | None:
        """Credentials for the next request to that Request-URI; None before any challenge.

        The count of the nonce's use rises each time, so the same challenge may serve several requests.
        """
        challenge = self._challenge
        if challenge is None:
            return None
        self._count += 1
        params = {
            "username": self._username,
            "realm": challenge.get("realm", ""),
            "nonce": challenge["nonce"],
            "uri": uri,
        }
        counted: dict[str, str] = {}
        if "qop" in challenge:
            counted = {"qop": "auth", "nc": f"{self._count:08x}", "cnonce": self._random(8).hex()}
        response = digest(self._algorithm, **params, password=self._password, method=method, **counted)
        params |= {"response": response, "algorithm": self._algorithm.value, **counted}
        if "opaque" in challenge:
            params["opaque"] = challenge["opaque"]
        return Auth("Digest", params)


def _well_formed(params: Mapping[str, str], algorithm: Algorithm, require_qop: bool) -> bool:
    """Whether all fields are there and of the form that the algorithm and qop demand."""
    if any(len(params.get(name, "x" * (MAX_FIELD + 1))) > MAX_FIELD for name in ("username", "realm", "nonce", "uri")):
        return False
    answer = params.get("response", "")
    if len(answer) != algorithm.hex_digits or not _HEX.fullmatch(answer):
        return False
    if params.get("algorithm", algorithm.value).upper() != algorithm.value:
        return False
    if "qop" not in params:
        return not require_qop
    counted = _NONCE_COUNT.fullmatch(params.get("nc", "")) is not None
    return params["qop"] == "auth" and counted and 0 < len(params.get("cnonce", "")) <= MAX_FIELD


def _algorithm(name: str) -> Algorithm | None:
    return next((algorithm for algorithm in Algorithm if algorithm.value == name.upper()), None)


def _offers_auth(qop: str) -> bool:
    return "auth" in {option.strip().lower() for option in qop.split(",")}


def _sm3(data: bytes) -> str:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - rare, and expensive to import

    state = hashes.Hash(hashes.SM3())
    state.update(data)
    return state.finalize().hex()
