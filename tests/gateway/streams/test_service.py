"""The relay is asked off the loop, and once about many streams."""

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import cast

from gateway.accounts.quotas import Quotas
from gateway.store import Store
from gateway.streams.live import LiveStream
from gateway.streams.service import ASKED_SINGLY, Sources, Streams


@dataclass
class Named:
    """As much of a stream as is asked for here."""

    app: str
    name: str


class SlowRelay:
    """Takes its time for each snapshot, and notes who waited for it."""

    def __init__(self) -> None:
        self.asked: list[threading.Thread] = []

    def stream(self, app: str, name: str) -> LiveStream | None:
        self._answer()
        return cast("LiveStream", Named(app, name)) if name != "nobody" else None

    def streams(self) -> list[LiveStream]:
        self._answer()
        return [cast("LiveStream", Named(app, f"s{number}")) for app in ("mine", "theirs") for number in range(3)]

    def sign(self, app: str, name: str, expires: int, generation: int = 0) -> str:
        raise NotImplementedError

    def _answer(self) -> None:
        self.asked.append(threading.current_thread())
        time.sleep(0.05)


def service(relay: SlowRelay) -> Streams:
    return Streams(cast("Store", None), relay, Quotas({}), cast("Sources", None))


async def test_the_loop_goes_on_while_the_relay_takes_its_time() -> None:
    relay, turns = SlowRelay(), 0
    asked = asyncio.create_task(service(relay).live("mine", ["a", "b", "nobody"]))
    while not asked.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert sorted(asked.result()) == ["a", "b"]
    assert turns > 10
    assert threading.main_thread() not in relay.asked


async def test_about_many_streams_it_is_asked_once() -> None:
    relay = SlowRelay()
    live = await service(relay).live("mine", [f"s{number}" for number in range(ASKED_SINGLY + 1)])
    assert {name: stream.app for name, stream in live.items()} == {"s0": "mine", "s1": "mine", "s2": "mine"}
    assert len(relay.asked) == 1
