"""What can be wrong with SIP text: the one error of every parser here, and the departures that are tolerated."""

from enum import Enum, auto


class SipError(Exception):
    """Base of all errors of this library."""


class SipParseError(SipError, ValueError):
    """Bytes from a peer that cannot be understood; never a fault of our own.

    `offset` counts from the start of what was given to the parser; for a header value inside a message, of the message.
    """

    def __init__(self, what: str, offset: int = 0, clause: str = "RFC 3261 §7") -> None:
        super().__init__(what, offset, clause)
        self.what = what
        self.offset = offset
        self.clause = clause

    def __str__(self) -> str:
        return f"{self.what} at offset {self.offset} ({self.clause})"


class SipFramingError(SipParseError):
    """A byte stream whose message borders are lost: nothing after it can be trusted, close the connection."""


class Deviation(Enum):
    """A departure from the standard that was understood all the same; count it per device and show it."""

    LEADING_LINES = auto()  # blank lines before the start line (allowed by RFC 3261 §7.5 on streams)
    BARE_LF = auto()  # lines end in LF
    NO_BLANK_LINE = auto()  # the head ends with the datagram
    FOLDED_LINE = auto()  # obsolete line folding, which RFC 3261 §7.3.1 allows
    NOT_UTF8 = auto()  # the head was read as GB 18030
    STRAY_LINE = auto()  # a header line without a colon, skipped
    START_LINE_SPACING = auto()  # blanks too many in the start line
    METHOD_CASE = auto()  # a known method not in capitals
    BRACKETED_REQUEST_URI = auto()  # Request-URI in <>
    EMPTY_HOST = auto()  # sip:user@ with no host
    DUPLICATE_HEADER = auto()  # a header that may come once came again: the first one counts
    NO_MAX_FORWARDS = auto()  # request without Max-Forwards
    NO_COOKIE = auto()  # topmost branch missing, without z9hG4bK (RFC 2543 style) or nothing else
    NO_FROM_TAG = auto()  # From without tag (RFC 2543 style)
    ADDRESS_FORM = auto()  # blanks inside <>, or a bare URI with ? that needs <> (RFC 3261 §20.10)
    UNQUOTED_DISPLAY_NAME = auto()  # display name with characters that need quotes
    MALFORMED_HEADER = auto()  # an optional header that cannot be read and counts as absent
    NO_CONTENT_LENGTH = auto()  # a body without Content-Length: it reaches to the end of the datagram
    CONTENT_LENGTH_TOO_LARGE = auto()  # Content-Length promises more than the datagram holds
    SURPLUS_BYTES = auto()  # bytes after the body, dropped
    TRAILING_NULS = auto()  # NUL bytes after the body, dropped
