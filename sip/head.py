"""The head of a message: where it ends, its start line and its fields (RFC 3261 §7.1-§7.3, §25.1)."""

import re
from dataclasses import dataclass
from typing import Final

from sip.errors import Deviation, SipParseError
from sip.grammar import BLANK, TOKEN, parse_number
from sip.headers import Field, Headers
from sip.names import SPELLINGS, canonical
from sip.uri import Uri

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_LINE_CHARS: Final = 8 * 1024
MAX_FIELDS: Final = 64  # beside Content-Length

METHODS: Final = frozenset({
    "REGISTER", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "MESSAGE", "INFO", "SUBSCRIBE", "NOTIFY", "PRACK",
    "UPDATE", "REFER", "PUBLISH",
})  # fmt: skip
_CONTROL_BYTES: Final = bytes(code for code in (*range(32), 127) if code not in b"\t\r\n")
_BLANK_LINE: Final = re.compile(rb"\r?\n\r?\n")
_FOLD: Final = re.compile(r"\n[ \t]+")
_REQUEST_LINE: Final = re.compile(r"(\S+)[ \t]+(<[^<>]*>|\S+)[ \t]+(\S+)[ \t]*")
_STATUS_LINE: Final = re.compile(r"([^\s/]+/[^\s/]+)[ \t]+([0-9]{3})(?:[ \t](.*))?")


@dataclass(frozen=True, slots=True)
class RequestLine:
    method: str
    uri: Uri


@dataclass(frozen=True, slots=True)
class StatusLine:
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the body; `content_length` is None if the sender says nothing."""

    start_line: RequestLine | StatusLine
    headers: Headers
    content_length: int | None


def find_end(data: bytes | bytearray, start: int = 0, scanned: int = 0) -> tuple[int, int] | None:
    """Where the head that begins at `start` ends and where the body begins; None if it goes on.

    Bytes before `scanned` are known to hold no end.
    """
    limit = start + MAX_HEAD_BYTES + 4
    end = data.find(b"\r\n\r\n", scanned, limit)
    if end >= 0 and data.find(b"\n\n", scanned, end) < 0 and data.find(b"\n\r\n", scanned, end) < 0:
        return end, end + 4
    match = _BLANK_LINE.search(data, scanned, limit)
    return None if match is None else match.span()


def parse_head(head: bytes, deviations: set[Deviation], start: int = 0) -> Head:
    """Reads a head without its blank line; raises SipParseError, its offset counted `start` higher."""
    if len(head.translate(None, _CONTROL_BYTES)) != len(head):
        at = next(index for index, code in enumerate(head) if code in _CONTROL_BYTES)
        raise SipParseError(f"control character 0x{head[at]:02x} in the head", start + at, "RFC 3261 §25.1")
    text = _decode(head, deviations)
    lines = _lines(text, deviations, start)
    if len(lines) > MAX_FIELDS + 2:
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
    if len(fields) > MAX_FIELDS and not any(key == "content-length" for key, _, _ in fields):
        raise SipParseError(f"more than {MAX_FIELDS} header fields", start, "RFC 3261 §7.3")
    headers = Headers.of_fields(fields, deviations)
    return Head(start_line, headers, _content_length(headers))


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


def _parse_start_line(line: str, deviations: set[Deviation], start: int) -> RequestLine | StatusLine:
    if line[:4].upper() == "SIP/":
        return _parse_status_line(line, start)
    parts = line.split(" ")
    if len(parts) != 3 or not parts[0] or not parts[1] or parts[1][0] == "<":
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise SipParseError(f"start line not understood: {line[:64]!r}", start, "RFC 3261 §7.1")
        parts = list(match.groups())
        if " ".join(parts) != line:
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
        target = Uri.parse(uri)
    except SipParseError as error:
        raise SipParseError(error.what, start + line.find(uri) + error.offset, error.clause) from None
    if target.headers:
        raise SipParseError("Request-URI with headers", start + line.find(uri), "RFC 3261 §19.1.1")
    return RequestLine(method, target)


def _parse_status_line(line: str, start: int) -> RequestLine | StatusLine:
    match = _STATUS_LINE.fullmatch(line)
    if match is None or match[1].upper() != "SIP/2.0":
        raise SipParseError(f"status line not understood: {line[:64]!r}", start, "RFC 3261 §7.2")
    status = int(match[2])
    if not 100 <= status <= 699:
        raise SipParseError(f"status code {status}", start + 8, "RFC 3261 §7.2")
    return StatusLine(status, match[3] or "")


def _content_length(headers: Headers) -> int | None:
    """What Content-Length says, None without one (RFC 3261 §20.14).

    Raises SipParseError if it is no number or two of them disagree.
    """
    if "content-length" not in headers.first:
        return None
    values = {parse_number(text, "RFC 3261 §20.14") for text in headers.get_all("content-length")}
    if len(values) > 1:
        raise SipParseError(f"Content-Length differs from itself: {sorted(values)}", 0, "RFC 3261 §20.14")
    return values.pop()
