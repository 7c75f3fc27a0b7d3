"""Lets one input of a pulled stream take over from another: the shell around `inputs.Failover`.

It hears what the relay tells of a stream, and tells the relay which input feeds it and which are kept connected. Each
switch is written into the stream's history, with its reason and time.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import structlog

from gateway.errors import InvalidError
from gateway.media_event import MediaEvent
from gateway.streams.history import StreamHistory
from gateway.streams.inputs import BackupType, Failover, Input, Switch, SwitchCause
from gateway.streams.model import StreamEvent, StreamRecord
from gateway.streams.programs import Programs
from media._core import CoreError

log = structlog.get_logger(__name__)

SWITCHED_ITSELF: Final = "switched"
"""Cause of a disconnection that is our own doing."""


class InputRelay(Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def switch_pull(self, receiver: int, url: str, *, command: Sequence[str], label: str) -> None:
        """Another input feeds the stream from now on."""

    def standby_pull(
        self, receiver: int, inputs: Sequence[tuple[str, str, Sequence[tuple[str, str]], str, Sequence[str]]]
    ) -> None:
        """These are kept connected."""


@dataclass(frozen=True, slots=True)
class InputView:
    """An input, and where it stands now."""

    input: Input
    active: bool
    """It feeds the stream."""
    ready: bool
    """It stands by and is connected."""


@dataclass(slots=True)
class _Stream:
    record: StreamRecord
    receiver: int
    failover: Failover
    timer: asyncio.TimerHandle | None = None


class PullInputs:
    """The inputs of all streams that are pulled now and have more than one."""

    def __init__(
        self,
        relay: InputRelay,
        history: StreamHistory,
        clock: Callable[[], datetime],
        *,
        programs: Programs | None = None,
        return_after: float | None = 30.0,
    ) -> None:
        """`return_after`: seconds that a primary must have been back before it feeds the stream again; None: never."""
        self._relay = relay
        self._history = history
        self._clock = clock
        self._programs = programs or Programs()
        self._return_after = return_after
        self._streams: dict[int, _Stream] = {}
        self.switches: dict[str, int] = dict.fromkeys(SwitchCause, 0)
        """How many there were, by cause."""

    def begin(self, stream: StreamRecord, receiver: int, backups: Sequence[Input]) -> None:
        """A stream is pulled by its first input; `backups` are the others, in the place of those it had before."""
        before = self._streams.get(receiver)
        self.forget(receiver)
        if not backups:
            if before is not None:
                self._keep_connected(receiver, [])
            return
        inputs = [Input(1, stream.url or "", BackupType.PASSIVE), *backups]
        failover = Failover(inputs, return_after=self._return_after)
        if before is not None:
            failover.take_over(before.failover)
        entry = _Stream(stream, receiver, failover)
        self._streams[receiver] = entry
        self._stand_by(entry)

    def forget(self, receiver: int) -> None:
        """It is pulled no more."""
        entry = self._streams.pop(receiver, None)
        if entry is not None and entry.timer is not None:
            entry.timer.cancel()

    def look(self, receiver: int) -> list[InputView]:
        """The inputs of a stream in their order; empty if it has but one."""
        entry = self._streams.get(receiver)
        if entry is None:
            return []
        failover = entry.failover
        return [
            InputView(one, active=one.number == failover.current, ready=failover.is_ready(one.number))
            for one in failover.inputs
        ]

    def choose(self, receiver: int, number: int) -> None:
        """Somebody wants this input. InvalidError if there is none of this number, or it is disabled."""
        entry = self._streams.get(receiver)
        if entry is None:
            if number == 1:
                return
            raise InvalidError("number", "the stream has but one input")
        try:
            switch = entry.failover.choose(number)
        except ValueError as error:
            raise InvalidError("number", "no input that can be used") from error
        self._follow(entry, switch)

    def handle_media(self, event: MediaEvent) -> None:
        """An event of the relay; those of other streams are passed over."""
        entry = self._streams.get(event.receiver)
        if entry is None:
            return
        detail, failover = event.detail, entry.failover
        reason = detail.get("reason", "")
        switch: Switch | None = None
        match event.kind:
            case "disconnected" if detail.get("cause") != SWITCHED_ITSELF:
                switch = failover.handle_failure(reason, again=False)
            case "connect_failed":
                switch = failover.handle_failure(reason, again=True)
            case "silent":
                switch = failover.handle_failure("nothing comes", again=True)
            case "standby_connected" | "standby_failed":
                connected = event.kind == "standby_connected"
                number = int(detail.get("input") or 0)
                failover.handle_standby(asyncio.get_running_loop().time(), number, connected=connected)
            case _:
                return
        self._follow(entry, switch)

    def _follow(self, entry: _Stream, switch: Switch | None) -> None:
        """Tells the relay what was decided, and arms the timer."""
        if switch is not None:
            self._switch(entry, switch)
        due = entry.failover.next_timeout()
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        if due is not None:
            entry.timer = asyncio.get_running_loop().call_at(due, self._fire, entry)

    def _fire(self, entry: _Stream) -> None:
        entry.timer = None
        self._follow(entry, entry.failover.handle_timeout(asyncio.get_running_loop().time()))

    def _switch(self, entry: _Stream, switch: Switch) -> None:
        stream = entry.record
        chosen = entry.failover.inputs[switch.number - 1]
        try:
            self._relay.switch_pull(
                entry.receiver, chosen.url, command=self._programs.command(chosen.url), label=str(switch.number)
            )
        except CoreError as error:
            log.warning("an input cannot be used", stream=stream.name, input=switch.number, error=str(error))
            return
        self.switches[switch.cause] += 1
        log.info(
            "another input takes over",
            stream=stream.name,
            input=switch.number,
            cause=switch.cause,
            reason=switch.reason,
        )
        self._history.put(
            StreamEvent(
                at=self._clock(),
                project_id=stream.project_id,
                stream_name=stream.name,
                before="",
                after=f"INPUT {switch.number}",
                cause=f"SWITCH_{switch.cause.value}",
                detail=switch.reason,
            )
        )
        self._stand_by(entry)

    def _stand_by(self, entry: _Stream) -> None:
        standing = set(entry.failover.standing)
        self._keep_connected(entry.receiver, [one for one in entry.failover.inputs if one.number in standing])

    def _keep_connected(self, receiver: int, inputs: Sequence[Input]) -> None:
        """These and no others."""
        wanted = [(str(one.number), one.url, (), "tcp", self._programs.command(one.url)) for one in inputs]
        with suppress(CoreError):  # it has ended, which is told soon
            self._relay.standby_pull(receiver, wanted)
