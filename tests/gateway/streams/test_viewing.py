"""Whose token opens a private stream."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher

from gateway.accounts.keys import AccessKeys
from gateway.accounts.model import AccessKey, Role
from gateway.accounts.passwords import Passwords
from gateway.accounts.proofs import Attempts, KeyProofs
from gateway.accounts.quotas import Quotas
from gateway.accounts.service import Accounts
from gateway.settings import DEFAULT_QUOTAS
from gateway.store import Store, StreamQuotas
from gateway.streams.questions import Questions
from gateway.streams.viewing import Viewing
from media._core import CoreError
from sip.digest import Algorithm, digest
from tests.gateway.media_events import Event
from tests.gateway.streams.samples import NOW, stream


class Relay:
    """Waits for answers."""

    def __init__(self) -> None:
        self.answers: dict[int, bool] = {}

    def answer_play(self, ticket: int, allowed: bool) -> None:
        if ticket == 99:
            raise CoreError("gone")
        self.answers[ticket] = allowed


def asked(ticket: int) -> Event:
    return Event("play", detail={"ticket": str(ticket), "app": "default", "name": "stream1", "token": "x"})


class World:
    def __init__(self, store: Store, questions: Questions) -> None:
        cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self.accounts = Accounts(store, Quotas(DEFAULT_QUOTAS), passwords=cheap)
        self.relay = Relay()
        self.keys = AccessKeys(store, started_at=NOW)
        self.seconds = 0.0
        self.viewing = Viewing(
            streams=store.streams,
            accounts=self.accounts,
            proofs=KeyProofs(store, Attempts(lambda: self.seconds)),
            relay=self.relay,
            clock=lambda: NOW,
            questions=questions,
        )
        self.tickets = 0

    async def member(self, project: str, name: str, role: Role = Role.VIEWER) -> str:
        """A token of somebody in the project."""
        await self.accounts.add_user(name, project, role, "Secret-1234", NOW)
        return (await self.accounts.log_in(name, "Secret-1234", NOW))[0]

    async def ask(self, token: str, app: str = "default", name: str = "stream1") -> bool:
        return await self.show({"token": token}, app, name)

    async def key(self, project: str, name: str) -> tuple[AccessKey, str]:
        """An access key of somebody in the project, with its secret."""
        await self.member(project, name)
        (user,) = [user for user in await self.accounts.users() if user.name == name]
        return await self.keys.create(user, "", NOW)

    async def prove(self, user: str, secret: str, name: str = "stream1", peer: str = "192.0.2.9:1") -> bool:
        given = {"realm": "r", "nonce": "n", "uri": f"rtsp://h/default/{name}", "method": "DESCRIBE"}
        counted = {"qop": "auth", "nc": "00000001", "cnonce": "c"}
        response = digest(Algorithm.SHA256, username=user, password=secret, **given, **counted)
        shown = {"user": user, "algorithm": "SHA-256", "response": response, **given, **counted}
        return await self.show(shown, "default", name, peer)

    async def show(self, shown: dict[str, str], app: str, name: str, peer: str = "192.0.2.9:1") -> bool:
        self.tickets += 1
        detail = {"ticket": str(self.tickets), "app": app, "name": name, "peer": peer, **shown}
        self.viewing.handle_media(Event("play", detail=detail))
        async with asyncio.timeout(20):
            while self.tickets not in self.relay.answers:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return self.relay.answers[self.tickets]


@pytest.fixture
async def world(database: Store) -> AsyncIterator[World]:
    async with Questions() as questions:
        world = World(database, questions)
        project = await world.accounts.add_project("default", NOW)
        await world.accounts.add_project("other", NOW)
        await database.streams.add(stream(project_id=project.project_id), quotas=StreamQuotas(10, 10))
        yield world


async def test_the_owners_token_opens_also_a_viewers(world: World) -> None:
    assert await world.ask(await world.member("default", "eve"))
    assert await world.ask(await world.member("default", "adam", Role.OPERATOR))
    assert world.viewing.counts["allowed"] == 2


async def test_others_do_not(world: World) -> None:
    foreign = await world.member("other", "mallory", Role.ADMINISTRATOR)
    assert not await world.ask(foreign)
    assert not await world.ask(foreign, app="other")
    assert not await world.ask("unknown")
    assert not await world.ask("")
    mine = await world.member("default", "eve")
    assert not await world.ask(mine, name="stream2")
    assert not await world.ask(mine, app="other")
    await world.accounts.revoke(mine)
    assert not await world.ask(mine)
    assert world.viewing.counts["refused"] == 7


async def test_an_access_key_opens_what_its_user_may_see(world: World, database: Store) -> None:
    key, secret = await world.key("default", "eve")
    assert await world.prove(key.key_id, secret)
    (used,) = await database.access_keys.of_user(key.user_id)
    assert used.last_used_at == NOW
    assert not await world.prove(key.key_id, secret, name="stream2")
    assert not await world.prove(key.key_id, secret[:-1] + ("a" if secret[-1] != "a" else "b"))
    assert not await world.prove("AKNOBODY", secret)
    foreign, of_others = await world.key("other", "mallory")
    assert not await world.prove(foreign.key_id, of_others)
    await database.access_keys.change(key.user_id, key.key_id, enabled=False)
    assert not await world.prove(key.key_id, secret)
    assert world.viewing.counts == {"allowed": 1, "refused": 5, "slowed": 0, "busy": 0, "failed": 0}


async def test_who_guesses_secrets_is_slowed_and_others_are_not(world: World) -> None:
    key, secret = await world.key("default", "eve")
    for _ in range(20):
        assert not await world.prove(key.key_id, "guess")
    assert not await world.prove(key.key_id, secret), "also what is right is held up"
    assert world.viewing.counts["slowed"] == 1
    assert await world.prove(key.key_id, secret, peer="192.0.2.10:1")
    world.seconds += 1.1
    assert await world.prove(key.key_id, secret)
    assert not await world.prove(key.key_id, "guess")
    world.seconds += 1.1
    assert not await world.prove(key.key_id, secret), "the next failure doubled the wait"


async def test_a_stream_beside_another_one_has_its_rights(world: World) -> None:
    mine, foreign = await world.member("default", "eve"), await world.member("other", "mallory", Role.ADMINISTRATOR)
    assert await world.ask(mine, name="stream1~aac")
    assert not await world.ask(mine, name="stream2~aac")
    assert not await world.ask(foreign, name="stream1~aac")
    assert not await world.ask("unknown", name="stream1~aac")
    key, secret = await world.key("default", "adam")
    assert await world.prove(key.key_id, secret, name="stream1~aac")
    other, secret = await world.key("other", "oscar")
    assert not await world.prove(other.key_id, secret, name="stream1~aac")


async def test_who_has_gone_does_no_harm(world: World) -> None:
    world.viewing.handle_media(asked(99))
    assert not await world.ask("unknown")


async def test_too_many_questions_are_refused_at_once(world: World, database: Store) -> None:
    async with Questions(at_once=1, waiting_max=2) as few:
        viewing = Viewing(
            streams=database.streams,
            accounts=world.accounts,
            proofs=KeyProofs(database, Attempts(lambda: 0.0)),
            relay=world.relay,
            clock=lambda: NOW,
            questions=few,
        )
        for ticket in range(5):
            viewing.handle_media(asked(ticket))
        assert world.relay.answers == {2: False, 3: False, 4: False}
        assert viewing.counts["busy"] == 3


async def test_only_questions_are_answered(world: World) -> None:
    world.viewing.handle_media(Event("connected"))
    assert world.relay.answers == {}
