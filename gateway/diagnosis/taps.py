"""A live receiver's packets as a capture file, written while they come. Bounded in time, bytes and number."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Final, Protocol

from gateway.errors import ConflictError
from gateway.inspect.capture_writer import CaptureWriter, address_of, local_to
from gateway.streams.live import ReceivedStream
from media._core import Tap

SECONDS_MAX: Final = 60.0
BYTES_MAX: Final = 64 << 20
"""Of one capture; then it ends."""
TAPS_MAX: Final = 8
"""At once: each copies every packet of its stream."""
WAITING_MAX: Final = 8_192
"""Packets that wait in the relay for us; the newest are dropped beyond."""
READ_AT_ONCE: Final = 256
PAUSE: Final = 0.02
"""Seconds between two readings of an empty tap."""


class TapError(ConflictError):
    """The channel is being tapped already, or too many are."""


class Receivers(Protocol):
    """As much of the relay as is needed (`media.relay.Relay`)."""

    def tap(self, receiver: int, *, packets: int) -> Tap: ...
    def stream(self, app: str, name: str) -> ReceivedStream | None: ...


class Taps:
    """Of one relay; `capture` makes one."""

    def __init__(self, relay: Receivers) -> None:
        self._relay = relay
        self._open: set[int] = set()

    async def capture(self, receiver: int, app: str, name: str, host: str, seconds: float) -> AsyncIterator[bytes]:
        """A pcap in pieces, of what comes to `receiver` for `seconds` from now, and no more than `BYTES_MAX`.

        `host` is our address in it. TapError at once; media._core.UnknownReceiverError if the receiver is closed.
        """
        pieces = self._pieces(receiver, (app, name), host, min(seconds, SECONDS_MAX))
        await anext(pieces)  # begun: now it ends the tap however it ends, even if nobody takes a piece
        return pieces

    async def _pieces(self, receiver: int, stream: tuple[str, str], host: str, seconds: float) -> AsyncIterator[bytes]:
        if receiver in self._open:
            raise TapError("the channel is being tapped already")
        if len(self._open) >= TAPS_MAX:
            raise TapError(f"{TAPS_MAX} channels are being tapped already")
        loop = asyncio.get_running_loop()
        tap = self._relay.tap(receiver, packets=WAITING_MAX)
        self._open.add(receiver)
        ends_at, left, writer = loop.time() + seconds, BYTES_MAX, None
        try:
            with closing(tap):
                yield b""
                yield CaptureWriter.head()
                while left > 0 and (loop.time() < ends_at):
                    packets = tap.read(READ_AT_ONCE)
                    if not packets:
                        await asyncio.sleep(PAUSE)
                        continue
                    writer = writer or self._writer(stream, host)
                    piece = b"".join(writer.record(*packet) for packet in packets)
                    left -= len(piece)
                    yield piece
        finally:
            self._open.discard(receiver)

    def _writer(self, stream: tuple[str, str], host: str) -> CaptureWriter:
        """Made at the first packet, when the peer is known."""
        seen = self._relay.stream(*stream)
        peer = address_of(seen.peer if seen is not None else None, like=host)
        return CaptureWriter(peer, local_to(peer, host, seen.port if seen is not None else 0))
