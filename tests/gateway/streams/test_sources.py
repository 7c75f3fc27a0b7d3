"""What runs follows what is stored; pushes are judged by what is stored then."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import pytest

from gateway.accounts.model import Project
from gateway.accounts.proofs import Attempts
from gateway.accounts.quotas import Quotas
from gateway.accounts.service import Accounts
from gateway.credentials.model import PushKey
from gateway.credentials.push_keys import PushKeys
from gateway.errors import NotFoundError, UnavailableError
from gateway.scope import Scope
from gateway.settings import DEFAULT_QUOTAS
from gateway.store import SecretBox, Store
from gateway.streams import sources as module
from gateway.streams.changes import NewStream, StreamChange
from gateway.streams.errors import StreamDeletingError, UnreadableInputError, UrlError
from gateway.streams.history import StreamHistory
from gateway.streams.inputs import BackupType
from gateway.streams.live import RelayView
from gateway.streams.model import AccessType, ShareType, StreamRecord, StreamState
from gateway.streams.publishing import Publishing
from gateway.streams.push import RULES, Refusal, TokenPolicy
from gateway.streams.questions import Questions
from gateway.streams.service import Streams
from gateway.streams.sources import StreamSources
from sip.digest import Algorithm, digest
from tests.gateway.media_events import Event
from tests.gateway.streams.notes import NotingRelay
from tests.gateway.streams.samples import NOW

RULE = RULES["hmac-sha256"]
URL = "http://camera.example/live"


class NoVideo:
    """A relay in which nothing flows."""

    def stream(self, app: str, name: str) -> None:
        return None


class World:
    """The services over a real database, and a relay that takes notes."""

    def __init__(self, store: Store, project: Project, questions: Questions) -> None:
        limits = Quotas(DEFAULT_QUOTAS)
        self.store, self.project, self.now, self.seconds = store, project, NOW, 0.0
        self.relay = NotingRelay()
        self.history = StreamHistory(store)
        self.sources = StreamSources(store, self.relay, self.history, lambda: self.now)
        self.streams = Streams(store, cast("RelayView", NoVideo()), limits, self.sources)
        self.keys = PushKeys(store, limits)
        self.publishing = Publishing(
            store=store,
            relay=self.relay,
            sources=self.sources,
            policy=TokenPolicy(rule=RULE),
            clock=lambda: self.now,
            questions=questions,
            attempts=Attempts(lambda: self.seconds),
        )

    async def add(self, name: str = "s1", kind: AccessType = AccessType.RTMP, **more: Any) -> None:
        url = URL if kind is AccessType.HTTP_FLV else None
        new = NewStream(name=name, access_type=kind, encode_type="H264", **{"url": url, **more})
        await self.streams.create(self.project, new, NOW)
        await self.change(name, state=StreamState.ACTIVE)

    async def change(self, name: str = "s1", **change: Any) -> None:
        await self.streams.update(self.project, name, StreamChange(**change), NOW)

    async def push(self, ticket: int = 1, name: str = "s1", app: str = "default", **more: str) -> str | None:
        """Why it was refused."""
        self.event("publish", ticket=str(ticket), app=app, name=name, peer="192.0.2.9:4000", **more)
        async with asyncio.timeout(20):
            while ticket not in self.relay.refused and ticket not in self.relay.accepted:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return self.relay.refused.get(ticket)

    def event(self, kind: str, receiver: int = 0, **detail: str) -> None:
        event = Event(kind, receiver, detail, round(self.now.timestamp() * 1000))
        self.publishing.handle_media(event)
        self.sources.handle_media(event)

    @property
    def receiver(self) -> int:
        (receiver,) = self.relay.open
        return receiver

    async def told(self, name: str = "s1") -> list[tuple[str, str, str]]:
        """The history: cause, state after it, detail."""
        assert await self.history.flush()
        found = await self.store.stream_events.history(self.project.project_id, name)
        return [(event.cause, event.after, event.detail) for _, event in reversed(found)]


@pytest.fixture
async def world(database: Store) -> AsyncIterator[World]:
    project = await Accounts(database, Quotas(DEFAULT_QUOTAS)).add_project("default", NOW)
    async with Questions() as questions:
        yield World(database, project, questions)


async def test_what_is_active_is_pulled_until_it_is_stopped(world: World) -> None:
    await world.add(kind=AccessType.HTTP_FLV)
    settings = {"private": True, "generation": 0, "allow_private": False}
    assert world.relay.told == [("pull", "s1", URL, settings)]
    for change in ({"state": StreamState.ACTIVE}, {"description": "new"}, {"access_key": "none"}):
        await world.change(**change)
    assert len(world.relay.told) == 1
    await world.change(state=StreamState.STOPPED)
    assert world.relay.open == {}
    assert world.sources.look("default", "s1") is None


async def test_another_url_is_pulled_at_once(world: World) -> None:
    await world.add(kind=AccessType.HTTP_FLV)
    other = "rtsp://other.example/live#transport=udp"
    await world.change(url=other, share_type=ShareType.PUBLIC)
    assert [told[0] for told in world.relay.told] == ["pull", "close", "pull"]
    assert world.relay.told[-1][2:] == (other, {"private": False, "generation": 0, "allow_private": False})
    assert world.relay.transports == {URL: "tcp", other: "udp"}


async def test_inputs_of_a_running_stream_are_changed_while_it_runs(world: World) -> None:
    def standing() -> Any:
        return [told[2] for told in world.relay.told if told[0] == "standby"]

    async def ready() -> list[bool]:
        return [view.ready for view in await world.streams.inputs(scope, "s1")]

    await world.add(kind=AccessType.HTTP_FLV)
    scope = Scope(world.project.project_id)
    await world.streams.set_inputs(scope, "s1", [(URL + "2", BackupType.ACTIVE)])
    world.event("standby_connected", world.receiver, input="2")
    await world.streams.add_input(scope, "s1", URL + "3", BackupType.ACTIVE)
    assert standing() == [[("2", URL + "2")], [("2", URL + "2"), ("3", URL + "3")]]
    assert await ready() == [False, True, False], "the second one stays connected"
    await world.streams.remove_input(scope, "s1", 2)
    assert standing()[-1] == [("4", URL + "3")], "in another place it is another one"
    for label in ("2", "3"):
        world.event("standby_connected", world.receiver, input=label)
    assert await ready() == [False, False], "those are gone: what is told of them now was on its way"
    world.event("standby_connected", world.receiver, input="4")
    assert await ready() == [False, True]
    await world.streams.remove_input(scope, "s1", 2)
    assert standing()[-1] == [], "nothing stands by any more"
    told = len(world.relay.told)
    await world.streams.set_inputs(scope, "s1", [])
    assert len(world.relay.told) == told


async def test_a_failure_told_late_is_that_of_the_input_which_failed(world: World) -> None:
    def active() -> list[int]:
        return [view.input.number for view in world.sources.inputs.look(world.receiver) if view.active]

    await world.add(kind=AccessType.HTTP_FLV)
    scope = Scope(world.project.project_id)
    backups = [(URL + number, BackupType.PASSIVE) for number in "23"]
    await world.streams.set_inputs(scope, "s1", backups)
    for _ in range(3):
        world.event("connect_failed", world.receiver, input="1", reason="refused")
    assert active() == [2], "the first input failed three times before the relay had left it"
    world.event("connect_failed", world.receiver, input="2", reason="refused")
    assert active() == [3]
    world.event("connect_failed", world.receiver, reason="refused")
    assert active() == [3], "a failure without a label is of what feeds the stream; all had their turn"
    async with asyncio.timeout(10):
        while active() != [1]:  # noqa: ASYNC110  (a timer's work)
            await asyncio.sleep(0.05)


async def test_inputs_that_cannot_be_decrypted_are_not_written_as_empty(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.add(kind=AccessType.HTTP_FLV)
    scope = Scope(world.project.project_id)
    await world.streams.set_inputs(scope, "s1", [(URL + "2", BackupType.PASSIVE), (URL + "3", BackupType.DISABLED)])
    database = world.store.inputs._database
    with monkeypatch.context() as lost:
        lost.setattr(database, "secrets", SecretBox(b"K" * 32))
        with pytest.raises(UnreadableInputError):
            await world.streams.add_input(scope, "s1", URL + "4", BackupType.PASSIVE)
        with pytest.raises(UnreadableInputError, match="input 3"):
            await world.streams.remove_input(scope, "s1", 2)
        with pytest.raises(NotFoundError):
            await world.streams.remove_input(scope, "s1", 4)
    assert [view.input.url for view in await world.streams.inputs(scope, "s1")] == [URL, URL + "2", URL + "3"]
    with monkeypatch.context() as lost:
        lost.setattr(database, "secrets", SecretBox(b"K" * 32))
        await world.streams.set_inputs(scope, "s1", [(URL + "5", BackupType.PASSIVE)])
        assert [one.url for one in await world.store.inputs.of(await stream_id(world))] == [URL + "5"]
        await world.streams.remove_input(scope, "s1", 2)


async def stream_id(world: World) -> str:
    found = await world.store.streams.find("default", "s1")
    assert found is not None
    return found.stream_id


async def test_the_share_type_takes_effect_while_it_runs(world: World) -> None:
    await world.add(kind=AccessType.HTTP_FLV)
    await world.change(share_type=ShareType.PUBLIC)
    await world.change(share_type=ShareType.PUBLIC)
    await world.change(share_type=ShareType.PRIVATE)
    assert world.relay.told[1:] == [("private", "s1", False), ("private", "s1", True)]


async def test_deleting_ends_what_runs(world: World) -> None:
    await world.add(kind=AccessType.HTTP_FLV)
    await world.streams.delete(world.project.project_id, "s1")
    assert world.relay.open == {}
    assert await world.told() == [("OPENED", "CONNECTING", ""), ("ENDED", "IDLE", "the stream was deleted")]


async def test_while_it_is_deleted_nothing_else_is_done(world: World) -> None:
    await world.add()
    async with world.sources.turn("default", "s1"):
        deletion = asyncio.create_task(world.streams.delete(world.project.project_id, "s1"))
        while not world.streams.deleting:  # noqa: ASYNC110
            await asyncio.sleep(0)
        with pytest.raises(StreamDeletingError):
            await world.change(description="too late")
        with pytest.raises(StreamDeletingError):
            await world.streams.delete(world.project.project_id, "s1")
        with pytest.raises(StreamDeletingError):
            await world.streams.endpoint(Scope(world.project.project_id), "s1", "http://h", NOW)
    await deletion
    assert await world.push() == Refusal.UNKNOWN


async def test_what_cannot_be_pulled_is_told_and_tried_with_the_next_change(world: World) -> None:
    world.relay.broken = True
    with pytest.raises(UrlError):
        await world.add(kind=AccessType.HTTP_FLV)
    world.relay.broken = False
    await world.change(state=StreamState.ACTIVE)
    assert len(world.relay.open) == 1


async def test_at_the_start_all_active_ones_are_pulled_spread_over_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPENED_AT_ONCE", 2)
    monkeypatch.setattr(module, "OPENING_GAP_SECONDS", 0.05)
    for number in range(5):
        await world.add(f"p{number}", AccessType.HTTP_FLV)
    await world.change("p4", state=StreamState.STOPPED)
    await world.add("pushed")
    again = NotingRelay()
    fresh = StreamSources(world.store, again, world.history, lambda: NOW)
    begin = asyncio.get_running_loop().time()
    task = asyncio.create_task(fresh.run())
    async with asyncio.timeout(20):
        while len(again.open) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert sorted(name for _, name in again.open.values()) == ["p0", "p1", "p2", "p3"]
    assert asyncio.get_running_loop().time() - begin >= 0.05
    task.cancel()


async def test_a_pull_that_nobody_watches_is_stopped_and_a_push_goes_on(world: World) -> None:
    await world.add(kind=AccessType.HTTP_FLV)
    await world.add("s2")
    assert await world.push(name="s2") is None
    receiver = world.sources.input_receiver("default", "s1")
    assert receiver in world.relay.open
    for name in ("s1", "s2", "unknown"):
        await world.sources.stop_unwatched("default", name)
    assert receiver not in world.relay.open
    assert world.sources.look("default", "s1") is None
    assert (await world.told())[-1] == ("ENDED", "IDLE", "nobody watched it for as long as its options allow")
    assert world.sources.look("default", "s2") is not None
    states = {name: await world.store.streams.find("default", name) for name in ("s1", "s2")}
    assert [one and one.state for one in states.values()] == [StreamState.STOPPED, StreamState.ACTIVE]
    await world.change("s1", state=StreamState.ACTIVE)
    assert world.sources.look("default", "s1") is not None


async def test_where_a_pull_stands(world: World) -> None:
    await world.add(kind=AccessType.HTTP_FLV)
    receiver = world.receiver
    world.event("connecting", receiver, url=URL)
    for _ in range(3):
        world.event(
            "connect_failed", receiver, reason="connection refused", cause="connection_refused", retry_ms="2000"
        )
    view = world.sources.look("default", "s1")
    assert view is not None
    assert (view.state, view.failures, view.reason) == ("BROKEN", 3, "connection refused")
    assert view.reason_code == "connection_refused"
    assert view.retry_at == NOW + timedelta(seconds=2)
    world.now += timedelta(seconds=5)
    world.event("connected", receiver, peer="192.0.2.1:80")
    world.event("connected", receiver)
    view = world.sources.look("default", "s1")
    assert view is not None
    assert view.peer is None, "a program took over, which has no address"
    world.event("connected", receiver, peer="192.0.2.1:80")
    world.event("first_packet", receiver)
    world.event("silent", receiver, ms="5000")
    world.event("resumed", receiver)
    world.event("disconnected", receiver, peer="192.0.2.1:80", reason="closed by the peer", retry_ms="1000")
    view = world.sources.look("default", "s1")
    assert view is not None
    assert (view.state, view.since, view.peer) == ("BROKEN", world.now, "192.0.2.1:80")
    assert await world.told() == [
        ("OPENED", "CONNECTING", ""),
        ("CONNECT_FAILED", "BROKEN", "connection refused"),
        ("CONNECTED", "CONNECTED", "192.0.2.1:80"),
        ("MEDIA", "FLOWING", ""),
        ("SILENCE", "SILENT", ""),
        ("MEDIA", "FLOWING", ""),
        ("DISCONNECTED", "BROKEN", "closed by the peer"),
    ]
    assert world.sources.counts["BROKEN"] == 1


async def test_events_of_channels_and_oddities_are_passed_over(world: World) -> None:
    await world.add(kind=AccessType.HTTP_FLV)
    world.event("connected", 7, peer="192.0.2.1:80")
    world.event("no_viewers", world.receiver)
    world.event("silent", world.receiver, ms="5000")  # nothing came yet: no news
    world.event("disconnected", world.receiver)  # before it was there: cannot be
    view = world.sources.look("default", "s1")
    assert view is not None
    assert view.state == "CONNECTING"


async def test_a_push_without_a_key(world: World) -> None:
    await world.add()
    assert await world.push() is None
    assert world.relay.told == [("accept", 1, "s1", {"private": True, "generation": 0})]
    world.event("connected", world.receiver, peer="192.0.2.9:4000")
    world.event("first_packet", world.receiver)
    world.event("disconnected", world.receiver, peer="192.0.2.9:4000", reason="unpublished")
    receiver = world.receiver
    del world.relay.open[receiver]
    world.event("ended", receiver, reason="unpublished")
    assert world.sources.look("default", "s1") is None
    assert [cause for cause, _, _ in await world.told()] == ["CONNECTED", "MEDIA", "DISCONNECTED", "ENDED"]
    assert await world.push(2) is None
    assert world.publishing.counts["accepted"] == 2


async def with_key(world: World) -> PushKey:
    key = await world.keys.create(world.project, name="key", description="", at=NOW)
    await world.add(access_key=key.access_key)
    return key


def query(key: PushKey, expires: int, name: str = "s1") -> str:
    token = RULE.token(key.secret_key, "default", name, expires)
    return f"Expires={expires}&AccessKeyId={key.access_key}&Token={token}"


async def test_a_push_with_a_key(world: World) -> None:
    key = await with_key(world)
    good = query(key, int(NOW.timestamp()) + 60)
    assert await world.push(1) == Refusal.NO_TOKEN
    assert await world.push(2, query=good[:-1]) == Refusal.WRONG_TOKEN
    assert await world.push(3, query=query(key, int(NOW.timestamp()) - 3600)) == Refusal.EXPIRED
    assert await world.push(4, "other") == Refusal.UNKNOWN
    assert await world.push(5, app="elsewhere", query=good) == Refusal.UNKNOWN
    assert await world.push(6, query=good) is None
    assert await world.push(7, query=good) == Refusal.TAKEN
    assert world.publishing.counts["wrong_token"] == 1


def proof(user: str, secret: str) -> dict[str, str]:
    """What RTSP brings, of an encoder that knows no qop."""
    given = {"realm": "r", "nonce": "n", "uri": "rtsp://h/default/s1", "method": "ANNOUNCE"}
    response = digest(Algorithm.MD5, username=user, password=secret, **given)
    return {"user": user, "algorithm": "MD5", "response": response, **given}


async def test_a_push_whose_encoder_proves_to_have_the_key(world: World) -> None:
    key = await with_key(world)
    other = await world.keys.create(world.project, name="other", description="", at=NOW)
    assert await world.push(1, challenged="1") == Refusal.NO_TOKEN
    assert (world.publishing.counts["no_token"], world.publishing.counts["challenged"]) == (0, 1), "no failure yet"
    assert await world.push(2, **proof(key.access_key, "guess")) == Refusal.WRONG_PROOF
    assert await world.push(3, **proof(other.access_key, other.secret_key)) == Refusal.WRONG_PROOF
    bad = query(key, int(NOW.timestamp()) - 3600)
    assert await world.push(4, query=bad, **proof(key.access_key, key.secret_key)) == Refusal.EXPIRED
    assert world.relay.unauthorized == {1, 2, 3}, "these may prove who they are"
    assert await world.push(5, **proof(key.access_key, key.secret_key)) is None
    assert await world.push(6, **proof(key.access_key, key.secret_key)) == Refusal.TAKEN


async def test_an_encoder_that_guesses_is_slowed(world: World) -> None:
    key = await with_key(world)
    for ticket in range(20):
        assert await world.push(ticket, **proof(key.access_key, "guess")) == Refusal.WRONG_PROOF
    assert await world.push(21, **proof(key.access_key, key.secret_key)) == Refusal.SLOWED
    world.seconds += 1.1
    assert await world.push(22, **proof(key.access_key, key.secret_key)) is None


async def test_another_key_throws_out_who_pushes(world: World) -> None:
    key = await with_key(world)
    assert await world.push(1, query=query(key, int(NOW.timestamp()) + 60)) is None
    await world.change(description="nothing to do with it")
    assert len(world.relay.open) == 1
    await world.change(access_key="")
    assert world.relay.open == {}


async def test_a_stopped_stream_throws_out_who_pushes_and_takes_nobody(world: World) -> None:
    await world.add()
    assert await world.push(1) is None
    await world.change(state=StreamState.STOPPED)
    assert world.relay.open == {}
    assert await world.push(2) == Refusal.STOPPED


async def test_a_push_takes_the_place_of_a_silent_one(world: World) -> None:
    """An encoder that lost its network comes back before its old connection is known to be dead."""
    await world.add()
    assert await world.push(1) is None
    assert await world.push(2) == Refusal.TAKEN
    world.event("silent", world.receiver)
    assert await world.push(3) is None
    assert len(world.relay.open) == 1
    assert ("ENDED", "IDLE", "another push took its place") in await world.told()


async def test_a_push_judged_while_the_stream_is_stopped_does_not_stay(world: World) -> None:
    await world.add()
    for ticket in range(20):
        push, stop = world.push(ticket), world.change(state=StreamState.STOPPED)
        await asyncio.gather(*((push, stop) if ticket % 2 else (stop, push)))
        assert world.relay.open == {}, ticket
        await world.change(state=StreamState.ACTIVE)


async def test_too_many_pushes_at_once_are_refused_at_once(world: World) -> None:
    async with Questions(at_once=1, waiting_max=3) as few:
        world.publishing = Publishing(
            store=world.store,
            relay=world.relay,
            sources=world.sources,
            policy=TokenPolicy(rule=RULE),
            clock=lambda: world.now,
            questions=few,
            attempts=Attempts(lambda: 0.0),
        )
        for ticket in range(10):
            world.event("publish", ticket=str(ticket), app="default", name="nobody")
        assert world.relay.refused == dict.fromkeys(range(3, 10), Refusal.BUSY.value)
        assert await world.push(11, "nobody") in {Refusal.BUSY, Refusal.UNKNOWN}


async def test_void_addresses(world: World) -> None:
    await world.add(kind=AccessType.HTTP_FLV)
    scope = Scope(world.project.project_id)
    assert await world.streams.void_addresses(scope, "s1", NOW) == 1
    assert world.relay.told[-1] == ("generation", "s1", 1)
    await world.change(url="http://other.example/live")
    assert world.relay.told[-1][3]["generation"] == 1


@pytest.fixture
async def running(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """What was lost is opened again at once."""
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    task = asyncio.create_task(world.sources.run())
    yield
    task.cancel()
    await asyncio.wait([task])


async def opened_again(world: World, receiver: int) -> None:
    async with asyncio.timeout(20):
        while not world.relay.open or world.receiver == receiver:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.mark.usefixtures("running")
async def test_a_pull_that_ends_by_a_fault_of_ours_is_opened_again(world: World) -> None:
    await world.add(kind=AccessType.HTTP_FLV)
    receiver = world.receiver
    del world.relay.open[receiver]
    world.event("failed", receiver, reason="a bug")
    await opened_again(world, receiver)
    assert await world.told() == [
        ("OPENED", "CONNECTING", ""),
        ("ENDED", "IDLE", "a bug"),
        ("OPENED", "CONNECTING", ""),
    ]


@pytest.mark.usefixtures("running")
async def test_what_could_not_be_deleted_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.add(kind=AccessType.HTTP_FLV)
    receiver = world.receiver

    async def fail(_: str) -> bool:
        raise UnavailableError("the database is away")

    monkeypatch.setattr(world.store.streams, "delete", fail)
    with pytest.raises(UnavailableError):
        await world.streams.delete(world.project.project_id, "s1")
    await opened_again(world, receiver)
    assert not world.streams.deleting


@pytest.mark.usefixtures("running")
async def test_a_change_that_could_not_be_followed_is_followed_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, times = world.store.streams.find, 0

    async def fail_once(app: str, name: str) -> StreamRecord | None:
        nonlocal times
        times += 1
        if times == 1:
            raise UnavailableError("the database is away")
        return await find(app, name)

    monkeypatch.setattr(world.store.streams, "find", fail_once)
    with pytest.raises(UnavailableError):
        await world.add(kind=AccessType.HTTP_FLV)
    await opened_again(world, 0)


async def test_an_end_that_was_not_told_does_not_keep_the_next_push_out(world: World) -> None:
    await world.add()
    assert await world.push(1) is None
    world.relay.open.clear()  # the event about it was lost
    assert await world.push(2) is None
    view = world.sources.look("default", "s1")
    assert view is not None
    assert view.state == "CONNECTED"
