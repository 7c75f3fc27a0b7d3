"""Senders over the relay itself: opened by a call, told of their end, kept for people."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from gateway.accounts.model import Project
from gateway.errors import InvalidError, NotFoundError, UnavailableError
from gateway.scope import Scope
from gateway.senders.model import NotFlowingError, SenderEnd, SenderOrder, SenderTransport
from gateway.senders.service import Senders
from gateway.store import Store, StreamQuotas
from media.relay import Relay
from tests.gateway.streams.samples import NOW, PROJECT, stream

HOST = "127.0.0.1"
ORDER = SenderOrder(transport=SenderTransport.UDP, host=HOST, port=9_000, ssrc=7)
SCOPE = Scope(PROJECT)


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=23_700, rtp_port_max=23_799, threads=1) as relay:
        yield relay


@pytest.fixture
async def senders(database: Store, relay: Relay) -> Senders:
    project = Project(project_id=PROJECT, name="default", created_at=NOW, subscribed_at=None, quotas={})
    await database.accounts.add_project(project)
    await database.streams.add(stream(), quotas=StreamQuotas(10, 10))
    senders = Senders(database, relay, allow_private=True)
    relay.listen(senders.handle_media)
    return senders


async def until(good: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not good():  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.01)


async def test_a_sender_opened_by_a_call_ends_with_the_stream_and_says_so_once(relay: Relay, senders: Senders) -> None:
    receiver = relay.open_receiver("default", "stream1", transport="udp", ssrc=1)
    ends: list[SenderEnd] = []
    opened = senders.open(receiver.id, ORDER, ended=ends.append)
    assert opened.port % 2 == 0
    await until(lambda: senders.counts["connected"])
    relay.close_receiver(receiver.id)
    await until(lambda: ends)
    (end,) = ends
    assert (end.sender, end.app, end.name, end.reached) == (opened.id, "default", "stream1", True)
    assert (end.reason, end.peer, end.ssrc) == ("the stream is over", f"{HOST}:9000", 7)
    with pytest.raises(NotFlowingError):
        senders.open(receiver.id, ORDER)
    assert senders.figures() == {"opened": 1, "connected": 1, "ended": 1, "failed": 0}


async def test_operators_see_what_runs_and_what_ended(relay: Relay, senders: Senders) -> None:
    with pytest.raises(NotFlowingError):
        await senders.create(SCOPE, "stream1", ORDER)
    with pytest.raises(NotFoundError):
        await senders.create(SCOPE, "unknown", ORDER)
    receiver = relay.open_receiver("default", "stream1", transport="udp", ssrc=1)
    other = relay.open_receiver("default", "other", transport="udp", ssrc=1)
    first = await senders.create(SCOPE, "stream1", ORDER)
    second = await senders.create(SCOPE, "stream1", replace(ORDER, port=9_002))
    foreign = senders.open(other.id, ORDER)
    running, ended = await senders.list(SCOPE, "stream1")
    assert ([one.id for one in running], ended) == ([first.id, second.id], [])
    with pytest.raises(NotFoundError):
        await senders.delete(SCOPE, "stream1", foreign.id)
    await senders.delete(SCOPE, "stream1", first.id)
    await until(lambda: len(relay.senders()) == 2)
    await until(lambda: senders.counts["ended"])
    running, ended = await senders.list(SCOPE, "stream1")
    assert ([one.id for one in running], [(end.sender, end.reason) for end in ended]) == (
        [second.id],
        [(first.id, "closed")],
    )
    relay.close_receiver(receiver.id)


async def test_a_target_that_never_comes_is_told(relay: Relay, senders: Senders) -> None:
    receiver = relay.open_receiver("default", "stream1", transport="udp", ssrc=1)
    ends: list[SenderEnd] = []
    passive = replace(ORDER, transport=SenderTransport.TCP_PASSIVE, wait=0.2)
    senders.open(receiver.id, passive, ended=ends.append)
    await until(lambda: ends)
    assert (ends[0].reached, ends[0].reason) == (False, "nobody connected")


async def test_what_cannot_be_is_refused(relay: Relay, senders: Senders, database: Store) -> None:
    receiver = relay.open_receiver("default", "stream1", transport="udp", ssrc=1)
    with pytest.raises(InvalidError):
        senders.open(receiver.id, replace(ORDER, port=0))
    with pytest.raises(UnavailableError):
        senders.open(receiver.id, replace(ORDER, local_port=receiver.port))
    strict = Senders(database, relay)
    with pytest.raises(InvalidError, match="private"):
        await strict.create(SCOPE, "stream1", ORDER)
