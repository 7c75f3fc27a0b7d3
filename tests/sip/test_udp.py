"""UDP sockets: all that waits is read, and answers leave from the address that was asked."""

import asyncio
import socket
import sys
from collections.abc import Iterator

import pytest

from sip import udp as udp_module
from sip.flow import Address, Flow
from sip.udp import BATCH, UdpSocket

Seen = list[tuple[Flow, bytes]]


def client(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(2)
    return sock


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with client("127.0.0.1") as sock:
        yield sock


async def until(seen: Seen, count: int) -> None:
    async with asyncio.timeout(20):
        while len(seen) < count:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def opened(host: str, seen: Seen) -> UdpSocket:
    return UdpSocket.bind(host, 0, asyncio.get_running_loop(), lambda flow, data: seen.append((flow, data)))


async def test_more_than_a_batch_is_read_to_the_last(peer: socket.socket) -> None:
    seen: Seen = []
    udp = opened("127.0.0.1", seen)
    for number in range(BATCH * 2 + 1):
        peer.sendto(str(number).encode(), udp.local)
    await until(seen, BATCH * 2 + 1)
    assert [data for _, data in seen] == [str(number).encode() for number in range(BATCH * 2 + 1)]
    assert udp.counters.received == BATCH * 2 + 1
    udp.close()


async def test_the_largest_datagram_comes_whole(peer: socket.socket) -> None:
    seen: Seen = []
    udp = opened("127.0.0.1", seen)
    largest = bytes(range(256)) * 255 + bytes(227)
    assert len(largest) == 65_507
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    peer.sendto(largest, udp.local)
    await until(seen, 1)
    assert seen[0][1] == largest
    udp.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="IP_PKTINFO as Linux has it")
async def test_an_answer_leaves_from_the_address_that_was_asked(peer: socket.socket) -> None:
    seen: Seen = []
    udp = opened("0.0.0.0", seen)
    peer.sendto(b"ask", ("127.0.0.77", udp.local.port))
    await until(seen, 1)
    flow = seen[0][0]
    assert flow.local == Address("127.0.0.77", udp.local.port)
    assert flow.remote == Address(*peer.getsockname())
    assert udp.send(flow, b"answer")
    assert peer.recvfrom(100) == (b"answer", ("127.0.0.77", udp.local.port))
    udp.close()


@pytest.mark.parametrize("host", ["::1", "::"])
async def test_ipv6(host: str) -> None:
    seen: Seen = []
    try:
        udp = opened(host, seen)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with client("::1") as peer:
        peer.sendto(b"ask", ("::1", udp.local.port))
        await until(seen, 1)
        flow = seen[0][0]
        assert flow.local.host == "::1"
        assert str(flow.remote).startswith("[::1]:")
        assert udp.send(flow, b"answer")
        assert peer.recvfrom(100)[0] == b"answer"
    udp.close()


async def test_a_datagram_too_large_is_an_error_and_counted() -> None:
    udp = opened("127.0.0.1", [])
    flow = Flow("UDP", udp.local, udp.local)
    with pytest.raises(OSError, match="too long"):
        udp.send(flow, bytes(65_508))
    assert (udp.counters.sent, udp.counters.unsent) == (0, 1)
    udp.close()


async def test_a_taken_port_is_told_and_closing_twice_does_no_harm() -> None:
    udp = opened("127.0.0.1", [])
    with pytest.raises(OSError, match="in use"):
        UdpSocket.bind("127.0.0.1", udp.local.port, asyncio.get_running_loop(), lambda _flow, _data: None)
    udp.close()
    udp.close()


async def test_a_reader_that_closes_the_socket_reads_no_more(peer: socket.socket) -> None:
    seen: Seen = []
    loop = asyncio.get_running_loop()

    def close(flow: Flow, data: bytes) -> None:
        seen.append((flow, data))
        udp.close()

    udp = UdpSocket.bind("127.0.0.1", 0, loop, close)
    for _ in range(3):
        peer.sendto(b"x", udp.local)
    await until(seen, 1)
    await asyncio.sleep(0.02)
    assert len(seen) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="SO_MEMINFO as Linux has it")
async def test_what_the_kernel_drops_is_known(peer: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_module, "KERNEL_BUFFER", 4096)
    udp = opened("127.0.0.1", [])
    assert udp.dropped() == 0
    for _ in range(100):
        peer.sendto(bytes(1000), udp.local)
    assert udp.dropped() > 50
    udp.close()
    assert udp.dropped() == 0
