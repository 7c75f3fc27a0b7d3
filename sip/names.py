"""Names of header fields: spelling, compact forms, and which may come once only (RFC 3261 §7.3, §20)."""

from typing import Final

from sip.errors import SipParseError
from sip.grammar import BLANK, TOKEN

LONG: Final = [
    "Accept", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Allow-Events", "Authentication-Info",
    "Authorization", "Call-ID", "Call-Info", "Contact", "Content-Disposition", "Content-Encoding", "Content-Language",
    "Content-Length", "Content-Type", "CSeq", "Date", "Error-Info", "Event", "Expires", "From", "In-Reply-To",
    "Max-Forwards", "MIME-Version", "Min-Expires", "Organization", "Path", "Priority", "Proxy-Authenticate",
    "Proxy-Authorization", "Proxy-Require", "Reason", "Record-Route", "Refer-To", "Referred-By", "Reply-To", "Require",
    "Retry-After", "Route", "Server", "Session-Expires", "Subject", "Subscription-State", "Supported", "Timestamp",
    "To", "Unsupported", "User-Agent", "Via", "Warning", "WWW-Authenticate",
]  # fmt: skip
COMPACT: Final = {  # RFC 3261 §7.3.3, RFC 6665 §8.2, RFC 3515 §2.1, RFC 4028, RFC 3892
    "i": "Call-ID", "m": "Contact", "e": "Content-Encoding", "l": "Content-Length", "c": "Content-Type", "f": "From",
    "s": "Subject", "k": "Supported", "t": "To", "v": "Via", "o": "Event", "u": "Allow-Events", "r": "Refer-To",
    "x": "Session-Expires", "b": "Referred-By",
}  # fmt: skip
SINGLE: Final = frozenset({  # keys of headers whose second field is a deviation
    "authorization", "call-id", "content-disposition", "content-length", "content-type", "cseq", "date", "event",
    "expires", "from", "max-forwards", "mime-version", "min-expires", "proxy-authorization", "retry-after", "server",
    "subject", "subscription-state", "to", "user-agent",
})  # fmt: skip


def _spellings() -> dict[str, tuple[str, str]]:
    spellings: dict[str, tuple[str, str]] = {}
    for name in LONG:
        for spelling in (name, name.lower(), name.upper(), name.title()):
            spellings[spelling] = (name.lower(), name)
    for short, name in COMPACT.items():
        spellings[short] = spellings[short.upper()] = (name.lower(), name)
    return spellings


# Spelling on the wire -> (key, name as written); the usual spellings stand in it, so that a field costs one look-up.
SPELLINGS: Final = _spellings()


def canonical(name: str) -> tuple[str, str]:
    """Key (lower-case long form) and spelling of a header name in any form; SipParseError if it is no token."""
    known = SPELLINGS.get(name)
    if known is None:
        name = name.strip(BLANK)
        if not TOKEN.fullmatch(name):
            raise SipParseError(f"header name not understood: {name[:32]!r}", 0, "RFC 3261 §7.3.1")
        known = SPELLINGS.get(name.lower(), (name.lower(), name))
    return known
