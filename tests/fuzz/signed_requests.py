"""Mutates signed requests: nothing but the documented error, and no signature but the right one is believed.

`python -m tests.fuzz.signed_requests --seconds 60`. The same `--seed` makes the same inputs. A failing input is kept
under tests/.artifacts/ and ends the run with 1.
"""

import hashlib
import sys
from datetime import UTC, datetime
from typing import Final

from gateway.accounts.errors import SignatureError
from gateway.accounts.signing import SignedRequest, is_signed, read, verify
from tests.fuzz._driver import Target, main, with_words
from tests.fuzz.sip_syntax import mutate

NOW: Final = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECRET: Final = "secret"
WORDS: Final = [
    *(
        b"%2F",
        b"%",
        b"%zz",
        b"+",
        b"//",
        b"/../",
        b"?",
        b"&",
        b"=",
        b"&&",
        b"\n",
        b": ",
        b"\xe4\xb8\xad",
        b"\xff",
        b"\0",
    ),
    *(b"Authorization: ", b"SDK-HMAC-SHA256 ", b"Access=", b"SignedHeaders=", b"Signature=", b"V11-HMAC-SHA256 "),
    *(b"x-sdk-date: 20261122T120000Z\n", b"x-sdk-content-sha256: UNSIGNED-PAYLOAD\n", b"content-type: a/b\n", b";host"),
    *(b"20260229T250000Z", b"99999999T999999Z", b"0" * 64, b"x-project-id: 1\n"),
]
GOOD: Final = (
    b"GET /v1/devices/a%20b?limit=10&offset=2&limit=9\nhost: gateway.example\nx-sdk-date: 20261122T120000Z\n"
    b"content-type: application/json\nauthorization: SDK-HMAC-SHA256 Access=AKAKAKAKAKAKAKAKAKAK, "
    b"SignedHeaders=content-type;host;x-sdk-date, Signature=" + b"0123456789abcdef" * 4 + b"\n"
)


def request_of(data: bytes) -> SignedRequest:
    """Takes the input as a request of one line and headers, as a server would hand it on."""
    line, *rest = data.split(b"\n")
    method, _, target = line.partition(b" ")
    path, _, query = target.partition(b"?")
    headers = [(name, value) for name, colon, value in (one.partition(b":") for one in rest) if colon]
    return SignedRequest(method.decode("latin-1"), path, query, headers)


def check(data: bytes, body: bytes) -> None:
    """Reading and checking raise SignatureError alone; nobody guesses a signature."""
    request = request_of(data)
    for name, value in request.headers:
        if name.lower() == b"authorization":
            is_signed(value.decode("latin-1"))
    try:
        claim = read(request, NOW)
        assert len(claim.names) == len(claim.values)
        verify(claim, SECRET, hashlib.sha256(body).hexdigest(), is_empty=not body)
    except SignatureError as error:
        assert str(error)
    else:
        raise AssertionError("a signature was believed that nobody made")


TARGET: Final = Target(
    "signed_requests",
    lambda rng: with_words(rng, mutate(rng, GOOD, GOOD) if rng.random() < 0.7 else GOOD, WORDS),
    (lambda rng, data: check(data, rng.choice((b"", b"{}", data))),),
)


if __name__ == "__main__":
    sys.exit(main(TARGET, __doc__))
