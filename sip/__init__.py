"""A general SIP library for asyncio: sans-IO machines first, transports and an `Endpoint` around them.

Knows nothing of GB/T 28181 beyond tolerance for what its devices send. Exported here is the syntax; `sip.sdp`,
`sip.digest`, the machines and the shells are imported by name, so that reading a message costs nothing else.
"""

from sip.errors import Deviation, SipError, SipFramingError, SipParseError
from sip.framing import Framer
from sip.headers import Headers
from sip.message import METHODS, REASONS, Message, Request, Response, is_keepalive, parse
from sip.uri import Uri
from sip.values import Auth, CSeq, Event, NameAddr, SubscriptionState, Via

__all__ = [
    "METHODS",
    "REASONS",
    "Auth",
    "CSeq",
    "Deviation",
    "Event",
    "Framer",
    "Headers",
    "Message",
    "NameAddr",
    "Request",
    "Response",
    "SipError",
    "SipFramingError",
    "SipParseError",
    "SubscriptionState",
    "Uri",
    "Via",
    "is_keepalive",
    "parse",
]
