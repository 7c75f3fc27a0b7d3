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


class Failover:
    """Follows the inputs of one stream; all times are monotonic seconds.

    `return_after`: the primary must have been connected for so long before the stream returns to it; None: never.
    """

    def __init__(self, inputs: Sequence[Input], *, return_after: float | None) -> None:
        self.inputs = tuple(inputs)
        self.current = 1
        self._return_after = return_after
        self._ready: dict[int, float] = {}
        self._pinned = False

    def take_over(self, before: "Failover") -> list[int]:
        """Goes on from who followed the stream until its inputs were changed: what stands by unchanged stays connected,
        and nobody will tell that again. Returns the numbers of these."""
        unchanged = {entry.number for entry in before.inputs if entry in self.inputs}
        left = [number for number in self.standing if number in unchanged and number in before.standing]
        self._ready.update({number: before._ready[number] for number in left if before.is_ready(number)})
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
        """Whether an input stands by and is connected."""
        return number in self._ready

    def handle_standby(self, now: float, number: int, *, connected: bool) -> None:
        """An input that stands by connected, or failed."""
        if not connected:
            self._ready.pop(number, None)
        elif number in self.standing:
            self._ready.setdefault(number, now)

    def handle_failure(self, reason: str, *, again: bool) -> Switch | None:
        """The current input failed; `again`: its connection could not be made anew either, or it brings nothing.

        One that is ready takes over at once; one that must be connected first only if the current one stays away.
        """
        ready = [number for number in self.standing if number in self._ready]
        if ready:
            return self._switch(ready[0], SwitchCause.FAILED, reason)
        usable = [entry.number for entry in self.inputs if entry.backup is not BackupType.DISABLED]
        if not again or not [number for number in usable if number != self.current]:
            return None
        later = [number for number in usable if number > self.current]
        return self._switch((later or usable)[0], SwitchCause.FAILED, reason)

    def handle_timeout(self, now: float) -> Switch | None:
        """Lets time pass; called early, it does nothing."""
        due = self.next_timeout()
        if due is None or now < due:
            return None
        return self._switch(1, SwitchCause.RETURNED, "the primary input is back")

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`."""
        since = self._ready.get(1)
        if since is None or self._return_after is None or self._pinned or self.current == 1:
            return None
        return since + self._return_after

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
        switch = self._switch(number, SwitchCause.MANUAL, "chosen by hand")
        self._pinned = number != 1
        return switch

    def _switch(self, number: int, cause: SwitchCause, reason: str) -> Switch:
        self.current = number
        self._ready.pop(number, None)
        self._pinned = False
        return Switch(number, cause, reason)
