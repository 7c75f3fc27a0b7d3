"""Signed requests: the vendor's vectors, every rule, and that one bit more or less is noticed."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_to_bytes

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounts.errors import SignatureError
from gateway.accounts.signing import SignedRequest, is_signed, read, verify

KEY, SECRET = "AKEXAMPLE0123456789", "SKexampleSecret0123456789abcdefABCDEF"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
STREAMS = b"/v1/0123456789abcdef0123456789abcdef/streams"
HOST, DATE = (b"host", b"vis.example.com"), (b"x-sdk-date", b"20261122T000000Z")
BODY = '{"name":"stream-1","access_type":"RTMP","description":"摄像机"}'.encode()


def signed(
    signature: str, *headers: tuple[bytes, bytes], path: bytes = STREAMS, query: bytes = b"", method: str = "GET"
) -> SignedRequest:
    names = ";".join(sorted(name.decode() for name, _ in headers))
    value = f"SDK-HMAC-SHA256 Access={KEY}, SignedHeaders={names}, Signature={signature}"
    return SignedRequest(method, path, query, (*headers, (b"authorization", value.encode())))


FIRST = signed(
    "b1d36335cd0d0e7830ee1c237d4a1aaa80da54e0429d0d8211a99ccf8f7b0cf9", HOST, DATE, query=b"limit=10&offset=0"
)
SECOND = signed(
    "b8416e52cbcd32afcbc8e0c4d793def9239de592f2113a6474b088bf55006e73",
    HOST,
    DATE,
    (b"content-type", b"application/json;charset=utf8"),
    (b"x-project-id", b"0123456789abcdef0123456789abcdef"),
    method="POST",
)
THIRD = signed(
    "65f43b515bd5f98faddd43de5da65836eec802d32cb4db14cb92a01be87c8e28",
    HOST,
    DATE,
    path=b"/v1/p/devices/%E6%91%84%E5%83%8F%20%E6%9C%BA",
    query=b"b=true&name=a%20b%2Bc~%2F%2A&tag=a&tag=b",
)


def check(request: SignedRequest, body: bytes = b"", *, at: datetime = NOW, secret: str = SECRET) -> None:
    claim = read(request, at)
    if claim.key_id != KEY:
        raise SignatureError("no such key")  # as the service says, which looks the secret up by it
    verify(claim, secret, hashlib.sha256(body).hexdigest(), is_empty=not body)


@pytest.mark.parametrize(("request_", "body"), [(FIRST, b""), (SECOND, BODY), (THIRD, b"")])
def test_the_vectors(request_: SignedRequest, body: bytes) -> None:
    check(request_, body)
    assert read(request_, NOW).key_id == KEY
    for wrong_body in (body + b" ", b"x"):
        with pytest.raises(SignatureError, match="signature is wrong"):
            check(request_, wrong_body)
    with pytest.raises(SignatureError, match="signature is wrong"):
        check(request_, body, secret=SECRET[:-1])


@pytest.mark.parametrize(
    "query",
    [
        b"tag=b&b=true&name=a%20b%2Bc~%2F%2A&tag=a",
        b"b=true&name=a+b%2bc~/*&tag=a&tag=b",
        b"b=true&&name=%61%20b%2Bc%7E%2F%2A&tag=a&tag=b&",
    ],
)
def test_a_query_counts_decoded_in_any_order(query: bytes) -> None:
    check(replace(THIRD, query=query))


def test_a_path_counts_decoded() -> None:
    check(replace(THIRD, path="/v1/p/devices/摄像 机".encode()))
    check(replace(FIRST, path=STREAMS + b"/"))
    with pytest.raises(SignatureError):
        check(replace(FIRST, path=STREAMS + b"//"))


@pytest.mark.parametrize("minutes", [-15, 0, 15])
def test_the_clock_may_be_15_minutes_off(minutes: int) -> None:
    check(FIRST, at=NOW + timedelta(minutes=minutes))
    beyond = timedelta(minutes=minutes, seconds=1 if minutes > 0 else -1)
    if minutes:
        with pytest.raises(SignatureError, match=r"more than 15 minutes from now, which is 2026112"):
            check(FIRST, at=NOW + beyond)


def authorised(value: str, *headers: tuple[bytes, bytes]) -> SignedRequest:
    return SignedRequest("GET", STREAMS, b"", (*(headers or (HOST, DATE)), (b"authorization", value.encode())))


HEX = "0" * 64


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (authorised(""), "not of the form"),
        (authorised("Bearer x"), "not of the form"),
        (authorised(f"SDK-HMAC-SHA256 Access={KEY}, SignedHeaders=host;x-sdk-date"), "not of the form"),
        (authorised(f"SDK-HMAC-SHA256 Access={KEY}, SignedHeaders=host, Signature={HEX}"), "x-sdk-date must be among"),
        (authorised(f"SDK-HMAC-SHA256 Access={KEY}, SignedHeaders=x-sdk-date, Signature={HEX}"), "host must be among"),
        (authorised(f"SDK-HMAC-SM3 Access={KEY}, SignedHeaders=host;x-sdk-date, Signature={HEX}"), "SM3 is not supp"),
        (authorised(f"V11-HMAC-SHA256 Credential={KEY}/x, SignedHeaders=host, Signature={HEX}"), "V11-HMAC-SHA256 is"),
        (authorised(f"SDK-ECDSA-P256-SHA256 Access={KEY}"), "is not supported"),
        (authorised(f"SDK-HMAC-SHA256 Access={KEY}, SignedHeaders=host;host;x-sdk-date, Signature={HEX}"), "twice"),
        (
            authorised(f"SDK-HMAC-SHA256 Access={KEY}, SignedHeaders=host;x-a;x-sdk-date, Signature={HEX}"),
            "x-a must be",
        ),
        (
            authorised(
                f"SDK-HMAC-SHA256 Access={KEY}, SignedHeaders=host;x-sdk-date, Signature={HEX}", HOST, HOST, DATE
            ),
            "host must be sent once",
        ),
        (
            authorised(
                f"SDK-HMAC-SHA256 Access={KEY}, SignedHeaders=host;x-sdk-date, Signature={HEX}",
                HOST,
                (b"x-sdk-date", b"20261322T000000Z"),
            ),
            "not of the form YYYYMMDD",
        ),
        (
            authorised(
                f"SDK-HMAC-SHA256 Access={KEY}, SignedHeaders=host;x-sdk-date, Signature={HEX}",
                HOST,
                DATE,
                (b"x-project-id", b"0" * 32),
            ),
            "x-project-id must be among",
        ),
    ],
)
def test_what_is_wrong_is_named(request_: SignedRequest, told: str) -> None:
    with pytest.raises(SignatureError, match=told):
        read(request_, NOW)


def test_kinds_of_signature_are_told_from_other_authorizations() -> None:
    for kind in ("SDK-HMAC-SHA256 Access=", "SDK-HMAC-SM3 Access=", "V11-HMAC-SHA256 Credential="):
        assert is_signed(kind)
    for other in ("", "Basic YTpi", "Bearer x"):
        assert not is_signed(other)


# -- the vendor's signer -----------------------------------------------------------------------------------------------


def vendor_signs(
    method: str = "GET",
    path: str = "/v1/p/streams",
    query: list[tuple[str, object]] | None = None,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
) -> SignedRequest:
    """What goes over the wire when the vendor's signer has signed."""
    request = SdkRequest(
        method=method,
        schema="http",
        host="vis.example.com",
        resource_path=path,
        query_params=query or [],
        header_params={"X-Sdk-Date": "20261122T000000Z", **(headers or {})},
        body=body,
    )
    done = Signer(BasicCredentials(KEY, SECRET)).sign(request)
    sent = tuple((name.lower().encode(), value.encode("latin-1")) for name, value in done.header_params.items())
    return SignedRequest(method, quote(path, safe="/~%").encode(), done.uri.removeprefix(path)[1:].encode(), sent)


@pytest.mark.parametrize(
    "query",
    [
        [("tag", [10, 9, 2])],
        [("tag", "b"), ("tag", "a"), ("a", "")],
        [("a b", "c&d=e"), ("a", True), ("名", "值")],
        [("n", 10), ("n", 9)],
    ],
)
def test_queries_of_the_vendors_signer(query: list[tuple[str, object]]) -> None:
    check(vendor_signs(query=query))


def test_bodies_of_the_vendors_signer() -> None:
    json_type = {"Content-Type": "application/json"}
    check(vendor_signs("POST", headers=json_type, body=BODY), BODY)
    check(vendor_signs("POST", headers=json_type))
    check(vendor_signs("POST", headers={"Content-Type": "text/plain"}))
    with pytest.raises(SignatureError, match="the body is not signed"):
        check(vendor_signs("POST", headers={"Content-Type": "text/plain"}, body=b"{}"), b"{}")
    unsigned = {**json_type, "X-Sdk-Content-Sha256": "UNSIGNED-PAYLOAD"}
    with pytest.raises(SignatureError, match="sign the body"):
        check(vendor_signs("POST", headers=unsigned, body=BODY), BODY)
    told = {**json_type, "X-Sdk-Content-Sha256": hashlib.sha256(BODY).hexdigest()}
    check(vendor_signs("POST", headers=told, body=BODY), BODY)
    with pytest.raises(SignatureError, match="is not the SHA-256 of the body"):
        check(vendor_signs("POST", headers=told, body=BODY), BODY + b" ")


def test_a_payload_may_be_left_unsigned_only_where_the_signer_does_so() -> None:
    without_type = vendor_signs("POST", headers={"X-Sdk-Content-Sha256": "UNSIGNED-PAYLOAD"})
    with pytest.raises(SignatureError, match="not accepted for this content type"):
        check(without_type)


def flipped(data: bytes, bit: int) -> bytes:
    bit %= len(data) * 8
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def pairs(query: bytes) -> list[bytes]:
    """What a query means, for the application that reads it."""
    return sorted(unquote_to_bytes(part.replace(b"+", b" ")) for part in query.split(b"&"))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="%/\x00"), max_size=8)
QUERY = st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=3, unique_by=lambda pair: pair[0])
PART = st.sampled_from(["method", "path", "query", "body", "headers"])


@given(path=st.lists(TEXT, max_size=3), query=QUERY, body=st.binary(max_size=20), part=PART, bit=st.integers(0, 10**6))
def test_one_changed_bit_is_refused(
    path: list[str], query: list[tuple[str, str]], body: bytes, part: str, bit: int
) -> None:
    request = vendor_signs(
        "PUT", "/v1/" + "/".join(path), list(query), {"Content-Type": "application/json", "X-Trace": "a1"}, body
    )
    check(request, body)
    changed = change(request, part, bit)
    if part == "body":
        body = flipped(body, bit) if body else b"\x00"
    elif changed is None:
        return  # it means the same
    with pytest.raises(SignatureError):
        check(changed or request, body)


def change(request: SignedRequest, part: str, bit: int) -> SignedRequest | None:
    """The request with one bit of a part changed; None if the part is empty, or means the same as before."""
    if part == "method":
        method = flipped(request.method.encode(), bit).decode("latin-1")
        return None if method.upper() == request.method else replace(request, method=method)
    if part == "path":
        path = flipped(request.path, bit)
        same = unquote_to_bytes(path).rstrip(b"/") == unquote_to_bytes(request.path).rstrip(b"/")
        return None if same else replace(request, path=path)
    if part == "query":
        query = flipped(request.query, bit) if request.query else b""
        return None if pairs(query) == pairs(request.query) else replace(request, query=query)
    if part == "headers":
        number = bit % len(request.headers)
        name, value = request.headers[number]
        value_changed = flipped(value, bit // 7)
        if value_changed.strip() == value.strip():
            return None
        return replace(
            request, headers=(*request.headers[:number], (name, value_changed), *request.headers[number + 1 :])
        )
    return request
