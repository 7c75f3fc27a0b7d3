"""SIP requests and responses: lenient reading, strict writing (RFC 3261 §7). No socket, no clock.

`parse` takes one datagram; `sip.framing` cuts messages out of a stream. What real devices get wrong is understood
where its meaning is plain, and named in `message.deviations`; the rest raises `SipParseError` and nothing else.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sip.errors import Deviation, SipParseError
from sip.grammar import BLANK, TOKEN, parse_number
from sip.headers import Field, Headers
from sip.names import SPELLINGS, canonical
from sip.uri import Uri
from sip.values import CSeq, NameAddr, Via

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_LINE_CHARS: Final = 8 * 1024
MAX_FIELDS: Final = 64
MAX_BODY_BYTES: Final = 1024 * 1024

METHODS: Final = frozenset({
    "REGISTER", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "MESSAGE", "INFO", "SUBSCRIBE", "NOTIFY", "PRACK",
    "UPDATE", "REFER", "PUBLISH",
})  # fmt: skip
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

_CONTROL_BYTES: Final = bytes(code for code in (*range(32), 127) if code not in b"\t\r\n")
_BLANK_LINE: Final = re.compile(rb"\r?\n\r?\n")
_FOLD: Final = re.compile(r"[ \t]*\r?\n[ \t]+")
_REQUEST_LINE: Final = re.compile(r"(\S+)[ \t]+(<[^<>]*>|\S+)[ \t]+(\S+)[ \t]*")
_STATUS_LINE: Final = re.compile(r"([^\s/]+/[^\s/]+)[ \t]+([0-9]{3})(?:[ \t](.*))?")


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
        copied = {"via", "from", "to", "call-id", "cseq"}
        if 100 < status < 300:
            copied.add("record-route")
        to = self.to
        if to_tag is not None and to.tag is None and status != 100:
            to = to.with_tag(to_tag)
        fields: list[Field] = []
        for entry in self.headers.fields:
            if entry[0] not in copied:
                continue
            if entry[0] not in {"via", "record-route"}:
                copied.discard(entry[0])
            fields.append(entry if entry[0] != "to" or to is self.to else ("to", "To", str(to)))
        fields += Headers(headers).fields
        return Response(
            status, REASONS.get(status, "") if reason is None else reason, Headers.of_fields(fields, set()), body
        )


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
    head, start, body_at = _find_head(data, deviations)
    message_start, headers = _parse_head(head, deviations, start)
    length = content_length(headers)
    rest = len(data) - body_at
    if length is None:
        length = rest
        if rest:
            deviations.add(Deviation.NO_CONTENT_LENGTH)
    elif length > rest:
        deviations.add(Deviation.CONTENT_LENGTH_TOO_LARGE)
    elif length < rest:
        nulls_only = not data[body_at + length :].strip(b"\0")
        deviations.add(Deviation.TRAILING_NULS if nulls_only else Deviation.SURPLUS_BYTES)
    if min(length, rest) > max_body:
        raise SipParseError(f"body longer than {max_body} bytes", body_at, "RFC 3261 §18.3")
    body = data[body_at : body_at + length]
    if length >= rest and body.endswith(b"\0") and headers.content_length != len(body):
        body = body.rstrip(b"\0")
        deviations.add(Deviation.TRAILING_NULS)
    return assemble(message_start, headers, body, data)


StartLine = tuple[str, Uri] | tuple[int, str]


def assemble(start_line: StartLine, headers: Headers, body: bytes, data: bytes = b"") -> Message:
    """Checks the mandatory headers and puts the message together; raises SipParseError, its offset within `data`."""
    try:
        via, cseq = headers.via, headers.cseq
        sender = headers.from_
        _ = headers.to, headers.call_id
    except SipParseError as error:
        raise _located(error, headers, data) from None
    deviations = headers.deviations
    if isinstance(start_line[0], int):
        return Response(start_line[0], str(start_line[1]), headers, body)
    method, uri = start_line[0], start_line[1]
    if cseq.method != method:
        if cseq.method.upper() != method:
            raise SipParseError(
                f"CSeq of {cseq.method} in a {method}", _offset(data, "cseq", headers), "RFC 3261 §8.1.1.5"
            )
        deviations.add(Deviation.METHOD_CASE)
        headers = headers.replacing("CSeq", CSeq(cseq.number, method))
    if "max-forwards" not in headers.first:
        deviations.add(Deviation.NO_MAX_FORWARDS)
    if not via.has_cookie:
        deviations.add(Deviation.NO_COOKIE)
    if not sender.tag:
        deviations.add(Deviation.NO_FROM_TAG)
    assert isinstance(uri, Uri)
    return Request(method, uri, headers, body)


def content_length(headers: Headers) -> int | None:
    """What Content-Length says, None without one (RFC 3261 §20.14).

    Raises SipParseError if it is no number or two of them disagree.
    """
    if "content-length" not in headers.first:
        return None
    values = {parse_number(text, "RFC 3261 §20.14") for text in headers.get_all("content-length")}
    if len(values) > 1:
        raise SipParseError(f"Content-Length differs from itself: {sorted(values)}", 0, "RFC 3261 §20.14")
    return values.pop()


def _find_head(data: bytes, deviations: set[Deviation]) -> tuple[bytes, int, int]:
    """The head without its blank line, where it starts, and where the body starts."""
    start = 0
    if data[:1] in (b"\r", b"\n"):
        start = len(data) - len(data.lstrip(b"\r\n"))
        deviations.add(Deviation.LEADING_LINES)
    end = data.find(b"\r\n\r\n", start, start + MAX_HEAD_BYTES)
    if end >= 0 and data.find(b"\n\n", start, end) < 0 and data.find(b"\n\r\n", start, end) < 0:
        return data[start:end], start, end + 4
    match = _BLANK_LINE.search(data, start, start + MAX_HEAD_BYTES)
    if match is not None:
        return data[start : match.start()], start, match.end()
    if len(data) - start > MAX_HEAD_BYTES:
        raise SipParseError(f"head longer than {MAX_HEAD_BYTES} bytes", start + MAX_HEAD_BYTES, "RFC 3261 §7")
    if not data.endswith(b"\n"):  # cut off somewhere in a line: its value may be half a value
        raise SipParseError("no blank line after the head", len(data), "RFC 3261 §7")
    deviations.add(Deviation.NO_BLANK_LINE)
    return data[start:].rstrip(b"\r\n"), start, len(data)


def _parse_head(head: bytes, deviations: set[Deviation], start: int) -> tuple[StartLine, Headers]:
    """Start line and fields of a head; offsets in errors are `start` higher."""
    if len(head.translate(None, _CONTROL_BYTES)) != len(head):
        at = next(index for index, code in enumerate(head) if code in _CONTROL_BYTES)
        raise SipParseError(f"control character 0x{head[at]:02x} in the head", start + at, "RFC 3261 §25.1")
    text = _decode(head, deviations)
    lines = _lines(text, deviations, start)
    if len(lines) > MAX_FIELDS + 1:
        raise SipParseError(f"more than {MAX_FIELDS} header fields", start, "RFC 3261 §7.3")
    start_line = _parse_start_line(lines[0], deviations, start)
    fields: list[Field] = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        known = SPELLINGS.get(name)
        if known is None:
            if not colon:
                deviations.add(Deviation.STRAY_LINE)
                continue
            try:
                known = canonical(name)
            except SipParseError as error:
                raise SipParseError(error.what, start + max(head.find(line.encode()), 0), error.clause) from None
        fields.append((*known, value.strip(BLANK)))
    return start_line, Headers.of_fields(fields, deviations)


def _decode(head: bytes, deviations: set[Deviation]) -> str:
    try:
        return head.decode()
    except UnicodeDecodeError:
        deviations.add(Deviation.NOT_UTF8)
        return head.decode("gb18030", "replace")


def _lines(text: str, deviations: set[Deviation], start: int) -> list[str]:
    """Unfolded lines of a head, each within its bound."""
    lines = text.split("\r\n")
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        deviations.add(Deviation.BARE_LF)
        if "\r" in text.replace("\r\n", "\n"):
            raise SipParseError(
                "carriage return inside a line", start + text.replace("\r\n", "\n\n").find("\r"), "RFC 3261 §7"
            )
        lines = text.replace("\r\n", "\n").split("\n")
    if "\n " in text or "\n\t" in text:
        deviations.add(Deviation.FOLDED_LINE)
        if lines[1:2] and lines[1][:1] in (" ", "\t"):
            raise SipParseError("start line folded", start, "RFC 3261 §7.1")
        lines = _FOLD.sub(" ", "\n".join(lines)).split("\n")
    if len(text) > MAX_LINE_CHARS and any(len(line) > MAX_LINE_CHARS for line in lines):
        raise SipParseError(f"line longer than {MAX_LINE_CHARS} characters", start, "RFC 3261 §7")
    return lines


def _parse_start_line(line: str, deviations: set[Deviation], start: int) -> StartLine:
    if line[:4].upper() == "SIP/":
        return _parse_status_line(line, start)
    parts = line.split(" ")
    if len(parts) != 3 or not parts[0] or not parts[1] or parts[1][0] == "<":
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise SipParseError(f"start line not understood: {line[:64]!r}", start, "RFC 3261 §7.1")
        parts = list(match.groups())
        deviations.add(Deviation.START_LINE_SPACING)
        if parts[1][0] == "<":
            deviations.add(Deviation.BRACKETED_REQUEST_URI)
            parts[1] = parts[1][1:-1].strip(BLANK)
    method, uri, version = parts
    if version.upper() != "SIP/2.0":
        raise SipParseError(f"version {version[:32]!r}", start, "RFC 3261 §7.1")
    if method not in METHODS:
        if not TOKEN.fullmatch(method):
            raise SipParseError(f"method not understood: {method[:32]!r}", start, "RFC 3261 §7.1")
        if method.upper() in METHODS:
            deviations.add(Deviation.METHOD_CASE)
            method = method.upper()
    try:
        return method, Uri.parse(uri)
    except SipParseError as error:
        raise SipParseError(error.what, start + line.find(uri) + error.offset, error.clause) from None


def _parse_status_line(line: str, start: int) -> StartLine:
    match = _STATUS_LINE.fullmatch(line)
    if match is None or match[1].upper() != "SIP/2.0":
        raise SipParseError(f"status line not understood: {line[:64]!r}", start, "RFC 3261 §7.2")
    status = int(match[2])
    if not 100 <= status <= 699:
        raise SipParseError(f"status code {status}", start + 8, "RFC 3261 §7.2")
    return status, match[3] or ""


def _located(error: SipParseError, headers: Headers, data: bytes) -> SipParseError:
    """The error of a mandatory header with the offset of its field in the message."""
    for key in ("via", "cseq", "from", "to", "call-id"):
        if headers.unread(key):
            return SipParseError(error.what, _offset(data, key, headers) + error.offset, error.clause)
    return error


def _offset(data: bytes, key: str, headers: Headers) -> int:
    value = headers.first.get(key)
    return max(data.find(value.encode()), 0) if value else 0
