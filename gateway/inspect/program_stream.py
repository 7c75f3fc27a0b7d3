"""Explains a program stream: its elements, its map, its tracks, and what is odd about them. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from construct import Container, ListContainer

from gateway.inspect.oddities import Finding, Findings
from gateway.inspect.report import ExplainedElement, ExplainedField, PsReport
from gateway.inspect.tracks import CLOCK_HZ, AudioTrack, VideoTrack
from media.formats.pes import AUDIO_IDS, PADDING, VIDEO_IDS
from media.formats.ps import STREAM_TYPES, crc32_mpeg
from media.formats.walk import Element, Fault, Kind, PsWalker

EXPLAINED_ELEMENTS: Final = 6
_FAULTS: Final = {
    Fault.BARE_PACK: Finding.BARE_PACK,
    Fault.MPEG1_PACK: Finding.MPEG1_PACK,
    Fault.UNREADABLE: Finding.PES_UNREADABLE,
    Fault.TRUNCATED: Finding.PES_TRUNCATED,
    Fault.LENGTH_ZERO: Finding.PES_LENGTH_ZERO,
    Fault.GARBAGE: Finding.GARBAGE,
    Fault.TOO_LONG: Finding.PES_TOO_LONG,
    Fault.TOO_SHORT: Finding.PES_TOO_SHORT,
}


class PsAnalysis:
    """Takes the bytes of one program stream as they come."""

    def __init__(self, *, explain: int = EXPLAINED_ELEMENTS) -> None:
        self.findings = Findings()
        self._walker = PsWalker()
        self._explain = explain
        self._explained: list[ExplainedElement] = []
        self._bytes = 0
        self._elements: Counter[str] = Counter()
        self._streams: dict[int, int] = {}
        self._maps = 0
        self._video = VideoTrack(self.findings)
        self._audio = AudioTrack(self.findings)
        self._scr: int | None = None
        self._elapsed = 0
        self._after_gap = False

    def handle(self, data: bytes) -> None:
        """The next bytes."""
        self._bytes += len(data)
        self._take(self._walker.handle(data))

    def gap(self) -> None:
        """Bytes are missing here: what was begun ends, and what follows may begin anywhere."""
        self._take(self._walker.finish())
        self._video.gap()
        self._after_gap = True

    def border(self) -> None:
        """A new pack begins here, as RTP tells: a packet that is not complete never will be."""
        self._take(self._walker.finish())

    def finish(self) -> PsReport:
        """The end of the stream. Nothing may be handed in any more."""
        self._take(self._walker.finish())
        self._video.finish()
        self._judge()
        return PsReport(
            self._bytes,
            self._elapsed / CLOCK_HZ,
            dict(self._elements),
            {f"{stream_id:02X}": _type_name(kind) for stream_id, kind in self._streams.items()},
            self._video.report(self._announced(VIDEO_IDS)),
            self._audio.report(self._announced(AUDIO_IDS)),
            self._explained,
            self.findings.oddities(),
        )

    def _take(self, elements: Iterable[Element]) -> None:
        for element in elements:
            self._count(element)
            match element.kind:
                case Kind.PACK if element.fields is not None:
                    self._clock(element.fields.bits.scr)
                case Kind.STREAM_MAP if element.fields is not None:
                    self._map(element)
                case Kind.PES if element.fields is not None:
                    self._pes(element)

    def _count(self, element: Element) -> None:
        where = f"byte {element.offset}"
        if not self._elements and element.kind is not Kind.PACK:
            self.findings.add(Finding.STARTS_IN_THE_MIDDLE, where)
        self._elements[_title(element)] += 1
        if element.fault is Fault.GARBAGE and (self._after_gap or len(self._elements) == 1):
            pass  # the rest of something whose beginning is missing
        elif element.fault is not None:
            self.findings.add(_FAULTS[element.fault], where)
        if element.kind is Kind.OTHER and element.stream_id != PADDING:
            self.findings.add(Finding.PRIVATE_DATA, where)
        self._after_gap = self._after_gap and element.kind is Kind.GARBAGE
        if len(self._explained) < self._explain and element.kind is not Kind.GARBAGE:
            self._explained.append(explain_element(element))

    def _clock(self, scr: int) -> None:
        """Adds up what the clock advances; jumps and steps back are no time."""
        if self._scr is not None:
            step = (scr - self._scr) % (1 << 33)
            self._elapsed += step if step < 10 * CLOCK_HZ else 0
        self._scr = scr

    def _map(self, element: Element) -> None:
        where, psm = f"byte {element.offset}", element.fields
        self._maps += 1
        if crc32_mpeg(element.data):
            self.findings.add(Finding.PSM_CRC, where)
        if psm.streams_length != psm.length - psm.info_length - 10:
            self.findings.add(Finding.PSM_LENGTH, where)
        self._streams = {stream.stream_id: stream.stream_type for stream in psm.streams}

    def _pes(self, element: Element) -> None:
        body = element.fields.body
        if element.stream_id in VIDEO_IDS:
            optional = body.optional
            self._video.handle(body.payload, optional.pts, optional.dts, f"byte {element.offset}")
        elif element.stream_id in AUDIO_IDS:
            self._audio.handle(body.payload)

    def _announced(self, ids: range) -> str | None:
        return next((_type_name(kind) for stream_id, kind in self._streams.items() if stream_id in ids), None)

    def _judge(self) -> None:
        """What shows at the end only."""
        video, findings = self._video, self.findings
        announced = self._announced(VIDEO_IDS)
        if not self._maps and self._elements:
            findings.add(Finding.NO_PSM)
        elif self._maps < video.key_frames:
            findings.add(Finding.PSM_ONCE, detail=f"{self._maps} maps, {video.key_frames} key frames")
        if not self._elements[Kind.SYSTEM_HEADER.value]:
            findings.add(Finding.NO_SYSTEM_HEADER)
        if video.codec and announced and video.codec != announced:
            findings.add(Finding.PSM_CONTRADICTS, detail=f"video is {video.codec}, the map says {announced}")
        if self._maps and self._audio.packets and self._announced(AUDIO_IDS) is None:
            findings.add(Finding.PSM_WITHOUT_AUDIO)
        if self._announced(AUDIO_IDS) and not self._audio.packets:
            findings.add(Finding.AUDIO_NEVER)
        if video.report(None) is not None and not video.key_frames:
            findings.add(Finding.NO_KEY_FRAME)


def _type_name(stream_type: int) -> str:
    known = STREAM_TYPES.get(stream_type)
    return f"stream type {stream_type:02X}" if known is None else known


def _title(element: Element) -> str:
    title: str = element.kind.value
    return f"{title} {element.stream_id:02X}" if element.kind in {Kind.PES, Kind.OTHER} else title


def explain_element(element: Element) -> ExplainedElement:
    """Field by field, as the declaration names them."""
    fields = [] if element.fields is None else list(_fields(element.fields, ""))
    title = _title(element) + (f" ({element.fault.value})" if element.fault else "")
    return ExplainedElement(title, element.offset, len(element.data), element.data[:24].hex(" "), fields)


def _fields(container: Any, path: str) -> Iterable[ExplainedField]:
    for name, value in container.items():
        if name.startswith("_") or value is None or (name == "payload" and "body" in container):
            continue
        yield from _field(value, f"{path}{name}")


def _field(value: Any, name: str) -> Iterable[ExplainedField]:
    if isinstance(value, ListContainer):
        for number, item in enumerate(value):
            yield from _field(item, f"{name}[{number}]")
    elif isinstance(value, Container):
        yield from _fields(value, f"{name}.")
    else:
        yield ExplainedField(name, _text(value, name))


def _text(value: Any, name: str) -> str:
    if isinstance(value, bytes):
        shown = value[:16].hex(" ") + (" …" if len(value) > 16 else "")
        return f"{shown} ({len(value)} bytes)" if value else "empty"
    match name.rpartition(".")[2]:
        case "pts" | "dts" | "scr" | "base" if not isinstance(value, bool):
            return f"{value} ({value / CLOCK_HZ:.3f} s)"
        case "stream_id":
            return f"{value:02X}"
        case "stream_type":
            return f"{value:02X} ({_type_name(value)})"
        case "program_mux_rate":
            return f"{value} ({value * 400 // 1000} kbit/s)"
    return str(int(value))
