"""Cuts a TCP connection's bytes into RTP packets (RFC 4571, or RFC 2326 §10.12), and finds the way back when lost."""

from typing import Final

BUFFER_BYTES_MAX: Final = 1 << 20
PACKET_BYTES_MIN: Final = 12


class RtpDeframer:
    """Takes bytes split anywhere, gives packets. What fits no framing is skipped and counted in `garbage_bytes`."""

    def __init__(self) -> None:
        self.dollar: bool | None = None
        """Whether the framing is that of RTSP; None until the first packet."""
        self.garbage_bytes = 0
        self.resyncs = 0
        self._buffer = bytearray()
        self._lost = False

    def handle(self, data: bytes, *, gap: bool = False) -> list[bytes]:
        """The packets that are complete now; after a `gap` what was begun is dropped."""
        if gap:
            self._drop(len(self._buffer))
        self._buffer += data
        packets = []
        while (size := self._next_size()) is not None:
            head = 4 if self._buffer[0] == 0x24 else 2
            if len(self._buffer) < head + size:
                break
            packets.append(bytes(self._buffer[head : head + size]))
            self.dollar = head == 4
            self._lost = False
            del self._buffer[: head + size]
        return packets

    def _next_size(self) -> int | None:
        """Length of the packet at the front, after skipping what cannot be one; None if more bytes are needed."""
        at = 0
        while len(self._buffer) - at >= 6:
            size = self._size_at(at)
            if size is not None and (not self._lost or self._follows(at, size)):
                self._drop(at)
                return size
            at += 1
            self._lost = True
        self._drop(at)
        return None

    def _size_at(self, at: int) -> int | None:
        """The length if a frame may begin there: version 2 and room for a header."""
        head = 4 if self._buffer[at] == 0x24 and self._buffer[at + 4] >> 6 == 2 else 2
        size = int.from_bytes(self._buffer[at + head - 2 : at + head], "big")
        return size if size >= PACKET_BYTES_MIN and self._buffer[at + head] >> 6 == 2 else None

    def _follows(self, at: int, size: int) -> bool:
        """When searching, one header is no proof: another must follow, as far as bytes are there."""
        behind = at + size + (4 if self._buffer[at] == 0x24 else 2)
        return len(self._buffer) < behind + 6 or self._size_at(behind) is not None

    def _drop(self, count: int) -> None:
        if count:
            self.garbage_bytes += count
            self.resyncs += 1
            del self._buffer[:count]
