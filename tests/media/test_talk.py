"""Two-way talk: a simulated device speaks on its connection, and hears on it what a second stream says."""

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from gateway.simulator.clip import Clip, ClipSpec, clip
from gateway.simulator.model import AudioCodec
from media.relay import Relay
from tests.media.test_play_forms import until

core = pytest.importorskip("media._core", reason="the relay's core is not built")

HOST = "127.0.0.1"
DEVICE = 115_000_004
VOICE = 115_000_005
SPEC = ClipSpec(video=None, audio=AudioCodec.G711A, seconds=4)


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=23800, rtp_port_max=23899, threads=2) as relay:
        yield relay


async def speak(port: int, ssrc: int, source: Clip, writer: asyncio.StreamWriter | None = None) -> asyncio.StreamWriter:
    """Says the clip on a connection as G.711 in packets of 40 ms (RFC 3551), framed by RFC 4571, at twice its pace."""
    if writer is None:
        _, writer = await asyncio.open_connection(HOST, port)
    for number, unit in enumerate(source.units):
        packet = struct.pack(">BBHII", 0x80, 8, number, number * 320, ssrc) + unit.data
        writer.write(struct.pack(">H", len(packet)) + packet)
        await writer.drain()
        await asyncio.sleep(0.02)
    return writer


async def hear(reader: asyncio.StreamReader, heard: bytearray) -> None:
    """What comes back on a connection, as a device plays it."""
    while True:
        (size,) = struct.unpack(">H", await reader.readexactly(2))
        packet = core.parse_rtp(await reader.readexactly(size))
        assert (packet.ssrc, packet.payload_type) == (7, 8)
        heard += packet.payload


async def test_a_device_hears_the_other_side_on_the_connection_that_it_speaks_on(relay: Relay) -> None:
    source = await asyncio.to_thread(clip, SPEC)
    device = relay.open_receiver("test", "device", transport="tcp_passive", ssrc=DEVICE, peer=HOST)
    voice = relay.open_receiver("test", "voice", transport="tcp_passive", ssrc=VOICE, peer=HOST)
    for receiver, ssrc in ((device, DEVICE), (voice, VOICE)):
        relay.expect(receiver.id, ssrc=ssrc, payloads=[(8, "PCMA/8000")])
    sender = relay.open_sender(voice.id, over=device.id, ssrc=7, payload="es", video=False)
    with pytest.raises(core.CoreError, match="already"):
        relay.open_sender(voice.id, over=device.id, ssrc=8, payload="es", video=False)
    reader, writer = await asyncio.open_connection(HOST, device.port)
    heard = bytearray()
    listening = asyncio.create_task(hear(reader, heard))
    operator: asyncio.StreamWriter | None = None
    try:
        _, operator = await asyncio.gather(speak(device.port, DEVICE, source, writer), speak(voice.port, VOICE, source))
        said = b"".join(unit.data for unit in source.units)
        await until(lambda: len(heard) >= len(said) // 4)
        assert bytes(heard) in said, "whole, in order, each once"
        (told,) = relay.senders()
        assert (told.id, told.transport, told.over, told.port) == (sender.id, "tcp_passive", device.id, device.port)
        assert (told.peer, told.state) == ("{}:{}".format(*writer.get_extra_info("sockname")), "sending")
        (spoken,) = [one for one in relay.streams() if one.name == "device"]
        assert (spoken.lost, spoken.audio_codec, dict(spoken.faults)) == (0, "PCMA", {})
        relay.close_receiver(device.id)
        with pytest.raises(asyncio.IncompleteReadError):
            await asyncio.wait_for(listening, 10)
        await until(lambda: not relay.senders())
    finally:
        listening.cancel()
        for one in (writer, operator):
            if one is not None:
                one.close()
