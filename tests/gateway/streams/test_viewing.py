"""Whose token opens a private stream."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from argon2 import PasswordHasher

from gateway.accounts.model import Role
from gateway.accounts.passwords import Passwords
from gateway.accounts.quotas import Quotas
from gateway.accounts.service import Accounts
from gateway.settings import DEFAULT_QUOTAS
from gateway.store import Store, StreamQuotas
from gateway.streams.questions import Questions
from gateway.streams.viewing import Viewing
from media._core import CoreError
from tests.gateway.streams.samples import NOW, stream


class Relay:
    """Waits for answers."""

    def __init__(self) -> None:
        self.answers: dict[int, bool] = {}

    def answer_play(self, ticket: int, allowed: bool) -> None:
        if ticket == 99:
            raise CoreError("gone")
        self.answers[ticket] = allowed


@dataclass
class Event:
    detail: dict[str, str]
    kind: str = "play"


class World:
    def __init__(self, store: Store, questions: Questions) -> None:
        cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self.accounts = Accounts(store, Quotas(DEFAULT_QUOTAS), passwords=cheap)
        self.relay = Relay()
        self.viewing = Viewing(
            streams=store.streams, accounts=self.accounts, relay=self.relay, clock=lambda: NOW, questions=questions
        )
        self.tickets = 0

    async def member(self, project: str, name: str, role: Role = Role.VIEWER) -> str:
        """A token of somebody in the project."""
        await self.accounts.add_user(name, project, role, "Secret-1234", NOW)
        return (await self.accounts.log_in(name, "Secret-1234", NOW))[0]

    async def ask(self, token: str, app: str = "default", name: str = "stream1") -> bool:
        self.tickets += 1
        detail = {"ticket": str(self.tickets), "app": app, "name": name, "token": token, "peer": "192.0.2.9:1"}
        self.viewing.handle_media(Event(detail))
        async with asyncio.timeout(5):
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


async def test_who_has_gone_does_no_harm(world: World) -> None:
    world.viewing.handle_media(Event({"ticket": "99", "app": "default", "name": "stream1", "token": "x"}))
    assert not await world.ask("unknown")


async def test_too_many_questions_are_refused_at_once(world: World, database: Store) -> None:
    async with Questions(at_once=1, waiting_max=2) as few:
        viewing = Viewing(
            streams=database.streams, accounts=world.accounts, relay=world.relay, clock=lambda: NOW, questions=few
        )
        for ticket in range(5):
            viewing.handle_media(Event({"ticket": str(ticket), "app": "default", "name": "stream1", "token": "x"}))
        assert world.relay.answers == {2: False, 3: False, 4: False}
        assert viewing.counts["busy"] == 3


async def test_only_questions_are_answered(world: World) -> None:
    world.viewing.handle_media(Event({}, kind="connected"))
    assert world.relay.answers == {}
