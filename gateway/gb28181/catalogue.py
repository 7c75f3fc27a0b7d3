"""Assembles the answers of one catalogue query (GB/T 28181-2016 §9.5). No socket, no clock.

Devices send one item a message or many, out of order, twice, with a SumNum that is too high or too low, and lose the
last one. So items are merged by code (the last wins), SumNum is only a hint, and an answer ends by its count or by
silence. What came is never more than what it is: only a complete answer may say that a channel has gone.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.devices.model import DeviceId
from gateway.errors import IllegalTransitionError
from gateway.gb28181.ids import Kind
from gateway.gb28181.messages.catalogue import CatalogueItem, CataloguePage

NODES_MAX: Final = 20_000
"""Items kept of one answer: channels and directory nodes."""
CHANNELS_MAX: Final = 4096
"""Channels of one device."""


class Stage(Enum):
    """Where a query stands."""

    IDLE, WAITING, ASSEMBLING, COMPLETE, PARTIAL, FAILED = range(6)


class Cause(Enum):
    """What moves a query."""

    ASK, PAGE, LAST_PAGE, SILENCE, GIVE_UP, ANSWER_ERROR = range(6)


TRANSITIONS: Final = {
    (Stage.IDLE, Cause.ASK): Stage.WAITING,
    (Stage.WAITING, Cause.ASK): Stage.WAITING,  # again, with a new SN
    (Stage.WAITING, Cause.PAGE): Stage.ASSEMBLING,
    (Stage.WAITING, Cause.LAST_PAGE): Stage.COMPLETE,
    (Stage.WAITING, Cause.GIVE_UP): Stage.FAILED,
    (Stage.WAITING, Cause.ANSWER_ERROR): Stage.FAILED,
    (Stage.ASSEMBLING, Cause.PAGE): Stage.ASSEMBLING,
    (Stage.ASSEMBLING, Cause.LAST_PAGE): Stage.COMPLETE,
    (Stage.ASSEMBLING, Cause.SILENCE): Stage.PARTIAL,
}
ENDED: Final = frozenset({Stage.COMPLETE, Stage.PARTIAL, Stage.FAILED})


@dataclass(frozen=True, slots=True)
class Waits:
    """How long to wait, in seconds (GB/T 28181 gives none): for the first answer, between pages, and how many tries."""

    first: float = 30.0
    gap: float = 5.0
    tries: int = 3


class Assembly:
    """One query and its answers.

    `poll_query` gives the SN of a query to send, or None; feed `handle_page` with the device's answers and call
    `handle_timeout` when `next_timeout` says. Once `stage` is in ENDED, `items` is the result.
    """

    def __init__(self, waits: Waits, first_sn: int) -> None:
        self.stage = Stage.IDLE
        self.items: dict[str, CatalogueItem] = {}
        self.dropped = 0
        """Items that were broken, or beyond the bound."""
        self.sum_num: int | None = None
        """The greatest that the device said."""
        self._waits = waits
        self._next_sn = first_sn
        self._sns: set[int] = set()
        self._unsent: int | None = None
        self._tries = 0
        self._due: float | None = None

    def start(self, now: float) -> None:
        """Asks for the first time."""
        self._ask(now)

    def poll_query(self) -> int | None:
        """The SN of the query to send now, once each."""
        sn, self._unsent = self._unsent, None
        return sn

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`."""
        return self._due

    def handle_timeout(self, now: float) -> None:
        """Lets time pass; called early it does nothing."""
        if self._due is None or now < self._due:
            return
        if self.stage is Stage.ASSEMBLING:
            self._apply(Cause.SILENCE)
        elif self._tries < self._waits.tries:
            self._ask(now)
        else:
            self._apply(Cause.GIVE_UP)

    def handle_page(self, now: float, page: CataloguePage) -> tuple[str, ...]:
        """Takes an answer; gives its deviations. Answers after the end change nothing."""
        if self.stage in ENDED or self.stage is Stage.IDLE:
            return ("catalogue-late",)
        deviations = () if page.sn in self._sns else ("catalogue-sn-wrong",)  # it is this device's only open query
        if page.failed:
            if self.stage is Stage.WAITING:
                self._apply(Cause.ANSWER_ERROR)
            return deviations
        if page.empty:
            return (*deviations, "catalogue-empty-page")
        self._merge(page)
        self._due = now + self._waits.gap
        return (*deviations, *self._advance(page))

    def _ask(self, now: float) -> None:
        self._apply(Cause.ASK)
        self._tries += 1
        self._unsent = self._next_sn
        self._sns.add(self._next_sn)
        self._next_sn += 1
        self._due = now + self._waits.first

    def _merge(self, page: CataloguePage) -> None:
        self.dropped += page.dropped
        for item in page.items:
            if item.code in self.items or len(self.items) < NODES_MAX:
                self.items[item.code] = item
            else:
                self.dropped += 1
        if page.sum_num is not None:
            self.sum_num = max(page.sum_num, self.sum_num or 0)

    def _advance(self, page: CataloguePage) -> tuple[str, ...]:
        """Finishes on the count; a zero finishes only an answer that has brought nothing."""
        complete = self.sum_num is not None and len(self.items) >= self.sum_num and not self.dropped
        self._apply(Cause.LAST_PAGE if complete else Cause.PAGE)
        return ("catalogue-sum-missing",) if page.sum_num is None else ()

    def _apply(self, cause: Cause) -> None:
        try:
            self.stage = TRANSITIONS[self.stage, cause]
        except KeyError:
            raise IllegalTransitionError(self.stage, cause) from None
        if self.stage in ENDED:
            self._due = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a device told, sorted by what it is for."""

    channels: tuple[CatalogueItem, ...]
    """What can be invited."""
    others: tuple[CatalogueItem, ...]
    """Alarm inputs and outputs, audio, other peripherals."""
    nodes: tuple[CatalogueItem, ...]
    """Directory: regions, systems, groups, organisations, and the device itself."""
    deviations: tuple[str, ...] = ()


_NODES: Final = frozenset({Kind.REGION, Kind.SYSTEM, Kind.GROUP, Kind.ORGANISATION, Kind.USER})
_OTHERS: Final = frozenset({Kind.ALARM_INPUT, Kind.ALARM_OUTPUT, Kind.AUDIO, Kind.PERIPHERAL})


def classify(device_id: DeviceId, items: dict[str, CatalogueItem]) -> Catalogue:
    """Tells channels from the rest (GB/T 28181-2016 annex D).

    Video channels are 131 and 132, and whatever a code's type digits leave open; a device that lists itself is a
    channel only if it has no other (an IPC is often its own only channel).
    """
    channels: list[CatalogueItem] = []
    others: list[CatalogueItem] = []
    nodes: list[CatalogueItem] = []
    for item in items.values():
        if item.code == device_id:
            continue
        kind = item.kind
        (nodes if kind in _NODES else others if kind in _OTHERS else channels).append(item)
    deviations: list[str] = []
    if (own := items.get(device_id)) is not None:
        (nodes if channels else channels).append(own)
    if any(item.kind in {Kind.UNKNOWN, Kind.DEVICE} for item in channels):
        deviations.append("channel-type-unusual")
    if len(channels) > CHANNELS_MAX:
        deviations.append("channels-too-many")
        del channels[CHANNELS_MAX:]
    return Catalogue(tuple(channels), tuple(others), tuple(nodes), tuple(deviations))
