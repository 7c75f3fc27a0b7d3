"""Explains one RTP source: figures, order, payload, and the program stream inside. Pure."""

import heapq
from typing import Any, Final

from gateway.inspect.oddities import Finding, Findings
from gateway.inspect.program_stream import PsAnalysis
from gateway.inspect.report import RtpReport
from gateway.inspect.rtp_statistics import RtpStatistics

REORDER_MAX: Final = 128
"""Packets held back for a missing one: more than any relay would, for here nobody waits."""
_PACK: Final = b"\x00\x00\x01\xba"
_STATIC: Final = {0: "g711u", 4: "g723.1", 8: "g711a", 9: "g722.1", 18: "g729"}
_USUAL: Final = {98: "h264", 99: "h265", 100: "h265"}
_JUMP: Final = 10 * 90_000


class RtpStreamAnalysis:
    """Takes the packets of one source, already parsed, in order of arrival."""

    def __init__(self, ssrc: int, source: str, destination: str, transport: str) -> None:
        self.ssrc, self.source, self.destination, self.transport = ssrc, source, destination, transport
        self.findings = Findings()
        self.statistics = RtpStatistics()
        self.call_id: str | None = None
        self.encodings: dict[int, str] = {}
        """Payload types with the encoding names that an answer's SDP gave them."""
        self._early: list[tuple[int, int, bytes]] = []  # extended number, time stamp, payload
        self._next: int | None = None
        self._timestamp: int | None = None
        self._payload = ""
        self._program: PsAnalysis | None = None
        self._packs = self._frozen = 0

    def handle(self, now_us: int, packet: Any, size: int) -> None:
        """One packet as `RtpPacket` parsed it."""
        statistics, where = self.statistics, f"packet {self.statistics.received + 1}"
        number = statistics.handle(now_us, packet.sequence_number, packet.timestamp, size)
        if number is None:
            return
        statistics.payload_types[packet.bits.payload_type] += 1
        statistics.markers += packet.bits.marker
        if len(packet.payload) > 1_400 and self.transport == "udp":
            self.findings.add(Finding.PACKET_TOO_LONG, where)
        if not self._payload:
            self._payload = self._recognise(packet.bits.payload_type, packet.payload)
        heapq.heappush(self._early, (number, packet.timestamp, packet.payload))
        if self._next is None:
            self._next = number
        self._release(REORDER_MAX)

    def _recognise(self, payload_type: int, payload: bytes) -> str:
        """The payload's kind by its first bytes, then by what the SDP says, then by custom."""
        if payload.startswith(_PACK):
            return "ps"
        if len(payload) >= 188 and payload[0] == 0x47 and len(payload) % 188 == 0:
            return "ts"
        if payload_type in self.encodings:
            return self.encodings[payload_type].lower()
        if payload_type == 96:
            return ""  # a program stream met in its middle, or not: the next packets tell
        return _STATIC.get(payload_type) or _USUAL.get(payload_type, "unknown")

    def _release(self, hold: int) -> None:
        """Hands on what is in order; gives a gap up when more than `hold` packets wait behind it."""
        while self._early and (self._early[0][0] <= (self._next or 0) or len(self._early) > hold):
            number, timestamp, payload = heapq.heappop(self._early)
            if self._next is not None and number > self._next and self._program is not None:
                self._program.gap()
            self._next = max(number + 1, self._next or 0)
            self._in_order(timestamp, payload)

    def _in_order(self, timestamp: int, payload: bytes) -> None:
        is_new = timestamp != self._timestamp
        if self._timestamp is not None and is_new:
            step = ((timestamp - self._timestamp + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
            if abs(step) > _JUMP:
                self.findings.add(Finding.RTP_TIMESTAMP_JUMP, f"time stamp {timestamp}")
        if payload.startswith(_PACK):
            self._packs += 1
            self._frozen += not is_new
        self._timestamp = timestamp
        if self._payload in {"ps", ""}:
            self._program_stream(payload, is_new)

    def _program_stream(self, payload: bytes, is_new: bool) -> None:
        begins = payload.startswith(_PACK)
        if self._program is None:
            if self._payload != "ps":
                return
            self._program = PsAnalysis()
        if is_new and begins:  # whatever was begun before cannot go on
            self._program.border()
        self._program.handle(payload)

    def report(self, origin_us: int) -> RtpReport:
        """The end of the source."""
        self._release(0)
        figures, program = self.statistics, self._program.finish() if self._program else None
        self._judge()
        rate = figures.bytes * 8 / figures.seconds if figures.seconds > 0 else 0.0
        return RtpReport(
            f"{self.ssrc:010}",
            self.source,
            self.destination,
            self.transport,
            self._payload or "unknown",
            dict(figures.payload_types),
            (figures.first_us - origin_us) / 1e6,
            figures.seconds,
            figures.received,
            figures.expected,
            figures.lost,
            figures.reordered,
            figures.duplicates,
            round(figures.jitter_ms, 3),
            figures.bytes,
            int(rate),
            figures.markers,
            self.call_id,
            program,
            self.findings.oddities(),
        )

    def _judge(self) -> None:
        figures, findings = self.statistics, self.findings
        for count, finding in (
            (figures.lost, Finding.LOSS),
            (figures.reordered, Finding.REORDERED),
            (figures.duplicates, Finding.DUPLICATES),
            (figures.restarts, Finding.SEQUENCE_RESTART),
        ):
            if count:
                findings.add(finding, count=count)
        if not self.ssrc:
            findings.add(Finding.SSRC_ZERO)
        if figures.received > 10 and not figures.markers:
            findings.add(Finding.MARKER_NEVER)
        if figures.received > 10 and figures.markers == figures.received and self._packs < figures.received:
            findings.add(Finding.MARKER_ALWAYS)
        if len(figures.payload_types) > 1:
            findings.add(Finding.PAYLOAD_TYPE_CHANGES, detail=str(dict(figures.payload_types)))
        if self._packs > 10 and self._frozen * 2 > self._packs:
            findings.add(Finding.RTP_TIMESTAMP_FROZEN, count=self._frozen)
        if self._payload in {"", "unknown"}:
            findings.add(Finding.PAYLOAD_UNKNOWN)


def is_plausible(analysis: RtpStreamAnalysis) -> bool:
    """Whether this was RTP at all: any datagram that begins with 80–BF looks like it, few go on so."""
    figures = analysis.statistics
    return figures.received >= 3 and figures.restarts * 4 <= figures.received
