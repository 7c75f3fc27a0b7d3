"""Cuts a byte stream into SIP messages by Content-Length (RFC 3261 §18.3, RFC 5626 §3.5.1). No socket, no clock."""

import re
from enum import Enum, auto
from typing import Final

from sip.errors import Deviation, SipFramingError, SipParseError
from sip.head import MAX_HEAD_BYTES, MAX_LINE_CHARS, Head, find_end, parse_head
from sip.message import MAX_BODY_BYTES, Message, assemble

PATIENCE: Final = 30.0  # seconds for a message once begun

_BLANK: Final = b"\r\n\0"
_PING: Final = b"\r\n\r\n"
_PONG: Final = b"\r\n"
_LENGTH: Final = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class _State(Enum):
    BETWEEN, HEAD, BODY, BROKEN = (auto() for _ in range(4))


class Framer:
    """Takes the bytes of one connection as they come, split anywhere; gives messages.

    A message that is well framed but cannot be read is given as its SipParseError: count it and go on. When the borders
    are lost, `poll_message` raises SipFramingError, then and for ever: close the connection. All times are monotonic
    seconds. Poll all messages after each read, and memory is bound by `max_body` + 64 KiB + one read.
    """

    def __init__(self, *, max_body: int = MAX_BODY_BYTES, patience: float = PATIENCE) -> None:
        self.pings = 0  # double CRLFs between messages
        self._max_body = max_body
        self._patience = patience
        self._state = _State.BETWEEN
        self._buffer = bytearray()
        self._now = 0.0  # of the last bytes
        self._due: float | None = None
        self._scanned = 0  # bytes of the buffer known to hold no end of the head
        self._is_sip = False  # the first line of this head was seen and is SIP
        self._blank = 0  # bytes of blank lines since the last message
        self._pong = False
        self._head: Head | SipParseError | None = None
        self._length = 0  # of the body awaited

    def handle_data(self, now: float, data: bytes) -> None:
        """Takes what was read from the connection; poll messages and output after it."""
        self._now = now
        if self._state is not _State.BROKEN:
            self._buffer += data

    def handle_timeout(self, now: float) -> None:
        """Lets time pass: a message begun and not completed in time breaks the stream."""
        if self._due is not None and now >= self._due:
            self._break()

    def next_timeout(self) -> float | None:
        return self._due

    def poll_message(self) -> Message | SipParseError | None:
        """The next message, or why it could not be read; None until more bytes come. SipFramingError: close."""
        if self._state is _State.BROKEN:
            raise SipFramingError("the borders of the messages are lost", 0, "RFC 3261 §18.3")
        if self._state is _State.BETWEEN and not self._skip_blank_lines():
            return None
        if self._state is _State.HEAD and not self._read_head():
            return None
        return self._read_body()

    def poll_output(self) -> bytes | None:
        """Bytes to send back: the answer to a keepalive. Several pings that wait together are worth one answer."""
        if not self._pong:
            return None
        self._pong = False
        return _PONG

    def _skip_blank_lines(self) -> bool:
        """Drops CRLFs, of which two are a ping, and NULs, which may follow a body; whether anything else is there."""
        if self._buffer[:1] in _BLANK:
            rest = self._buffer.lstrip(_BLANK)
            self._blank += len(self._buffer) - len(rest)
            self._buffer = rest
        if not self._buffer:
            if self._blank >= len(_PING):
                self.pings, self._blank, self._pong = self.pings + 1, 0, True
            return False
        self._state, self._scanned, self._blank, self._is_sip = _State.HEAD, 0, 0, False
        self._due = self._now + self._patience
        return True

    def _read_head(self) -> bool:
        """Cuts the head off as soon as it is there; whether it is."""
        if not self._is_sip and (newline := self._buffer.find(b"\n")) >= 0:
            self._is_sip = b"SIP/" in self._buffer[: min(newline, MAX_LINE_CHARS)].upper()
            if not self._is_sip:
                raise self._broken(f"not SIP: {bytes(self._buffer[:32])!r}")
        span = find_end(self._buffer, 0, self._scanned)
        if span is None:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise self._broken(f"head longer than {MAX_HEAD_BYTES} bytes")
            self._scanned = max(len(self._buffer) - 3, 0)
            return False
        head = bytes(self._buffer[: span[0]])
        del self._buffer[: span[1]]
        try:
            self._head = parse_head(head, set())
            self._length = self._head.content_length or 0
        except SipParseError as error:
            self._head, self._length = error, self._length_of_unreadable(head, error)
        if self._length > self._max_body:
            raise self._broken(f"body longer than {self._max_body} bytes")
        self._state = _State.BODY
        return True

    def _length_of_unreadable(self, head: bytes, error: SipParseError) -> int:
        """Where the next message starts can still be known if the only Content-Length is a plain one."""
        lengths = _LENGTH.findall(head)
        if len(lengths) != 1:
            raise self._broken(str(error)) from error
        return int(lengths[0])

    def _read_body(self) -> Message | SipParseError | None:
        if len(self._buffer) < self._length:
            return None
        body = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        head, self._head = self._head, None
        self._state, self._due = _State.BETWEEN, None
        if not isinstance(head, Head):
            return head
        if head.content_length is None:  # mandatory on streams (RFC 3261 §20.14); forgotten where there is no body
            head.headers.deviations.add(Deviation.NO_CONTENT_LENGTH)
        try:
            return assemble(head, body)
        except SipParseError as error:
            return error

    def _broken(self, what: str) -> SipFramingError:
        self._break()
        return SipFramingError(what, 0, "RFC 3261 §18.3")

    def _break(self) -> None:
        self._state, self._due, self._head = _State.BROKEN, None, None
        self._buffer.clear()
