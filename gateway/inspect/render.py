"""An inspection on the screen: tables for what is counted, a ladder for the calls, the first pack field by field."""

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from gateway.inspect.report import CaptureReport, ExplainedElement, Oddity, PsReport, RtpReport, SipSession

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def render(report: CaptureReport, console: Console, *, fields: bool = True) -> None:
    """Prints the report; with `fields` the first elements of each program stream are explained too.

    Everything that came from the network is printed as text, never as markup, and without control characters.
    """
    console.print(Text(f"{report.name}: {report.frames} packets, {report.seconds:.3f} s", style="bold"))
    for session in report.sessions:
        console.print(_session(session))
    if report.streams:
        console.print(_streams(report.streams))
    for stream in report.streams:
        console.print(_stream(stream, fields))
    if report.program is not None:
        console.print(Panel(_program(report.program, fields), title="Program stream", title_align="left"))
    if report.oddities:
        console.print(_oddities(report.oddities))
    if not (report.sessions or report.streams or report.program):
        console.print("Neither SIP nor RTP was found.")


def _clean(text: str) -> Text:
    """Text from the network: no control character may reach the terminal."""
    return Text("".join(character if character.isprintable() else "·" for character in text))


def _session(session: SipSession) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False)
    for column in ("time", "from", "to", "message"):
        table.add_column(column, no_wrap=column != "message")
    for step in session.steps:
        words = step.summary + (f"  [{step.details}]" if step.details else "")
        again = "  (again)" if step.retransmission else ""
        ends = _clean(step.source), _clean(f"→ {step.destination} {step.transport}")
        table.add_row(Text(f"{step.at:9.3f}"), *ends, _clean(words + again))
    parts: list[RenderableType] = [table]
    if session.oddities:
        parts.append(_oddities(session.oddities))
    title = _clean(f"{session.method} {session.from_user} → {session.to_user}: {session.outcome}  ({session.call_id})")
    return Panel(Group(*parts), title=title, title_align="left")


def _streams(streams: list[RtpReport]) -> RenderableType:
    table = Table(title="RTP", title_justify="left")
    for name in ("SSRC", "from → to", "payload", "kbit/s"):
        table.add_column(name)
    for name in ("received/expected", "lost", "late", "double", "jitter ms"):
        table.add_column(name, justify="right")
    for stream in streams:
        types = ",".join(map(str, stream.payload_types))
        table.add_row(
            stream.ssrc,
            _clean(f"{stream.source} → {stream.destination} {stream.transport}"),
            _clean(f"{stream.payload} ({types})"),
            f"{stream.rate_bps // 1000}",
            f"{stream.received}/{stream.expected}",
            f"{stream.lost}",
            f"{stream.reordered}",
            f"{stream.duplicates}",
            f"{stream.jitter_ms:.1f}",
        )
    return table


def _stream(stream: RtpReport, fields: bool) -> RenderableType:
    parts: list[RenderableType] = []
    if stream.call_id:
        parts.append(_clean(f"belongs to call {stream.call_id}"))
    if stream.program is not None:
        parts.append(_program(stream.program, fields))
    if stream.oddities:
        parts.append(_oddities(stream.oddities))
    return Panel(Group(*parts), title=f"SSRC {stream.ssrc}", title_align="left")


def _program(program: PsReport, fields: bool) -> RenderableType:
    lines = [f"{program.bytes} bytes, {program.seconds:.3f} s by its clock"]
    lines.append(", ".join(f"{count} × {name}" for name, count in program.elements.items()))
    lines.append("map: " + (", ".join(f"{key} {name}" for key, name in program.streams.items()) or "none"))
    if (video := program.video) is not None:
        gop = f"GOP {video.gop}" if video.gop else "GOP not seen whole"
        shape = f"{video.width}×{video.height} {video.profile} {video.level}"
        lines.append(f"video {video.codec} {shape}, {video.fps} fps, {gop}, {video.pictures} pictures,")
        lines[-1] += f" {video.key_frames} key frames, largest {video.largest_bytes} bytes"
        lines.append("  NAL units: " + ", ".join(f"{count} × {name}" for name, count in video.nal_units.items()))
    if (audio := program.audio) is not None:
        rate = f"{audio.sample_rate} Hz, {audio.channels} channel(s), " if audio.sample_rate else ""
        lines.append(f"audio {audio.codec} {rate}{audio.packets} packets, {audio.bytes} bytes")
    parts: list[RenderableType] = [_clean(line) for line in lines]
    if fields:
        parts += [_element(element) for element in program.first_elements]
    if program.oddities:
        parts.append(_oddities(program.oddities))
    return Group(*parts)


def _element(element: ExplainedElement) -> RenderableType:
    tree = Tree(Text(f"{element.title}, byte {element.offset}, {element.size} bytes: {element.bytes}", style="bold"))
    for field in element.fields:
        tree.add(_clean(f"{field.name} = {field.value}"))
    return tree


def _oddities(oddities: list[Oddity]) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False)
    for oddity in oddities:
        first = f", first at {oddity.first}" if oddity.first else ""
        table.add_row(
            Text(oddity.severity, style=_COLOURS[oddity.severity]),
            Text(f"{oddity.count}×"),
            _clean(f"{oddity.name}: {oddity.meaning} ({oddity.reference}){first}"),
        )
    return table
