"""SIP requests and responses: lenient reading, strict writing (RFC 3261 §7). No socket, no clock.

`parse` takes one datagram; `sip.framing` cuts messages out of a stream. What real devices get wrong is understood
where its meaning is plain, and named in `message.deviations`; the rest raises `SipParseError` and nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sip.errors import Deviation, SipParseError
from sip.head import MAX_HEAD_BYTES, METHODS, Head, StatusLine, find_end, parse_head
from sip.headers import FORBIDDEN, Field, Headers
from sip.uri import Uri
from sip.values import CSeq, NameAddr, Via

__all__ = [
    "MAX_BODY_BYTES",
    "METHODS",
    "REASONS",
    "Message",
    "Request",
    "Response",
    "assemble",
    "is_keepalive",
    "parse",
]

MAX_BODY_BYTES: Final = 1024 * 1024

REASONS: Final = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
    200: "OK", 202: "Accepted",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone",
    413: "Request Entity Too Large", 414: "Request-URI Too Long", 415: "Unsupported Media Type",
    416: "Unsupported URI Scheme", 420: "Bad Extension", 421: "Extension Required", 423: "Interval Too Brief",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops",
    484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event", 491: "Request Pending", 493: "Undecipherable",
    500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large",
    600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}  # fmt: skip


class _Common:
    """What requests and responses share: short ways to the mandatory headers, which `parse` has read already."""

    __slots__ = ()
    headers: Headers
    body: bytes

    @property
    def via(self) -> Via:
        """The topmost hop."""
        return self.headers.via

    @property
    def from_(self) -> NameAddr:
        return self.headers.from_

    @property
    def to(self) -> NameAddr:
        return self.headers.to

    @property
    def call_id(self) -> str:
        return self.headers.call_id

    @property
    def cseq(self) -> CSeq:
        return self.headers.cseq

    @property
    def deviations(self) -> set[Deviation]:
        """What had to be tolerated so far; readings of optional headers may add to it."""
        return self.headers.deviations

    def _written(self, start_line: str) -> bytes:
        if FORBIDDEN.search(start_line):
            raise ValueError(f"control character in {start_line!r}")
        lines = [start_line]
        lines += [f"{name}: {value}" for key, name, value in self.headers.fields if key != "content-length"]
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(lines).encode() + self.body


@dataclass(frozen=True, slots=True)
class Request(_Common):
    """A request; `bytes(request)` writes it with exactly one right Content-Length."""

    method: str
    uri: Uri
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    def __bytes__(self) -> bytes:
        return self._written(f"{self.method} {self.uri} SIP/2.0")

    def response(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: Iterable[tuple[str, object]] = (),
        body: bytes = b"",
    ) -> "Response":
        """The response that this request asks for (RFC 3261 §8.2.6): Via, From, To, Call-ID and CSeq as they came.

        `to_tag` is added unless the request has a To tag already or the status is 100. Record-Route is copied into
        1xx (but 100) and 2xx (RFC 3261 §12.1.1).
        """
        copied = _COPIED_WITH_ROUTE if 100 < status < 300 else _COPIED
        fields: list[Field] = []
        seen: set[str] = set()
        for entry in self.headers.fields:
            key = entry[0]
            if key not in copied or key in seen:
                continue
            if key not in _REPEATED:
                seen.add(key)
            if key == "to" and to_tag is not None and status != 100 and self.to.tag is None:
                to = self.to
                tagged = str(to.with_tag(to_tag)) if "tag" in to.params else f"{entry[2]};tag={to_tag}"
                entry = ("to", "To", tagged)  # noqa: PLW2901 - the one field that is not as it came
            fields.append(entry)
        if headers:
            fields += Headers(headers).fields
        return Response(
            status, REASONS.get(status, "") if reason is None else reason, Headers.of_fields(fields, set()), body
        )


_COPIED: Final = frozenset({"via", "from", "to", "call-id", "cseq"})
_COPIED_WITH_ROUTE: Final = _COPIED | {"record-route"}
_REPEATED: Final = frozenset({"via", "record-route"})


@dataclass(frozen=True, slots=True)
class Response(_Common):
    """A response; `bytes(response)` writes it with exactly one right Content-Length."""

    status: int
    reason: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    def __bytes__(self) -> bytes:
        return self._written(f"SIP/2.0 {self.status} {self.reason}")


Message = Request | Response


def is_keepalive(datagram: bytes) -> bool:
    """Whether a datagram is no SIP but keeps a NAT mapping open: blank lines, NULs, 0 to 4 bytes such as `jaK\\0`.

    Drop it silently; it refreshes nothing.
    """
    return len(datagram) <= 4 or not datagram.strip(b"\r\n\0 ")


def parse(data: bytes, *, max_body: int = MAX_BODY_BYTES) -> Message:
    """Reads one message from one datagram; raises SipParseError.

    The body is what Content-Length says or what came, whichever is shorter; more than `max_body` bytes are refused.
    """
    deviations: set[Deviation] = set()
    head_bytes, start, body_at = _cut_head(data, deviations)
    head = parse_head(head_bytes, deviations, start)
    body = _cut_body(data, body_at, head.content_length, deviations)
    if len(body) > max_body:
        raise SipParseError(f"body longer than {max_body} bytes", body_at, "RFC 3261 §18.3")
    return assemble(head, body, data)


def _cut_head(data: bytes, deviations: set[Deviation]) -> tuple[bytes, int, int]:
    """The head without its blank line, where it starts, and where the body starts."""
    start = 0
    if data[:1] in (b"\r", b"\n"):
        start = len(data) - len(data.lstrip(b"\r\n"))
        deviations.add(Deviation.LEADING_LINES)
    span = find_end(data, start, start)
    if span is not None:
        return data[start : span[0]], start, span[1]
    if len(data) - start > MAX_HEAD_BYTES:
        raise SipParseError(f"head longer than {MAX_HEAD_BYTES} bytes", start + MAX_HEAD_BYTES, "RFC 3261 §7")
    if not data.endswith(b"\n"):  # cut off somewhere in a line: its value may be half a value
        raise SipParseError("no blank line after the head", len(data), "RFC 3261 §7")
    deviations.add(Deviation.NO_BLANK_LINE)
    return data[start:].rstrip(b"\r\n"), start, len(data)


def _cut_body(data: bytes, at: int, length: int | None, deviations: set[Deviation]) -> bytes:
    """The body of a datagram: what was promised or what came, whichever is shorter (RFC 3261 §18.3)."""
    rest = len(data) - at
    if length is not None and length < rest:
        only_nulls = not data[at + length :].strip(b"\0")
        deviations.add(Deviation.TRAILING_NULS if only_nulls else Deviation.SURPLUS_BYTES)
        return data[at : at + length]
    body = data[at:]
    if length == rest:
        return body
    if length is not None:
        deviations.add(Deviation.CONTENT_LENGTH_TOO_LARGE)
    elif rest:
        deviations.add(Deviation.NO_CONTENT_LENGTH)
    if body.endswith(b"\0"):
        deviations.add(Deviation.TRAILING_NULS)
    return body.rstrip(b"\0")


def assemble(head: Head, body: bytes, data: bytes = b"") -> Message:
    """Puts a message together after reading its mandatory headers; SipParseError, its offset within `data`."""
    headers = head.headers
    try:
        via, cseq, sender = headers.via, headers.cseq, headers.from_
        _ = headers.to, headers.call_id
    except SipParseError as error:
        raise _located(error, headers, data) from None
    line = head.start_line
    if isinstance(line, StatusLine):
        return Response(line.status, line.reason, headers, body)
    if cseq.method != line.method:
        if cseq.method.upper() != line.method:
            what = f"CSeq of {cseq.method[:32]} in a {line.method[:32]}"
            raise SipParseError(what, _offset(data, "cseq", headers), "RFC 3261 §8.1.1.5")
        headers = headers.replacing("CSeq", CSeq(cseq.number, line.method))
    deviations = headers.deviations
    if "max-forwards" not in headers.first:
        deviations.add(Deviation.NO_MAX_FORWARDS)
    if not via.has_cookie:
        deviations.add(Deviation.NO_COOKIE)
    if not sender.tag:
        deviations.add(Deviation.NO_FROM_TAG)
    return Request(line.method, line.uri, headers, body)


def _located(error: SipParseError, headers: Headers, data: bytes) -> SipParseError:
    """The error of a mandatory header with the offset of its field in the message."""
    for key in ("via", "cseq", "from", "to", "call-id"):
        if headers.unread(key):
            return SipParseError(error.what, _offset(data, key, headers) + error.offset, error.clause)
    return error


def _offset(data: bytes, key: str, headers: Headers) -> int:
    value = headers.first.get(key)
    return max(data.find(value.encode()), 0) if value else 0
