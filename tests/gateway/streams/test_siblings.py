"""Streams with AAC that viewers ask for: made for the first one, ended after the last one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from gateway.background import Background
from gateway.streams.model import StreamRecord
from gateway.streams.siblings import Siblings
from media._core import Feed
from media.relay import Relay
from media.units import Units
from tests.gateway.media_events import Event
from tests.gateway.streams.samples import stream

STREAM = stream(name="cam")
PATIENCE = 20.0


@dataclass
class Live:
    """A stream of the relay, which the test alone knows to have this sound."""

    receiver: int
    audio_codec: str | None
    viewers: dict[str, int] = field(default_factory=dict)


class House:
    """A real relay behind, but what it tells of streams is chosen here."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.source = relay.open_feed("default", "cam", transport="derived", private=False)
        self.live = {"cam": Live(self.source.id, "PCMA")}
        self.answers: dict[int, bool] = {}
        self.answered = asyncio.Event()
        self.looked = 0

    def stream(self, _app: str, name: str) -> Any:
        self.looked += name == "cam~aac"
        return self.live.get(name)

    def subscribe(self, receiver: int) -> Units:
        return self.relay.subscribe(receiver)

    def open_feed(self, app: str, name: str, *, transport: Literal["derived"], private: bool, generation: int) -> Feed:
        feed = self.relay.open_feed(app, name, transport=transport, private=private, generation=generation)
        self.live[name] = Live(feed.id, "AAC", {"http-flv": 1})
        return feed

    def answer_play(self, ticket: int, allowed: bool) -> None:
        self.answers[ticket] = allowed
        self.answered.set()

    async def find(self, _app: str, name: str) -> StreamRecord | None:
        return STREAM if name == "cam" else None

    def is_open(self) -> bool:
        return self.relay.stream("default", "cam~aac") is not None


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[House, Siblings]]:
    async with Relay(play_key=b"k", rtp_host="127.0.0.1", threads=1) as relay:
        house = House(relay)
        async with Background() as background, Siblings(house, (house,), background.spawn, look=0.02) as siblings:  # type: ignore[arg-type]
            yield house, siblings


async def ask(house: House, siblings: Siblings, ticket: int, name: str = "cam") -> bool:
    house.answered.clear()
    siblings.handle_media(Event("aac", detail={"ticket": str(ticket), "app": "default", "name": name}))
    async with asyncio.timeout(PATIENCE):
        await house.answered.wait()
    return house.answers[ticket]


async def looks(house: House, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        seen = house.looked
        while house.looked < seen + count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def gone(house: House) -> None:
    async with asyncio.timeout(PATIENCE):
        while house.is_open():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_first_who_asks_has_it_made_and_it_ends_after_the_last_one() -> None:
    async with opened() as (house, siblings):
        siblings.handle_media(Event("play"))
        assert await ask(house, siblings, 1) and await ask(house, siblings, 2)
        assert siblings.counts == {"made": 2, "refused": 0, "failed": 0, "busy": 0}
        await looks(house, 5)
        assert house.is_open(), "it is watched"
        house.live["cam~aac"].viewers = {"http-flv": 0}
        await gone(house)
        assert await ask(house, siblings, 3), "and may be asked for again"


async def test_one_that_was_made_by_a_call_waits_longer() -> None:
    async with opened() as (house, siblings):
        assert await ask(house, siblings, 1)
        assert (await siblings.open(STREAM)).name == "cam~aac"
        house.live["cam~aac"].viewers = {}
        await looks(house, 6)
        assert house.is_open()
        await gone(house)


@pytest.mark.parametrize(("name", "codec"), [("cam", "AAC"), ("cam", None), ("unknown", "PCMA")])
async def test_what_cannot_be_made_is_refused(name: str, codec: str | None) -> None:
    async with opened() as (house, siblings):
        house.live["cam"].audio_codec = codec
        assert not await ask(house, siblings, 1, name)
        assert siblings.counts["refused"] == 1 and not house.is_open()
