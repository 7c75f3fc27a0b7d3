"""Inputs of a stream that is pulled: which of several feeds it. Pure: no socket, no clock.

The first input is the stream's own URL, the primary; the others back it up. An ACTIVE one is kept connected, and takes
over at once; a PASSIVE one is connected when it is needed; a DISABLED one is left alone.
"""

import hmac
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.errors import InvalidError

INPUTS_MAX: Final = 8
"""With the primary."""
ROUND_SECONDS: Final = 1.0
"""All inputs were tried in a row: the wait before they are again. It doubles with each round."""
ROUND_SECONDS_MAX: Final = 60.0
SOUND_SECONDS: Final = 10.0
"""An input that flowed for so long is sound: what fails afterwards is another outage."""


class BackupType(StrEnum):
    """How an input stands by."""

    ACTIVE = "active"
    PASSIVE = "passive"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Input:
    """One input; its number is its place in the order, from 1."""

    number: int
    url: str
    backup: BackupType


def identities(inputs: Iterable[Input], key: bytes) -> list[str]:
    """What each is called in whatever place: 16 hexadecimal digits from its URL and `key`, so that nobody learns from
    them what the URL hides; of those with the same URL, also from which of them it is."""
    seen: Counter[str] = Counter()
    found = []
    for one in inputs:
        text = f"{seen[one.url]} {one.url}"
        found.append(hmac.new(key, text.encode(errors="surrogatepass"), "sha256").hexdigest()[:16])
        seen[one.url] += 1
    return found


def numbered(backups: Iterable[tuple[str, BackupType]]) -> list[Input]:
    """Those that back up a stream's own URL, in their order, from number 2. InvalidError if there are too many."""
    inputs = [Input(number, url, backup) for number, (url, backup) in enumerate(backups, 2)]
    if len(inputs) >= INPUTS_MAX:
        raise InvalidError(
            "inputs", f"at most {INPUTS_MAX - 1} beside the stream's own", code="inputs.most", most=INPUTS_MAX - 1
        )
    return inputs


class SwitchCause(StrEnum):
    """Why another input took over."""

    FAILED = "FAILED"
    """The one before cannot be had."""
    RETURNED = "RETURNED"
    """The primary has been back for long enough."""
    MANUAL = "MANUAL"
    """Somebody chose it."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Another input takes over."""

    number: int
    cause: SwitchCause
    reason: str
    code: str = ""
    """The word for the reason that does not change."""


class Failover:
    """Follows the inputs of one stream; all times are monotonic seconds.

    `return_after`: the primary must have been ready for so long before the stream returns to it; None: never.

    In an outage each input gets one turn, those that are ready before the others, in their order from the current one
    on. Once all had theirs the current one is kept for a while, which doubles from round to round, unless one is ready
    for `ROUND_SECONDS`. Until one has flowed for `SOUND_SECONDS` it is the same outage: an input that sends what its
    server had kept, and then no more, is not taken for sound.
    """

    def __init__(self, inputs: Sequence[Input], *, return_after: float | None) -> None:
        self.inputs = tuple(inputs)
        self.current = 1
        self._return_after = return_after
        self._ready: dict[int, float] = {}
        self._pinned = False
        self._flows_since: float | None = None
        self._failed: set[int] = set()
        """Those that had their turn in this round."""
        self._rounds = 0
        self._again_at: float | None = None
        """When the next round begins."""
        self._reason = "", ""
        """Why it will: a sentence, and the word for it."""

    def take_over(self, before: "Failover") -> list[int]:
        """Goes on from who followed the stream until its inputs were changed: what stands by unchanged stays connected,
        and nobody will tell that again. Returns the numbers of these."""
        unchanged = {entry.number for entry in before.inputs if entry in self.inputs}
        left = [number for number in self.standing if number in unchanged and number in before.standing]
        self._ready.update({number: before._ready[number] for number in left if before.is_ready(number)})
        self._flows_since = before._flows_since
        return left

    @property
    def standing(self) -> list[int]:
        """The inputs to keep connected beside the current one; the primary is among them to be seen coming back."""
        return [
            entry.number
            for entry in self.inputs
            if entry.number != self.current
            and (
                entry.backup is BackupType.ACTIVE
                or (entry.number == 1 and self._return_after is not None and not self._pinned)
            )
            and entry.backup is not BackupType.DISABLED
        ]

    def is_ready(self, number: int) -> bool:
        """Whether an input stands by, is connected and has brought something."""
        return number in self._ready

    def handle_standby(self, now: float, number: int, *, ready: bool) -> None:
        """An input that stands by has brought something, or failed."""
        if not ready:
            self._ready.pop(number, None)
        elif number in self.standing:
            self._ready.setdefault(number, now)

    def handle_flow(self, now: float) -> None:
        """Something came from the current input."""
        if self._flows_since is None:
            self._flows_since = now
        self._again_at = None

    def handle_failure(
        self, now: float, reason: str, *, again: bool, quiet: float = 0.0, code: str = ""
    ) -> Switch | None:
        """The current input failed; `code` is the word for the `reason`. `again`: its connection could not be made anew
        either, or it brings nothing, and that for `quiet` seconds.

        One that is ready takes over at once; one that must be connected first only if the current one stays away.
        """
        self._settle(now - quiet)
        self._flows_since = None
        if self._again_at is not None:
            return None
        left = [number for number in self._order() if number not in self._failed]
        # Once all had their turn, one that is back already begins the next round.
        if not self._ready.keys() & (left or self._order()) and not again:
            return None
        self._failed.add(self.current)
        if left:
            return self._switch(self._first(left), SwitchCause.FAILED, reason, code)
        if self._order():
            self._reason = reason, code
            self._again_at = now + min(ROUND_SECONDS * 2**self._rounds, ROUND_SECONDS_MAX)
            self._rounds = min(self._rounds + 1, 10)  # the wait does not grow any more
        return None

    def handle_timeout(self, now: float) -> Switch | None:
        """Lets time pass; called early, it does nothing."""
        due = self.next_timeout()
        if due is None or now < due:
            return None
        again = self._tries_again_at()
        if again is not None and now >= again:
            self._failed = {self.current}
            return self._switch(self._first(self._order()), SwitchCause.FAILED, *self._reason)
        self._settle(now)
        return self._switch(1, SwitchCause.RETURNED, "the primary input is back", "primary_back")

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`."""
        times = [self._tries_again_at(), self._returns_at()]
        return min((at for at in times if at is not None), default=None)

    def choose(self, number: int) -> Switch | None:
        """Somebody wants this input: the stream stays with it for as long as it can be had.

        ValueError if it is unknown or disabled; None if it is the current one.
        """
        known = {entry.number: entry for entry in self.inputs}
        if number not in known or known[number].backup is BackupType.DISABLED:
            raise ValueError(number)
        self._pinned = number != 1
        if number == self.current:
            return None
        self._failed.clear()
        self._rounds = 0
        switch = self._switch(number, SwitchCause.MANUAL, "chosen by hand", "chosen")
        self._pinned = number != 1
        return switch

    def _settle(self, until: float) -> None:
        """Something came from the current input `until` then: whether the outage before it is over."""
        if self._flows_since is not None and until - self._flows_since >= SOUND_SECONDS:
            self._failed.clear()
            self._rounds = 0

    def _tries_again_at(self) -> float | None:
        if self._again_at is None:
            return None
        return min([self._again_at, *(since + ROUND_SECONDS for since in self._ready.values())])

    def _returns_at(self) -> float | None:
        since = self._ready.get(1)
        if since is None or self._return_after is None or self._pinned or self.current == 1:
            return None
        return since + self._return_after

    def _order(self) -> list[int]:
        """The others that may be used, from the one behind the current one on, round and round."""
        usable = [entry.number for entry in self.inputs if entry.backup is not BackupType.DISABLED]
        later = [number for number in usable if number > self.current]
        return later + [number for number in usable if number < self.current]

    def _first(self, numbers: Sequence[int]) -> int:
        """Whose turn it is; there is one at least."""
        return next((number for number in numbers if number in self._ready), numbers[0])

    def _switch(self, number: int, cause: SwitchCause, reason: str, code: str) -> Switch:
        self.current = number
        self._ready.pop(number, None)
        self._pinned = False
        self._flows_since = None
        self._again_at = None
        return Switch(number, cause, reason, code)
