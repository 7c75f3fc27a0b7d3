"""Puts an inspection together: from captured frames, a program stream file, or packets of a live receiver. Pure."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import BinaryIO, Final

from construct import ConstructError

from gateway.inspect.capture import Frame, is_capture, read_capture
from gateway.inspect.framing import RtpDeframer
from gateway.inspect.network import Address, Datagram, Network
from gateway.inspect.oddities import Finding, Findings
from gateway.inspect.program_stream import PsAnalysis
from gateway.inspect.report import CaptureReport, RtpReport
from gateway.inspect.rtp_stream import RtpStreamAnalysis, is_plausible
from gateway.inspect.signalling import MediaPromise, Signalling, looks_like_sip
from media.formats.rtcp import is_rtcp
from media.formats.rtp import RtpPacket
from sip import Framer, Message, SipFramingError, SipParseError, parse

STREAMS_MAX: Final = 4_096
CONNECTIONS_MAX: Final = 4_096
_READ_BYTES = 1 << 16
_StreamKey = tuple[str, str, int]


class _Connection:
    """One direction of a TCP connection: SIP, RTP, or neither."""

    def __init__(self, first: bytes) -> None:
        self.sip = Framer() if looks_like_sip(first) else None
        self.rtp = None if self.sip else RtpDeframer()
        self.is_dead = False


class Analyzer:
    """Takes frames or packets in order of time; `report` ends it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._network = Network()
        self._signalling = Signalling()
        self._streams: OrderedDict[_StreamKey, RtpStreamAnalysis] = OrderedDict()
        self._connections: OrderedDict[tuple[Address, Address], _Connection] = OrderedDict()
        self._findings = Findings()
        self._frames = 0
        self._first_us: int | None = None
        self._last_us = 0

    def handle_frame(self, frame: Frame) -> None:
        """A captured frame."""
        self._see(frame.time_us)
        for datagram in self._network.handle_frame(frame):
            if datagram.is_tcp:
                self._stream_bytes(datagram)
            else:
                self._datagram(datagram)

    def handle_packet(self, time_us: int, transport: str, packet: bytes) -> None:
        """An RTP or RTCP packet whose framing was taken off already: what the relay's tap gives."""
        self._see(time_us)
        self._rtp(time_us, "", "", transport, packet)

    def report(self) -> CaptureReport:
        """What was found. Nothing may be handed in any more."""
        origin = self._first_us or 0
        streams = self._link_streams()
        self._judge_connections()
        return CaptureReport(
            self._name,
            self._frames,
            (self._last_us - origin) / 1e6,
            self._signalling.report(),
            streams,
            None,
            self._signalling.findings.oddities() + self._findings.oddities(),
        )

    def _see(self, time_us: int) -> None:
        self._frames += 1
        if self._first_us is None:
            self._first_us = time_us
        self._last_us = max(self._last_us, time_us)

    def _at(self, time_us: int) -> float:
        return (time_us - (self._first_us or 0)) / 1e6

    def _datagram(self, datagram: Datagram) -> None:
        if looks_like_sip(datagram.data):
            try:
                message = parse(datagram.data)
            except SipParseError as error:
                self._sip(datagram, error, len(datagram.data))
            else:
                self._sip(datagram, message, len(datagram.data))
        else:
            ends = str(datagram.source), str(datagram.destination)
            self._rtp(datagram.time_us, *ends, "udp", datagram.data)

    def _sip(self, datagram: Datagram, message: Message | SipParseError, size: int) -> None:
        self._signalling.handle(self._at(datagram.time_us), datagram, message, size)

    def _stream_bytes(self, datagram: Datagram) -> None:
        key = (datagram.source, datagram.destination)
        connection = self._connections.get(key)
        if connection is None:
            connection = self._connections[key] = _Connection(datagram.data)
            if len(self._connections) > CONNECTIONS_MAX:
                self._connections.popitem(last=False)
        if connection.sip is not None and not connection.is_dead:
            self._sip_bytes(connection, connection.sip, datagram)
        elif connection.rtp is not None:
            ends = str(datagram.source), str(datagram.destination)
            for packet in connection.rtp.handle(datagram.data, gap=datagram.gap):
                self._rtp(datagram.time_us, *ends, "tcp", packet)

    def _sip_bytes(self, connection: _Connection, framer: Framer, datagram: Datagram) -> None:
        framer.handle_data(self._at(datagram.time_us), datagram.data)
        try:
            while (message := framer.poll_message()) is not None:
                self._sip(datagram, message, 0 if isinstance(message, SipParseError) else len(bytes(message)))
        except SipFramingError as error:
            connection.is_dead = True
            self._findings.add(Finding.SIP_UNREADABLE, f"connection from {datagram.source}", detail=str(error))

    def _rtp(self, time_us: int, source: str, destination: str, transport: str, data: bytes) -> None:
        if len(data) < 12 or data[0] >> 6 != 2 or is_rtcp(data):
            return
        try:
            packet = RtpPacket.parse(data)
        except ConstructError:
            self._findings.add(Finding.UNREADABLE_RTP, f"{self._at(time_us):.3f} s from {source}")
            return
        key = (source, destination, packet.ssrc)
        analysis = self._streams.get(key)
        if analysis is None:
            if len(self._streams) >= STREAMS_MAX:
                return
            analysis = self._streams[key] = RtpStreamAnalysis(packet.ssrc, source, destination, transport)
        analysis.handle(time_us, packet, len(data))

    def _link_streams(self) -> list[RtpReport]:
        """Reports of what was RTP indeed, each with the call that it belongs to."""
        promises, reports = self._signalling.promises(), []
        for analysis in self._streams.values():
            if not is_plausible(analysis):
                continue
            promise = next((one for one in promises if _belongs(analysis, one)), None)
            if promise is not None:
                analysis.call_id = promise.call_id
                self._signalling.media_seen(promise.call_id)
                if promise.ssrc is not None and promise.ssrc != analysis.ssrc:
                    detail = f"{promise.ssrc:010} agreed, {analysis.ssrc:010} sent"
                    analysis.findings.add(Finding.SSRC_DIFFERS, detail=detail)
            reports.append(analysis.report(self._first_us or 0))
        return reports

    def _judge_connections(self) -> None:
        media = {(analysis.source, analysis.destination) for analysis in self._streams.values()}
        for (source, destination), connection in self._connections.items():
            if connection.rtp is None or (str(source), str(destination)) not in media:
                continue
            if connection.rtp.dollar:
                self._findings.add(Finding.DOLLAR_FRAMING, str(source))
            if connection.rtp.garbage_bytes:
                detail = f"{connection.rtp.garbage_bytes} bytes from {source}"
                self._findings.add(Finding.TCP_GARBAGE, str(source), detail=detail)


def _belongs(analysis: RtpStreamAnalysis, promise: MediaPromise) -> bool:
    """By the receiver's address and port, or by that of a device that listens, or by the SSRC."""
    receiver, answerer = (str(Address(*end)) for end in (promise.receiver, promise.answerer))
    if analysis.destination == receiver or (promise.is_tcp and analysis.source == answerer):
        return True
    return promise.ssrc is not None and promise.ssrc == analysis.ssrc


def inspect_file(file: BinaryIO, name: str) -> CaptureReport:
    """A capture or a program stream. CaptureError if a capture is damaged in its middle."""
    head = file.read(4)
    file.seek(0)
    if is_capture(head):
        analyzer = Analyzer(name)
        for frame in read_capture(file):
            analyzer.handle_frame(frame)
        return analyzer.report()
    return _inspect_program(file, name)


def _inspect_program(file: BinaryIO, name: str) -> CaptureReport:
    analysis = PsAnalysis()
    while data := file.read(_READ_BYTES):
        analysis.handle(data)
    program = analysis.finish()
    return CaptureReport(name, 0, program.seconds, program=program)


def explain_packets(packets: Iterable[tuple[int, str, bytes]], name: str = "live") -> CaptureReport:
    """Packets of one receiver as `media._core.Tap.read` gives them: (arrival in µs, "udp" or "tcp", packet)."""
    analyzer = Analyzer(name)
    for time_us, transport, packet in packets:
        analyzer.handle_packet(time_us, transport, packet)
    return analyzer.report()
