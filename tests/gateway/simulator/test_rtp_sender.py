"""Streams over real sockets on loopback: what the sender counts is what arrives."""

import asyncio
import socket
from itertools import pairwise

import pytest

from gateway.simulator.clip import ClipSource, ClipSpec, clip
from gateway.simulator.link import Impairment
from gateway.simulator.model import AccessUnit, AudioCodec, VideoCodec
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import (
    Listener,
    MarkerUse,
    RtpSender,
    RtpStream,
    StreamFaults,
    TcpWire,
    UdpWire,
    tcp_connection,
)
from media.formats.rtp import InterleavedFrame, Rfc4571Frame, RtpPacket

SPEC = ClipSpec(width=160, height=120, fps=10, gop=5, bitrate_bps=200_000)
SSRC = 115_000_001


def stream(faults: StreamFaults) -> RtpStream:
    return RtpStream(PsWriter(VideoCodec.H264, AudioCodec.G711A), SSRC, faults, first_sequence_number=65_530)


def sender(faults: StreamFaults) -> RtpSender:
    return RtpSender(ClipSource(clip(SPEC)), stream(faults), faults)


def expected(seconds: float) -> bytes:
    writer = PsWriter(VideoCodec.H264, AudioCodec.G711A)
    return b"".join(writer.write(unit) for unit in clip(SPEC).units if unit.dts < seconds * 90_000)


def test_packets_of_one_unit() -> None:
    packets = [RtpPacket.parse(data) for data in stream(StreamFaults()).packetise(clip(SPEC).units[0])]
    assert len({packet.timestamp for packet in packets}) == 1
    assert {packet.ssrc for packet in packets} == {SSRC}
    assert [packet.bits.marker for packet in packets] == [False] * (len(packets) - 1) + [True]
    assert max(len(packet.payload) for packet in packets) <= 1400


def test_sequence_numbers_wrap() -> None:
    source = stream(StreamFaults())
    unit = AccessUnit(False, True, 0, 0, bytes(320))
    numbers = [RtpPacket.parse(source.packetise(unit)[0]).sequence_number for _ in range(10)]
    assert all((after - before) % 65_536 == 1 for before, after in pairwise(numbers))
    assert 0 in numbers


@pytest.mark.parametrize(("use", "marks"), [(MarkerUse.NEVER, {False}), (MarkerUse.ALWAYS, {True})])
def test_marker_faults(use: MarkerUse, marks: set[bool]) -> None:
    packets = stream(StreamFaults(marker=use)).packetise(clip(SPEC).units[0])
    assert {RtpPacket.parse(data).bits.marker for data in packets} == marks


def test_another_ssrc_and_a_jump() -> None:
    source = stream(StreamFaults(ssrc=0, jump_after_s=1, jump_s=-1))
    before, after = (source.packetise(AccessUnit(False, True, at, at, b"x"))[0] for at in (89_000, 90_000))
    assert [RtpPacket.parse(data).timestamp for data in (before, after)] == [89_000, 0]
    assert RtpPacket.parse(before).ssrc == 0


async def test_udp_with_loss_and_reordering() -> None:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setblocking(False)
    receiver.bind(("127.0.0.1", 0))
    wire = UdpWire(("127.0.0.1", 0), receiver.getsockname())
    subject = sender(StreamFaults(impairment=Impairment(0.1, 0.2, 0.1, seed=1)))
    await subject.run(wire, seconds=1)
    arrived = []
    while True:
        try:
            arrived.append(RtpPacket.parse(receiver.recv(2048)).sequence_number)
        except BlockingIOError:
            break
    receiver.close()
    wire.close()
    counts = subject.counts
    assert wire.unsent == 0
    assert len(arrived) == counts.sent
    assert len(set(arrived)) == counts.offered - counts.lost
    assert min(counts.lost, counts.reordered, counts.duplicated) > 0


@pytest.mark.parametrize("dollar", [False, True])
async def test_tcp_active(dollar: bool) -> None:
    received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.read(-1))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    faults = StreamFaults(dollar=dollar)
    async with tcp_connection("127.0.0.1", server.sockets[0].getsockname()[1]) as writer:
        await sender(faults).run(TcpWire(writer, dollar=dollar), seconds=0.5)
    data = await received
    server.close()
    payloads = b""
    while data:
        packet = InterleavedFrame.parse(data).packet if dollar else Rfc4571Frame.parse(data)
        data = data[len(packet) + (4 if dollar else 2) :]
        payloads += RtpPacket.parse(packet).payload
    assert payloads == expected(0.5)


async def test_tcp_passive() -> None:
    listener = await Listener.open("127.0.0.1")
    reader, _writer = await asyncio.open_connection("127.0.0.1", listener.port)
    accepted = await listener.accept(5)
    await sender(StreamFaults()).run(TcpWire(accepted, dollar=False), seconds=0.3)
    listener.close()
    data = await reader.read(-1)
    _writer.close()
    assert RtpPacket.parse(Rfc4571Frame.parse(data)).payload.startswith(b"\x00\x00\x01\xba")


async def test_nobody_calls() -> None:
    listener = await Listener.open("127.0.0.1")
    with pytest.raises(TimeoutError):
        await listener.accept(0.01)
    listener.close()


async def test_silent_death() -> None:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    wire = UdpWire(("127.0.0.1", 0), receiver.getsockname())
    subject = sender(StreamFaults(silent_after_s=0.2))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.6):
            await subject.run(wire)
    sent = subject.counts.offered
    assert sent == sum(len(stream(StreamFaults()).packetise(u)) for u in clip(SPEC).units if u.dts < 18_000)
    receiver.close()
    wire.close()
