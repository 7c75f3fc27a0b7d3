"""Devices against a small platform over loopback: registration, messages, calls on each transport, and every fault."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway.gb28181.manscdp import parse as parse_manscdp
from gateway.gb28181.messages import CataloguePage, DeviceInfo, DeviceStatus, Keepalive, read
from gateway.inspect.analyzer import explain_packets
from gateway.inspect.framing import RtpDeframer
from gateway.simulator.clip import ClipSpec
from gateway.simulator.config import FleetConfig, Server, plan_devices
from gateway.simulator.events import EventKind, FleetEvent
from gateway.simulator.fleet import Fleet
from gateway.simulator.misbehaviour import parse_misbehaviour
from gateway.simulator.rtp_sender import MediaTransport
from media.formats.rtp import RtpPacket
from sip.call import Party
from sip.failures import CallRefusedError, RequestTimeoutError
from sip.sdp import Setup
from sip.sdp import parse as parse_sdp
from tests.gateway.simulator.small_platform import PASSWORD, Platform, UdpReceiver, video

IPC = "31011500001320000001"
NVR = "31011500001180000001"
CLIP = ClipSpec(width=160, height=120, fps=10, gop=5, bitrate_bps=100_000)


def config(platform: Platform, misbehave: str = "", *, ipcs: int = 1, nvrs: tuple[int, ...] = ()) -> FleetConfig:
    server = Server.parse(platform.address)
    devices = plan_devices(server, ipcs=ipcs, nvrs=nvrs, password=PASSWORD)
    wrong = parse_misbehaviour(misbehave)
    return FleetConfig(server, devices, platform.transport, clip=CLIP, misbehaviour=wrong, keepalive_s=0.2)


@asynccontextmanager
async def running(
    misbehave: str = "",
    *,
    transport: str = "UDP",
    ipcs: int = 1,
    nvrs: tuple[int, ...] = (),
    change: Callable[[FleetConfig], FleetConfig] = lambda config: config,
) -> AsyncIterator[tuple[Platform, Fleet, list[FleetEvent]]]:
    events: list[FleetEvent] = []
    async with Platform(transport=transport) as platform:
        made = change(config(platform, misbehave, ipcs=ipcs, nvrs=nvrs))
        async with Fleet(made, events.append, seed=1) as fleet:
            await platform.until(lambda: len(platform.flows) == len(made.devices))
            yield platform, fleet, events


def documents(platform: Platform, kind: type) -> list[object]:
    return [one for body in platform.messages if isinstance(one := read(parse_manscdp(body)), kind)]


def query(command: str, device: str, sn: int = 7) -> str:
    return f"<?xml version='1.0'?><Query><CmdType>{command}</CmdType><SN>{sn}</SN><DeviceID>{device}</DeviceID></Query>"


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
async def test_a_device_comes_lives_and_goes(transport: str) -> None:
    async with running(transport=transport) as (platform, fleet, events):
        await platform.until(lambda: documents(platform, Keepalive))
        assert fleet.figures.registered == 1
        assert fleet.figures.keepalives >= 1
    assert platform.unregistered == [IPC]
    assert [event.kind for event in events if event.kind is not EventKind.KEEPALIVE_LOST] == [
        EventKind.REGISTERED,
        EventKind.UNREGISTERED,
    ]
    assert platform.registers[0].headers.get("X-GB-ver") == "2.0"


async def test_a_fleet_on_one_socket() -> None:
    async with running(ipcs=20, nvrs=(2, 3), change=lambda config: replace(config, shared_socket=True)) as (
        platform,
        fleet,
        _,
    ):
        await platform.until(lambda: fleet.figures.registered == 22)
        assert len({flow.remote for flow in platform.flows.values()}) == 1


async def test_queries_are_answered() -> None:
    async with running(ipcs=0, nvrs=(6,)) as (platform, _, _):
        for command in ("Catalog", "DeviceInfo", "DeviceStatus"):
            assert await platform.ask(NVR, query(command, NVR)) == 200
        await platform.until(lambda: len(documents(platform, CataloguePage)) == 2)
        await platform.until(lambda: documents(platform, DeviceInfo) and documents(platform, DeviceStatus))
    pages = documents(platform, CataloguePage)
    items = [item for page in pages if isinstance(page, CataloguePage) for item in page.items]
    assert [item.code for item in items] == [f"3101150000131000000{n}" for n in range(1, 7)]
    assert {item.parents for item in items} == {(NVR,)}
    assert all(isinstance(page, CataloguePage) and page.sum_num == 6 and page.sn == 7 for page in pages)
    (info,) = documents(platform, DeviceInfo)
    assert isinstance(info, DeviceInfo)
    assert info.channels == 6


async def test_ptz_is_shown_in_words() -> None:
    async with running() as (platform, _, events):
        body = f"<Control><CmdType>DeviceControl</CmdType><SN>1</SN><DeviceID>{IPC}</DeviceID>"
        await platform.ask(IPC, body + "<PTZCmd>A50F010A6060007F</PTZCmd></Control>")
        await platform.until(lambda: any(event.kind is EventKind.CONTROLLED for event in events))
    assert FleetEvent(EventKind.CONTROLLED, IPC, "PTZ left at 96, up at 96") in events


async def test_a_wrong_password_does_not_register() -> None:
    async with Platform() as platform, Fleet(config(platform, "wrong_password")) as fleet:
        await platform.until(lambda: fleet.figures.register_failures)
        assert fleet.figures.registered == 0
    assert platform.unregistered == []


async def test_a_platform_that_forgets_is_registered_with_again() -> None:
    async with running() as (platform, fleet, _):
        platform.status = 403
        await platform.until(lambda: fleet.figures.registrations >= 2)


async def test_udp_media_arrives_as_counted() -> None:
    receiver = UdpReceiver()
    async with running("loss=10%,reorder=10%,duplicate=10%") as (platform, fleet, events):
        call = await platform.invite(IPC, IPC, video(receiver.port))
        answer = parse_sdp((await call.answer(5)).body)
        assert (answer.ssrc, answer.media[0].rtpmap[96].encoding) == ("0115000001", "PS")
        await platform.until(lambda: len(receiver.read()) > 60)
        await call.bye()
        await platform.until(lambda: fleet.figures.streaming == 0)
        (stream,) = fleet.figures.streams
    packets = [(number, "udp", data) for number, data in enumerate(receiver.read())]
    receiver.close()
    (found,) = explain_packets(packets).streams
    assert stream.unsent == 0
    assert found.ssrc == "0115000001"
    assert found.received == stream.link.offered - stream.link.lost
    assert (found.duplicates, found.reordered) == (stream.link.duplicated, stream.link.reordered)
    assert found.lost <= stream.link.lost  # at the edges a loss cannot be seen
    assert EventKind.STREAM_ENDED in [event.kind for event in events]


async def test_tcp_active_media() -> None:
    deframer, packets = RtpDeframer(), list[bytes]()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            packets.extend(deframer.handle(data))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with running() as (platform, _, _):
        call = await platform.invite(IPC, IPC, video(port, Setup.PASSIVE))
        answer = parse_sdp((await call.answer(5)).body)
        assert answer.media[0].setup is Setup.ACTIVE
        await platform.until(lambda: len(packets) > 20)
        await call.bye()
    server.close()
    assert deframer.garbage_bytes == 0
    assert RtpPacket.parse(packets[0]).payload.startswith(b"\x00\x00\x01\xba")


async def test_tcp_passive_media() -> None:
    async with running() as (platform, fleet, _):
        call = await platform.invite(IPC, IPC, video(30_000, Setup.ACTIVE))
        answer = parse_sdp((await call.answer(5)).body)
        assert answer.media[0].setup is Setup.PASSIVE
        reader, writer = await asyncio.open_connection("127.0.0.1", answer.media[0].port)
        packets = RtpDeframer().handle(await reader.readexactly(20_000))
        assert len(packets) > 10
        await call.bye()
        writer.close()
        await platform.until(lambda: fleet.figures.streaming == 0)


async def test_the_device_ends_the_call() -> None:
    receiver = UdpReceiver()
    async with running("bye_after=0.3s") as (platform, _, _):
        call = await platform.invite(IPC, IPC, video(receiver.port))
        await call.answer(5)
        async with asyncio.timeout(20):
            await call.wait_ended()
    receiver.close()


async def test_leaving_ends_calls() -> None:
    receiver = UdpReceiver()
    async with running() as (platform, _, _):
        call = await platform.invite(IPC, IPC, video(receiver.port))
        await call.answer(5)
        await platform.until(receiver.read)
    async with asyncio.timeout(1):
        assert (await call.wait_ended()).by is Party.REMOTE
    receiver.close()


@pytest.mark.parametrize(("misbehave", "status"), [("refuse=486", 486), ("refuse=488", 488)])
async def test_refusals(misbehave: str, status: int) -> None:
    async with running(misbehave) as (platform, fleet, _):
        call = await platform.invite(IPC, IPC, video(30_000))
        with pytest.raises(CallRefusedError) as caught:
            await call.answer(5)
        assert caught.value.response.status == status
        await platform.until(lambda: fleet.figures.refused)


async def test_a_transport_that_is_not_offered() -> None:
    only_udp = frozenset({MediaTransport.UDP})
    async with running(change=lambda config: replace(config, media=only_udp)) as (platform, _, _):
        call = await platform.invite(IPC, IPC, video(30_000, Setup.PASSIVE))
        with pytest.raises(CallRefusedError):
            await call.answer(5)


async def test_an_unknown_channel() -> None:
    async with running(ipcs=0, nvrs=(1,)) as (platform, _, _):
        call = await platform.invite(NVR, "31011500001310000099", video(30_000))
        with pytest.raises(CallRefusedError) as caught:
            await call.answer(5)
        assert caught.value.response.status == 404


async def test_ringing_for_ever_is_cancelled() -> None:
    async with running("ring_only") as (platform, fleet, _):
        call = await platform.invite(IPC, IPC, video(30_000))
        with pytest.raises(RequestTimeoutError):
            await call.answer(0.3)
        async with asyncio.timeout(20):
            await call.wait_ended()
        assert fleet.figures.streams == []


@pytest.mark.parametrize(("misbehave", "y"), [("y=other", "1115000001"), ("y=none", None), ("", "0115000001")])
async def test_the_answered_ssrc(misbehave: str, y: str | None) -> None:
    receiver = UdpReceiver()
    async with running(misbehave) as (platform, _, _):
        call = await platform.invite(IPC, IPC, video(receiver.port))
        answer = parse_sdp((await call.answer(5)).body)
        assert answer.ssrc == y
        await platform.until(receiver.read)
        assert RtpPacket.parse(receiver.packets[0]).ssrc == int(y or "0115000001")
        await call.bye()
    receiver.close()


async def test_no_media_and_another_ssrc_in_rtp() -> None:
    receiver = UdpReceiver()
    async with running("no_media") as (platform, _, _):
        call = await platform.invite(IPC, IPC, video(receiver.port))
        await call.answer(5)
        await asyncio.sleep(0.3)
        assert receiver.read() == []
        await call.bye()
    async with running("ssrc=0") as (platform, _, _):
        call = await platform.invite(IPC, IPC, video(receiver.port))
        await call.answer(5)
        await platform.until(receiver.read)
        assert RtpPacket.parse(receiver.packets[0]).ssrc == 0
        await call.bye()
    receiver.close()


async def test_media_without_an_answer() -> None:
    receiver = UdpReceiver()
    async with running("media_only") as (platform, fleet, _):
        call = await platform.invite(IPC, IPC, video(receiver.port))
        await platform.until(lambda: len(receiver.read()) > 5)
        with pytest.raises(RequestTimeoutError):
            await call.answer(0.1)
        await platform.until(lambda: fleet.figures.streaming == 0)
    receiver.close()


async def test_a_server_by_name() -> None:
    def named(config: FleetConfig) -> FleetConfig:
        return replace(config, server=replace(config.server, host="localhost"), host="127.0.0.1")

    async with running(change=named) as (platform, fleet, _):
        await platform.until(lambda: fleet.figures.registrations == 1)


async def test_a_device_that_dies_says_nothing_more() -> None:
    receiver = UdpReceiver()
    async with running("die=0.5s") as (platform, _, events):
        call = await platform.invite(IPC, IPC, video(receiver.port))
        await call.answer(5)
        await platform.until(lambda: any(event.kind is EventKind.DIED for event in events))
        await asyncio.sleep(0.1)
        packets, messages = len(receiver.read()), len(platform.messages)
        await asyncio.sleep(0.5)
        assert (len(receiver.read()), len(platform.messages)) == (packets, messages)
        call.hang_up()
    assert platform.unregistered == []
    receiver.close()


async def test_nat_shows_a_private_contact_and_moves() -> None:
    async with running("private_contact,port_change=0.3s") as (platform, _, _):
        assert platform.registers[0].headers.contact is not None
        assert str(platform.registers[0].headers.contact.uri.host) == "192.168.1.64"
        first = platform.flows[IPC].remote
        await platform.until(lambda: platform.flows[IPC].remote != first)


async def test_a_storm_of_registrations() -> None:
    async with running("storm=20") as (platform, fleet, _):
        await platform.until(lambda: fleet.figures.registrations >= 10)


async def test_clock_skew() -> None:
    async with running("clock_skew=7200s") as (platform, _, _):
        await platform.ask(IPC, query("DeviceStatus", IPC))
        await platform.until(lambda: documents(platform, DeviceStatus))
    (status,) = documents(platform, DeviceStatus)
    assert isinstance(status, DeviceStatus)
    assert status.device_time is not None


async def catalogue(misbehave: str, count: int) -> list[bytes]:
    async with running(misbehave, ipcs=0, nvrs=(4,)) as (platform, _, _):
        await platform.ask(NVR, query("Catalog", NVR))
        await platform.until(lambda: sum(b"<CmdType>Catalog<" in body for body in platform.messages) == count)
    return [body for body in platform.messages if b"<CmdType>Catalog<" in body]


async def test_catalogues_that_lie() -> None:
    assert [body.count(b"<Item>") for body in await catalogue("one_item", 4)] == [1, 1, 1, 1]
    assert b"<SumNum>9<" in (await catalogue("sum_num=9", 1))[0]
    assert len(await catalogue("one_item,last_lost", 3)) == 3
    assert [body.count(b"<Item>") for body in await catalogue("twice", 2)] == [4, 4]
    assert b"<Parental>65535<" in (await catalogue("parental=65535", 1))[0]


async def test_catalogues_in_every_encoding() -> None:
    unescaped = (await catalogue("unescaped", 1))[0]
    assert "东门&西门".encode("gb18030") in unescaped
    utf8 = (await catalogue("unescaped,charset=utf-8,declare=gb2312", 1))[0]
    assert "东门&西门".encode() in utf8
    assert b'encoding="GB2312"' in utf8
    page = read(parse_manscdp(utf8))
    assert isinstance(page, CataloguePage)
    assert len(page.items) == 4


async def test_live_pictures() -> None:
    receiver = UdpReceiver()
    async with running(change=lambda config: replace(config, live=True)) as (platform, _, _):
        call = await platform.invite(IPC, IPC, video(receiver.port))
        await call.answer(5)
        await platform.until(lambda: len(receiver.read()) > 40)
        await call.bye()
    packets = [(number * 1000, "udp", data) for number, data in enumerate(receiver.read())]
    (stream,) = explain_packets(packets).streams
    assert stream.program is not None
    assert stream.program.video is not None
    assert (stream.program.video.codec, stream.program.video.fps) == ("H.264", 10.0)
    receiver.close()
