"""SIP traces of single devices: switched on by an operator, kept in a small ring, and logged. Secrets are masked."""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from gateway.devices.model import DeviceId
from gateway.errors import ConflictError
from sip.endpoint import Endpoint
from sip.flow import Address
from sip.watchers import Trace

log = structlog.get_logger(__name__)

KEPT: Final = 200
"""Messages kept of one device."""
BYTES_KEPT: Final = 16_384
"""Of one message."""
TRACED_AT_ONCE: Final = 100
_NAMED: Final = re.compile(rb"(?i)sips?:([0-9a-z]{1,32})@")
_SECRETS: Final = re.compile(
    rb'(?i)((?:response|cnonce|nonce)[ \t]*=[ \t]*"?)[^",\s]*|(<Password>)[^<]*|(\ba=password:)[^\r\n]*',
)


@dataclass(frozen=True, slots=True)
class TracedMessage:
    """One message as it went over the wire; `text` has secrets masked."""

    at: datetime
    sent: bool
    transport: str
    local: str
    remote: str
    text: str


class TooManyTracesError(ConflictError):
    """Tracing costs time for every message: only so many devices at once."""


class SipTraces:
    """Keeps the messages of the devices that somebody looks at. While nobody does, it costs nothing.

    `address(device_id)` is where the device is registered from, None if others are there too; a message belongs to a
    device whose id a URI in its head has, or that it came from or goes to. What a body says proves nothing: others'
    catalogues name many ids, and an id given by hand may be a single letter.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        address: Callable[[DeviceId], Address | None],
        utc_now: Callable[[], datetime],
    ) -> None:
        self._endpoint = endpoint
        self._address = address
        self._utc_now = utc_now
        self._rings: dict[DeviceId, deque[TracedMessage]] = {}
        self._stop: Callable[[], None] | None = None

    def start(self, device_id: DeviceId) -> None:
        """Begins to keep a device's messages; TooManyTracesError."""
        if device_id not in self._rings and len(self._rings) >= TRACED_AT_ONCE:
            raise TooManyTracesError(f"{TRACED_AT_ONCE} devices are traced already")
        self._rings.setdefault(device_id, deque(maxlen=KEPT))
        if self._stop is None:
            self._stop = self._endpoint.trace(self._take)

    def stop(self, device_id: DeviceId) -> None:
        """Ends it and forgets what was kept."""
        self._rings.pop(device_id, None)
        if not self._rings and self._stop is not None:
            self._stop()
            self._stop = None

    def is_traced(self, device_id: DeviceId) -> bool:
        """Whether the device is being traced."""
        return device_id in self._rings

    def messages(self, device_id: DeviceId) -> list[TracedMessage]:
        """What was kept, oldest first."""
        return list(self._rings.get(device_id, ()))

    def _take(self, trace: Trace) -> None:
        named = {name.decode() for name in _NAMED.findall(trace.data.partition(b"\r\n\r\n")[0])}
        for device_id, ring in self._rings.items():
            if device_id in named or trace.flow.remote == self._address(device_id):
                message = self._message(trace)
                ring.append(message)
                log.info(
                    "sip", device=device_id, sent=trace.sent, remote=message.remote, message=message.text
                )  # the switch is the operator's wish to see it

    def _message(self, trace: Trace) -> TracedMessage:
        flow = trace.flow
        return TracedMessage(
            at=self._utc_now(),
            sent=trace.sent,
            transport=flow.transport,
            local=str(flow.local),
            remote=str(flow.remote),
            text=masked(trace.data[:BYTES_KEPT]),
        )


def masked(data: bytes) -> str:
    """A message as text, digests and passwords left out."""
    return _SECRETS.sub(_mask, data).decode("utf-8", "backslashreplace")


def _mask(match: re.Match[bytes]) -> bytes:
    return (match[1] or match[2] or match[3]) + b"***"
