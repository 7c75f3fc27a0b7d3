"""A lossy link in memory between two cores, in simulated time: loss, delay, reordering and duplicates, all seeded."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sip.core import Core
from sip.events import Event
from sip.flow import Address, Flow
from sip.headers import Headers
from sip.message import Request, parse
from sip.uri import Uri

PLATFORM = Address("192.0.2.10", 5060)
DEVICE = Address("198.51.100.20", 5060)
MAX_STEPS = 200_000


@dataclass(frozen=True)
class Faults:
    """What the link does to each datagram; times in seconds."""

    seed: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.01
    jitter: float = 0.0


@dataclass
class Side:
    """One core with its flow to the other; `on_event` plays its user."""

    name: str
    core: Core
    flow: Flow
    on_event: Callable[[float, Event], None] = lambda _now, _event: None
    events: list[Event] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)

    def of(self, kind: type) -> list[Any]:
        """Events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def sent_methods(self) -> list[str]:
        """First words of what it sent: methods, and status codes of responses."""
        words = [data.split(b" ", 2) for data in self.sent]
        return [(word[1] if word[0] == b"SIP/2.0" else word[0]).decode() for word in words]


class Link:
    """Two sides and the datagrams between them."""

    def __init__(self, faults: Faults | None = None, *, transport: str = "UDP") -> None:
        self.now = 0.0
        self.faults = faults or Faults()
        self.random = random.Random(self.faults.seed)
        self.down = False
        number = 1 if transport == "TCP" else 0
        self.platform = self._side("platform", Flow(transport, PLATFORM, DEVICE, number))
        self.device = self._side("device", Flow(transport, DEVICE, PLATFORM, number))
        self._order = itertools.count()
        self._in_flight: list[tuple[float, int, Side, bytes]] = []
        self._script: list[tuple[float, int, Callable[[], object]]] = []

    def _side(self, name: str, flow: Flow) -> Side:
        tokens = random.Random(f"{name}{self.faults.seed}")
        return Side(name, Core(lambda: f"{tokens.getrandbits(64):016x}", user_agent=name), flow)

    def at(self, time: float, action: Callable[[], object]) -> None:
        """Lets somebody do something at a time."""
        heapq.heappush(self._script, (time, next(self._order), action))

    def run(self, until: float) -> None:
        """Lets time pass; afterwards `now` is `until`."""
        self.pump()
        for _ in range(MAX_STEPS):
            due = self._next()
            if due is None or due > until:
                self.now = until
                return
            assert due >= self.now - 1e-9, "time went backwards"
            self.now = max(self.now, due)
            self._step()
        raise AssertionError("the cores never come to rest")

    def _next(self) -> float | None:
        times = [queue[0][0] for queue in (self._in_flight, self._script) if queue]
        times += [
            max(due, self.now) for side in (self.platform, self.device) if (due := side.core.next_timeout()) is not None
        ]
        return min(times, default=None)

    def _step(self) -> None:
        while self._script and self._script[0][0] <= self.now:
            heapq.heappop(self._script)[2]()
            self.pump()
        while self._in_flight and self._in_flight[0][0] <= self.now:
            _, _, side, data = heapq.heappop(self._in_flight)
            assert side.core.handle_datagram(self.now, side.flow, data) is not None
            self.pump()
        for side in (self.platform, self.device):
            side.core.handle_timeout(self.now)
        self.pump()

    def pump(self) -> None:
        """Carries what the cores have to send and tells what they have to say, until they are dry."""
        busy = True
        while busy:
            busy = False
            for side, other in ((self.platform, self.device), (self.device, self.platform)):
                while (transmit := side.core.poll_transmit()) is not None:
                    assert transmit.flow == side.flow
                    side.sent.append(transmit.data)
                    self._carry(other, transmit.data)
                while (event := side.core.poll_event()) is not None:
                    busy = True
                    side.events.append(event)
                    side.on_event(self.now, event)

    def _carry(self, to: Side, data: bytes) -> None:
        parse(data)  # what we send can be read
        faults, chance = self.faults, self.random
        for _ in range(2 if chance.random() < faults.duplicate else 1):
            if not self.down and chance.random() >= faults.loss:
                arrival = self.now + faults.delay + chance.random() * faults.jitter
                heapq.heappush(self._in_flight, (arrival, next(self._order), to, data))

    def assert_nothing_left(self) -> None:
        """No transaction, call, subscription or timer is held by either side."""
        for side in (self.platform, self.device):
            sizes = {name: size for name, size in side.core.transactions.sizes.items() if size}
            assert not sizes, (side.name, sizes)
            assert len(side.core.calls) == 0, side.name
            assert len(side.core.subscriptions) == 0, side.name
            assert side.core.next_timeout() is None, side.name


def message(method: str, body: bytes = b"", **headers: str) -> Request:
    """A request such as an application gives to the core."""
    fields: list[tuple[str, object]] = [("From", "<sip:34020000002000000001@3402000000>")]
    fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request(method, Uri("34020000001320000001", "3402000000"), Headers(fields), body)
