"""A capture of a real call, made here, inspected from end to end; program stream files; live packets."""

import io
import json
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from gateway.inspect.analyzer import explain_packets, inspect_file
from gateway.inspect.command import inspect
from gateway.inspect.render import render
from gateway.inspect.report import CaptureReport
from gateway.simulator.clip import ClipSpec, clip
from gateway.simulator.link import Link
from gateway.simulator.misbehaviour import parse_misbehaviour
from gateway.simulator.model import AudioCodec, VideoCodec
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import RtpStream, frame
from tests.gateway.inspect.captures import ethernet, pcap, pcapng, tcp, udp

SPEC = ClipSpec(video=VideoCodec.H265, audio=AudioCodec.AAC, width=320, height=180, fps=10, gop=20)
PLATFORM, DEVICE = ("192.0.2.10", 5060), ("198.51.100.20", 5060)
MEDIA, CAMERA = ("192.0.2.10", 30_000), ("198.51.100.20", 15_060)
SSRC = 115_000_001

_SDP = """v=0\r
o={id} 0 0 IN IP4 {host}\r
s=Play\r
c=IN IP4 {host}\r
t=0 0\r
m=video {port} {proto} 96\r
a=rtpmap:96 PS/90000\r
y=0115000001\r
"""


def message(start: str, cseq: str, body: str = "", kind: str = "application/sdp") -> bytes:
    head = [
        start,
        "Via: SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bK" + cseq.replace(" ", ""),
        "From: <sip:31011500002000000001@3101150000>;tag=a",
        "To: <sip:31011500001320000001@3101150000>;tag=b",
        "Call-ID: call-1",
        f"CSeq: {cseq}",
        "Max-Forwards: 70",
    ]
    if body:
        head.append(f"Content-Type: {kind}")
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", body]).encode()


def sdp(host: str, port: int, *, is_tcp: bool = False) -> str:
    return _SDP.format(id="31011500001320000001", host=host, port=port, proto="TCP/RTP/AVP" if is_tcp else "RTP/AVP")


def call(*, is_tcp: bool = False) -> list[tuple[int, bytes]]:
    invite = "INVITE sip:31011500001320000001@3101150000 SIP/2.0"
    return [
        (0, udp(PLATFORM, DEVICE, message(invite, "1 INVITE", sdp(MEDIA[0], MEDIA[1], is_tcp=is_tcp)))),
        (5_000, udp(DEVICE, PLATFORM, message("SIP/2.0 100 Trying", "1 INVITE"))),
        (40_000, udp(DEVICE, PLATFORM, message("SIP/2.0 200 OK", "1 INVITE", sdp(CAMERA[0], 15_060, is_tcp=is_tcp)))),
        (45_000, udp(PLATFORM, DEVICE, message("ACK sip:x@198.51.100.20 SIP/2.0", "1 ACK"))),
    ]


def bye() -> list[tuple[int, bytes]]:
    request = message("BYE sip:x@198.51.100.20 SIP/2.0", "2 BYE")
    return [
        (9_000_000, udp(PLATFORM, DEVICE, request)),
        (9_010_000, udp(DEVICE, PLATFORM, message("SIP/2.0 200 OK", "2 BYE"))),
    ]


def media(misbehave: str = "") -> tuple[list[tuple[int, bytes]], Link]:
    """(time, packet) of the clip, and the link that they went over."""
    faults = parse_misbehaviour(misbehave).stream_faults()
    stream = RtpStream(PsWriter(SPEC.video, SPEC.audio, faults=faults.ps), SSRC, faults, first_sequence_number=65_000)
    link, sent = Link(faults.impairment), list[tuple[int, bytes]]()
    for unit in clip(SPEC).units:
        at = 100_000 + unit.dts * 100 // 9
        sent += [(at + number * 50, packet) for number, packet in enumerate(link.pass_on(stream.packetise(unit)))]
    sent += [(9_000_000, packet) for packet in link.flush()]
    return sent, link


def capture(frames: list[tuple[int, bytes]], form: str = "pcap") -> CaptureReport:
    whole = [(time_us, ethernet(packet)) for time_us, packet in frames]
    data = pcap(whole) if form == "pcap" else pcapng(whole)
    return inspect_file(io.BytesIO(data), f"call.{form}")


def names(report: CaptureReport) -> set[str]:
    found = [*report.oddities]
    for stream in report.streams:
        found += stream.oddities + (stream.program.oddities if stream.program else [])
    for session in report.sessions:
        found += session.oddities
    return {oddity.name for oddity in found}


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_a_call_over_udp(form: str) -> None:
    packets, link = media()
    report = capture([*call(), *((at, udp(CAMERA, MEDIA, packet)) for at, packet in packets), *bye()], form)
    (session,) = report.sessions
    assert (session.method, session.outcome, session.to_user) == ("INVITE", "ended by BYE", "31011500001320000001")
    assert [step.summary for step in session.steps] == [
        "INVITE 31011500001320000001",
        "100 Trying (INVITE)",
        "200 OK (INVITE)",
        "ACK x",
        "BYE x",
        "200 OK (BYE)",
    ]
    assert session.steps[0].details == "s=Play, video UDP port 30000 PS, y=0115000001"
    (stream,) = report.streams
    assert (stream.ssrc, stream.payload, stream.call_id) == ("0115000001", "ps", "call-1")
    assert stream.received == stream.expected == link.counts.sent
    assert (stream.lost, stream.reordered, stream.duplicates) == (0, 0, 0)
    program = stream.program
    assert program is not None
    assert program.video is not None
    assert program.audio is not None
    assert (program.video.codec, program.video.width, program.video.height) == ("H.265", 320, 180)
    assert (program.video.fps, program.video.gop, program.video.pictures) == (10.0, 20, 80)
    assert (program.audio.codec, program.audio.sample_rate, program.audio.channels) == ("AAC", 16_000, 1)
    assert [element.title for element in program.first_elements[:4]] == [
        "pack header",
        "system header",
        "program stream map",
        "PES packet E0",
    ]
    assert names(report) == set()


def test_a_bad_link_is_measured() -> None:
    packets, link = media("loss=5%,reorder=5%,duplicate=5%,seed=3")
    (stream,) = capture([(at, udp(CAMERA, MEDIA, packet)) for at, packet in packets]).streams
    counts = link.counts
    assert stream.received == counts.offered - counts.lost
    assert (stream.reordered, stream.duplicates) == (counts.reordered, counts.duplicated)
    assert stream.lost == pytest.approx(counts.lost, abs=2)
    assert {"loss", "reordered", "duplicates"} <= {oddity.name for oddity in stream.oddities}


def test_reordering_alone_costs_nothing() -> None:
    packets, _ = media("reorder=10%,duplicate=5%")
    (stream,) = capture([(at, udp(CAMERA, MEDIA, packet)) for at, packet in packets]).streams
    assert stream.program is not None
    assert stream.program.video is not None
    assert stream.program.video.pictures == 80
    assert stream.program.oddities == []


@pytest.mark.parametrize("dollar", [False, True])
def test_a_call_over_tcp(dollar: bool) -> None:
    packets, link = media()
    frames, number = call(is_tcp=True), 1_000
    for at, packet in packets:
        data = frame(packet, dollar=dollar)
        frames.append((at, tcp(CAMERA, MEDIA, number, data)))
        number += len(data)
    report = capture(frames)
    (stream,) = report.streams
    assert (stream.transport, stream.received, stream.lost) == ("tcp", link.counts.sent, 0)
    assert report.sessions[0].outcome == "running"
    assert ("dollar_framing" in names(report)) == dollar
    assert "no_setup" in names(report)


@pytest.mark.parametrize(
    ("misbehave", "name"),
    [
        ("no_psm", "no_psm"),
        ("psm_once", "psm_once"),
        ("psm_wrong_codec", "psm_contradicts"),
        ("psm_without_audio", "psm_without_audio"),
        ("no_system_header", "no_system_header"),
        ("pes_length_zero", "pes_length_zero"),
        ("private_data", "private_data"),
        ("bare_pack", "bare_pack"),
        ("marker=never", "marker_never"),
        ("marker=always", "marker_always"),
        ("ssrc=0", "ssrc_zero"),
        ("ssrc=7", "ssrc_differs"),
        ("jump=3", "rtp_timestamp_jump"),
        ("jump=3", "pts_jump"),
    ],
)
def test_oddities_are_named(misbehave: str, name: str) -> None:
    packets, _ = media(misbehave)
    report = capture([*call(), *((at, udp(CAMERA, MEDIA, packet)) for at, packet in packets)])
    assert name in names(report)
    assert report.streams[0].program is not None
    assert report.streams[0].program.video is not None
    assert report.streams[0].program.video.codec == "H.265"


def test_a_call_without_media_and_one_without_answer() -> None:
    assert capture(call()).sessions[0].outcome == "answered, no media"
    report = capture(call()[:1])
    assert report.sessions[0].outcome == "no answer"
    assert "unanswered" in names(report)


def test_messages_say_what_is_in_them() -> None:
    body = "<Control><CmdType>DeviceControl</CmdType><SN>1</SN><DeviceID>31011500001320000001</DeviceID>"
    body += "<PTZCmd>A50F010A6060007F</PTZCmd></Control>"
    start = "MESSAGE sip:31011500001320000001@3101150000 SIP/2.0"
    data = message(start, "1 MESSAGE", body, "Application/MANSCDP+xml")
    (session,) = capture([(0, udp(PLATFORM, DEVICE, data)), (9, udp(PLATFORM, DEVICE, data))]).sessions
    details = "Control DeviceControl 31011500001320000001 PTZ left at 96, up at 96"
    assert [(step.details, step.retransmission) for step in session.steps] == [(details, False), (details, True)]


def test_sip_over_tcp() -> None:
    data = message("OPTIONS sip:31011500001320000001@3101150000 SIP/2.0", "1 OPTIONS") * 2
    report = capture([(0, tcp(PLATFORM, DEVICE, 1, data[:100])), (1, tcp(PLATFORM, DEVICE, 101, data[100:]))])
    assert [step.transport for step in report.sessions[0].steps] == ["tcp", "tcp"]


def test_live_packets() -> None:
    packets, _ = media()
    report = explain_packets((at, "udp", packet) for at, packet in packets)
    assert report.streams[0].received == len(packets)
    assert names(report) == set()


def ps_file(misbehave: str = "") -> bytes:
    writer = PsWriter(SPEC.video, SPEC.audio, faults=parse_misbehaviour(misbehave).stream_faults().ps)
    return b"".join(writer.write(unit) for unit in clip(SPEC).units)


def test_a_program_stream_file() -> None:
    report = inspect_file(io.BytesIO(ps_file()), "clip.ps")
    assert report.program is not None
    assert report.program.video is not None
    assert report.program.video.pictures == 80
    assert report.seconds == pytest.approx(8, abs=0.2)


@pytest.mark.peer
def test_a_program_stream_of_ffmpeg(tmp_path: Path) -> None:
    file = tmp_path / "clip.ps"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-t", "2"]
    command += ["-c:v", "libx264", "-g", "25", "-bf", "0", "-f", "vob", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    with file.open("rb") as opened:
        report = inspect_file(opened, file.name)
    assert report.program is not None
    video = report.program.video
    assert video is not None
    assert (video.codec, video.width, video.height) == ("H.264", 320, 240)
    assert (video.fps, video.pictures, video.key_frames) == (25.0, 50, 2)
    assert "garbage" not in names(CaptureReport("", 0, 0, oddities=report.program.oddities))


def test_the_command(tmp_path: Path) -> None:
    import typer

    app = typer.Typer()
    app.command()(inspect)
    file = tmp_path / "clip.ps"
    file.write_bytes(ps_file("no_psm"))
    shown = CliRunner().invoke(app, [str(file)])
    assert shown.exit_code == 0
    assert "H.265" in shown.output
    told = json.loads(CliRunner().invoke(app, [str(file), "--json"]).output)
    assert told["program"]["video"]["width"] == 320
    (tmp_path / "bad.pcap").write_bytes(b"\xd4\xc3\xb2\xa1")
    assert CliRunner().invoke(app, [str(tmp_path / "bad.pcap")]).exit_code == 1


def test_what_comes_from_the_network_cannot_steer_the_terminal() -> None:
    start = "OPTIONS sip:[red]31011500001320000001@3101150000 SIP/2.0"
    data = message(start, "1 OPTIONS", "\x1b]0;title\x07[bold]", "text/\x1b[31m")
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    render(capture([(0, udp(PLATFORM, DEVICE, data))]), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b]0" not in text
    assert "\x07" not in text


def test_reports_are_json() -> None:
    packets, _ = media("loss=2%")
    report = capture([*call(), *((at, udp(CAMERA, MEDIA, packet)) for at, packet in packets), *bye()])
    assert msgspec.json.decode(msgspec.json.encode(report), type=CaptureReport) == report


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=120)), max_size=20))
def test_any_datagrams(datagrams: list[tuple[int, bytes]]) -> None:
    starts = (b"", b"\x80\x60", b"INVITE sip:a SIP/2.0\r\n", b"\x00\x20\x80\x60")
    frames = [(number, udp(CAMERA, MEDIA, starts[kind] + data)) for number, (kind, data) in enumerate(datagrams)]
    frames += [(number, tcp(CAMERA, MEDIA, 1, starts[kind] + data)) for number, (kind, data) in enumerate(datagrams)]
    capture(frames)
