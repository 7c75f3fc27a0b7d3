"""Explains SIP: messages grouped by Call-ID, what they carry, and how each call ended. Pure."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from gateway.gb28181.manscdp import parse as parse_manscdp
from gateway.gb28181.markup import ManscdpError
from gateway.inspect.network import Datagram
from gateway.inspect.oddities import Finding, Findings
from gateway.inspect.report import SipSession, SipStep
from media.formats.ptz import PtzError, describe_ptz, parse_ptz
from sip import Message, Request, Response, SipParseError
from sip.sdp import SessionDescription, Setup
from sip.sdp import parse as parse_sdp

SESSIONS_MAX: Final = 10_000
STEPS_MAX: Final = 1_000
_STARTS: Final = (
    b"SIP/2.0 ", b"REGISTER ", b"INVITE ", b"ACK ", b"BYE ", b"CANCEL ", b"MESSAGE ", b"INFO ", b"OPTIONS ",
    b"SUBSCRIBE ", b"NOTIFY ", b"UPDATE ", b"PRACK ", b"REFER ", b"PUBLISH ",
)  # fmt: skip


def looks_like_sip(data: bytes) -> bool:
    """Whether a datagram or connection begins like SIP."""
    return data.lstrip(b"\r\n")[:10].startswith(_STARTS)


@dataclass(frozen=True)
class MediaPromise:
    """What an answered INVITE says about the media to come."""

    call_id: str
    receiver: tuple[str, int]
    ssrc: int | None
    is_tcp: bool
    encodings: dict[int, str]
    answerer: tuple[str, int]


@dataclass
class _Session:
    method: str
    from_user: str
    to_user: str
    findings: Findings = field(default_factory=Findings)
    steps: list[SipStep] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)
    answered: dict[tuple[int, str], int] = field(default_factory=dict)  # CSeq → last status
    asked: set[tuple[int, str]] = field(default_factory=set)
    offer: SessionDescription | None = None
    answer: SessionDescription | None = None
    ended: bool = False
    media_seen: bool = False


class Signalling:
    """Takes messages in order of time."""

    def __init__(self) -> None:
        self.findings = Findings()
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def handle(self, at: float, datagram: Datagram, data: Message | SipParseError, size: int) -> None:
        """One message of `datagram`, or why it could not be read; `at` in seconds since the capture began."""
        source, transport = datagram.source, "tcp" if datagram.is_tcp else "udp"
        if isinstance(data, SipParseError):
            self.findings.add(Finding.SIP_UNREADABLE, f"{at:.3f} s from {source}", detail=str(data))
            return
        session = self._session(data)
        if session is None or len(session.steps) >= STEPS_MAX:
            return
        raw = bytes(data)
        retransmission = raw in session.seen
        session.seen.add(raw)
        for deviation in data.deviations:
            session.findings.add(Finding.SIP_DEVIATION, f"{at:.3f} s", detail=deviation.name.lower().replace("_", " "))
        details = self._body(session, data)
        if not retransmission:
            self._follow(session, data)
        step = SipStep(
            at, str(source), str(datagram.destination), transport, _summary(data), details, size, retransmission
        )
        session.steps.append(step)

    def promises(self) -> list[MediaPromise]:
        """The media that answered calls announced."""
        found = []
        for call_id, session in self._sessions.items():
            promise = _promise(call_id, session)
            if promise is not None:
                found.append(promise)
        return found

    def media_seen(self, call_id: str) -> None:
        """Media of this call was found."""
        self._sessions[call_id].media_seen = True

    def report(self) -> list[SipSession]:
        """All sessions in order of their first message."""
        return [self._finish(call_id, session) for call_id, session in self._sessions.items()]

    def _session(self, message: Message) -> _Session | None:
        session = self._sessions.get(message.call_id)
        if session is None:
            if len(self._sessions) >= SESSIONS_MAX:
                return None
            session = _Session(message.cseq.method, message.from_.uri.user or "", message.to.uri.user or "")
            self._sessions[message.call_id] = session
        return session

    def _follow(self, session: _Session, message: Message) -> None:
        """Notes requests, their answers and the end of the call."""
        key = (message.cseq.number, message.cseq.method)
        if isinstance(message, Request):
            if message.method != "ACK":
                session.asked.add(key)
            session.ended |= message.method == "BYE"
        else:
            session.answered[key] = message.status

    def _body(self, session: _Session, message: Message) -> str:
        """What the body says, in a few words."""
        kind = (message.headers.content_type or "").lower()
        if not message.body:
            return ""
        if "sdp" in kind:
            return self._sdp(session, message)
        if "manscdp" in kind or b"<CmdType>" in message.body:
            return _manscdp(message.body)
        if "mansrtsp" in kind or "rtsp" in kind:
            return " / ".join(message.body.decode(errors="replace").split("\r\n")[:3]).strip(" /")
        return f"{len(message.body)} bytes of {kind or 'unnamed content'}"

    def _sdp(self, session: _Session, message: Message) -> str:
        try:
            description = parse_sdp(message.body)
        except SipParseError as error:
            self.findings.add(Finding.SIP_UNREADABLE, detail=str(error))
            return f"SDP: {error}"
        if isinstance(message, Request) and message.method == "INVITE":
            session.offer = description
        elif isinstance(message, Response) and 200 <= message.status < 300:
            if session.answer is None and session.offer is not None:
                _compare(session.offer, description, session.findings)
            session.answer = description
        return _describe_sdp(description)

    def _finish(self, call_id: str, session: _Session) -> SipSession:
        outcome = self._outcome(session)
        return SipSession(
            call_id,
            session.method,
            session.from_user,
            session.to_user,
            outcome,
            session.steps,
            session.findings.oddities(),
        )

    @staticmethod
    def _outcome(session: _Session) -> str:
        silent = session.asked - set(session.answered)
        if silent:
            session.findings.add(Finding.UNANSWERED, detail=", ".join(f"{m} {n}" for n, m in sorted(silent)[:5]))
        finals = [status for (_, method), status in session.answered.items() if method == session.method]
        if not finals:
            return "no answer"
        last = finals[-1]
        if session.method != "INVITE" or last >= 300:
            return str(last)
        if session.answer is not None and not session.media_seen:
            session.findings.add(Finding.NO_MEDIA)
            return "answered, no media" + (", ended by BYE" if session.ended else "")
        return "ended by BYE" if session.ended else "running"


def _compare(offer: SessionDescription, answer: SessionDescription, findings: Findings) -> None:
    """What is odd about an answer (device-dependent lines of GB/T 28181-2016 annex F and L)."""
    if answer.ssrc is None:
        findings.add(Finding.NO_Y)
    elif offer.ssrc is not None and answer.ssrc != offer.ssrc:
        findings.add(Finding.Y_CHANGED, detail=f"{offer.ssrc} asked, {answer.ssrc} answered")
    if not offer.media or not answer.media or not offer.media[0].is_tcp:
        return
    if not answer.media[0].is_tcp:
        findings.add(Finding.UDP_FOR_TCP)
    elif answer.media[0].setup is None:
        findings.add(Finding.NO_SETUP)
    elif answer.media[0].setup == offer.media[0].setup:
        findings.add(Finding.SAME_SETUP)


def _promise(call_id: str, session: _Session) -> MediaPromise | None:
    offer, answer = session.offer, session.answer
    if offer is None or answer is None or not offer.media or not answer.media:
        return None
    wanted, given = offer.media[0], answer.media[0]
    ssrc = answer.ssrc_number if answer.ssrc is not None else offer.ssrc_number
    encodings = {number: rtpmap.encoding for number, rtpmap in {**wanted.rtpmap, **given.rtpmap}.items()}
    return MediaPromise(
        call_id,
        (offer.address_of(wanted) or "", wanted.port),
        ssrc,
        given.is_tcp,
        encodings,
        (answer.address_of(given) or "", given.port),
    )


def _describe_sdp(description: SessionDescription) -> str:
    parts = [f"s={description.name}"]
    for media in description.media:
        setup = f" {media.setup.value}" if isinstance(media.setup, Setup) else ""
        names = "/".join(media.rtpmap[number].encoding for number in media.payload_types if number in media.rtpmap)
        parts.append(f"{media.kind} {'TCP' + setup if media.is_tcp else 'UDP'} port {media.port} {names}".strip())
    if description.ssrc is not None:
        parts.append(f"y={description.ssrc}")
    return ", ".join(parts)


def _manscdp(body: bytes) -> str:
    try:
        document = parse_manscdp(body)
    except ManscdpError as error:
        return f"no MANSCDP: {error}"
    words = [document.root.value, document.command, document.device_id]
    ptz = document.element.value("PTZCmd")
    if ptz is not None:
        try:
            words.append(f"PTZ {describe_ptz(parse_ptz(ptz))}")
        except PtzError as error:
            words.append(f"PTZ {error}")
    if document.deviations:
        words.append(f"({', '.join(document.deviations)})")
    return " ".join(words)


def _summary(message: Message) -> str:
    if isinstance(message, Request):
        return f"{message.method} {message.uri.user or message.uri.host}"
    return f"{message.status} {message.reason} ({message.cseq.method})"
