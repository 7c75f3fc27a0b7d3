"""TCP connections: framed, bounded, and closed on those who are too slow."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from sip import tcp
from sip.errors import SipParseError
from sip.flow import Flow
from sip.message import Message, Request
from sip.tcp import TcpConnections, TcpLimits

OPTIONS = (
    b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 2\r\n\r\nhi"
)


class Owner:
    """Plays the endpoint, and the peers that connect to it."""

    def __init__(self, limits: TcpLimits | None = None) -> None:
        self.peers: list[asyncio.StreamWriter] = []
        self.messages: list[tuple[Flow, Message | SipParseError]] = []
        self.closed: list[tuple[Flow, str]] = []
        self.drained = 0
        self.connections = TcpConnections(
            asyncio.get_running_loop(),
            lambda flow, message: self.messages.append((flow, message)),
            self._drained,
            lambda flow, reason: self.closed.append((flow, reason)),
            limits or TcpLimits(),
        )

    def _drained(self) -> None:
        self.drained += 1

    async def __aenter__(self) -> "Owner":
        self.address = await self.connections.listen("127.0.0.1", 0)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.connections.close()
        for peer in self.peers:
            peer.close()
            with contextlib.suppress(OSError):
                await peer.wait_closed()
        assert len(self.connections) == 0

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects as a peer."""
        reader, writer = await asyncio.open_connection(*self.address)
        self.peers.append(writer)
        return reader, writer


async def until(condition: object) -> None:
    async with asyncio.timeout(20):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@pytest.fixture
def quick_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "SWEEP_INTERVAL", 0.02)


async def test_messages_split_anywhere_come_whole_and_in_order() -> None:
    async with Owner() as owner:
        _, writer = await owner.dial()
        stream = b"\r\n\r\n".join(OPTIONS % number for number in range(5))
        for at in range(0, len(stream), 37):
            writer.write(stream[at : at + 37])
            await writer.drain()
            await asyncio.sleep(0)
        await until(lambda: len(owner.messages) == 5)
        branches = [message.via.branch for _, message in owner.messages if isinstance(message, Request)]
        assert branches == [f"z9hG4bK{number}" for number in range(5)]
        assert owner.messages[0][1].body == b"hi"
        assert owner.drained >= 1
        writer.close()
        await until(lambda: owner.closed)
        assert owner.closed[0][1] == "closed by the peer"
        assert len(owner.connections) == 0


async def test_we_answer_down_the_same_connection_and_pings_with_pongs() -> None:
    async with Owner() as owner:
        reader, writer = await owner.dial()
        writer.write(OPTIONS % 1)
        await until(lambda: owner.messages)
        assert owner.connections.send(owner.messages[0][0], b"answer")
        assert await reader.readexactly(6) == b"answer"
        writer.write(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"\r\n"


async def test_what_is_not_sip_is_cut_off() -> None:
    async with Owner() as owner:
        reader, writer = await owner.dial()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await reader.read() == b""
        await until(lambda: owner.closed)
        assert owner.connections.counters.unframed == 1


@pytest.mark.usefixtures("quick_sweep")
@pytest.mark.parametrize(
    ("limits", "sent", "reason"),
    [
        (TcpLimits(first_message=0.1), b"", "too slow"),
        (TcpLimits(first_message=0.1), b"OPTIONS sip:a@b SIP/2.0\r\n", "too slow"),
        (TcpLimits(idle=0.1), OPTIONS % 1, "idle"),
    ],
)
async def test_the_slow_and_the_silent_are_cut_off(limits: TcpLimits, sent: bytes, reason: str) -> None:
    async with Owner(limits) as owner:
        reader, writer = await owner.dial()
        writer.write(sent)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        await until(lambda: owner.closed)
        assert owner.closed[0][1] == reason


@pytest.mark.parametrize("limits", [TcpLimits(per_host=2), TcpLimits(connections=2)])
async def test_more_connections_than_allowed_are_refused(limits: TcpLimits) -> None:
    async with Owner(limits) as owner:
        kept = [await owner.dial() for _ in range(2)]
        await until(lambda: len(owner.connections) == 2)
        reader, _ = await owner.dial()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert owner.connections.counters.refused == 1
        kept[0][1].close()
        await until(lambda: len(owner.connections) == 1)
        await owner.dial()
        await until(lambda: len(owner.connections) == 2)


async def test_a_peer_that_does_not_read_is_cut_off() -> None:
    async with Owner(replace(TcpLimits(), write_buffer=100_000)) as owner:
        _, writer = await owner.dial()
        writer.write(OPTIONS % 1)
        await until(lambda: owner.messages)
        flow = owner.messages[0][0]
        sent = 0
        while owner.connections.send(flow, bytes(50_000)):
            sent += 1
            assert sent < 10_000
        assert owner.connections.counters.overrun == 1
        await until(lambda: owner.closed)
        assert owner.closed[0] == (flow, "the peer does not read")
        assert not owner.connections.send(flow, b"x")


async def test_two_connections_to_the_same_place_are_two_flows() -> None:
    async with Owner() as owner:
        first, second = [await owner.connections.connect(owner.address, 5) for _ in range(2)]
        assert first != second
        assert first.connection != second.connection
        owner.connections.close_flow(first)
        await until(lambda: first in [flow for flow, _ in owner.closed])
        assert second not in [flow for flow, _ in owner.closed]


async def test_nobody_listening_is_an_os_error() -> None:
    async with Owner() as owner:
        await owner.connections.close()
        with pytest.raises(OSError, match="Connect"):
            await owner.connections.connect(owner.address, 5)
