"""Lets one input of a pulled stream take over from another: the shell around `inputs.Failover`.

It hears what the relay tells of a stream, and tells the relay which input feeds it and which are kept connected. Each
switch is written into the stream's history, with its reason and time.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Final, Protocol

import structlog

from gateway.errors import InvalidError
from gateway.media_event import MediaEvent
from gateway.streams.carriage import Transport, transport_of
from gateway.streams.history import StreamHistory
from gateway.streams.inputs import BackupType, Failover, Input, Switch, SwitchCause
from gateway.streams.model import StreamEvent, StreamRecord
from gateway.streams.programs import Programs
from media._core import CoreError

log = structlog.get_logger(__name__)

FIRST_LABEL: Final = "1"
"""What the relay is to call the input that a pull begins with."""
SWITCHED_ITSELF: Final = "switched"
"""Cause of a disconnection that is our own doing."""


class InputRelay(Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""

    def switch_pull(self, receiver: int, url: str, *, transport: Transport, command: Sequence[str], label: str) -> None:
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
    """It stands by, is connected and has brought something."""
    identity: str = ""
    """What it is called in whatever place."""


@dataclass(slots=True)
class _Stream:
    record: StreamRecord
    receiver: int
    failover: Failover
    feeding: str = FIRST_LABEL
    """The label of the input that feeds the stream."""
    told: str = FIRST_LABEL
    """The label of the input that fed the stream when the relay told its last event."""
    heard: str = FIRST_LABEL
    """The label of the input whose silence counts: the first, then the one that connected last."""
    standing: dict[int, str] = field(default_factory=dict)
    """The labels of those that stand by, by number."""
    timer: asyncio.TimerHandle | None = None

    def standing_as(self, label: str) -> int | None:
        """The number of the input that stands by under this label."""
        return next((number for number, known in self.standing.items() if known == label), None)


class PullInputs:
    """The inputs of all streams that are pulled now.

    Whenever the relay is told to begin with an input, it gets a label that no other ever had: what the relay tells late
    of one that is gone, or that stood in another place, says nothing of those that are there.
    """

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
        self._labels = count(int(FIRST_LABEL) + 1)
        self.switches: dict[str, int] = dict.fromkeys(SwitchCause, 0)
        """How many there were, by cause."""

    def begin(self, stream: StreamRecord, receiver: int, backups: Sequence[Input]) -> None:
        """A stream is pulled by its first input; `backups` are the others, in the place of those it had before."""
        before = self._streams.get(receiver)
        self.forget(receiver)
        inputs = [Input(1, stream.url or "", BackupType.PASSIVE), *backups]
        failover = Failover(inputs, return_after=self._return_after)
        entry = _Stream(stream, receiver, failover)
        self._streams[receiver] = entry
        if before is not None:
            entry.feeding, entry.told, entry.heard = before.feeding, before.told, before.heard
            entry.standing = {number: before.standing[number] for number in failover.take_over(before.failover)}
        if failover.standing or (before is not None and before.standing):
            self._stand_by(entry)

    def forget(self, receiver: int) -> None:
        """It is pulled no more."""
        entry = self._streams.pop(receiver, None)
        if entry is not None and entry.timer is not None:
            entry.timer.cancel()

    def look(self, receiver: int) -> list[InputView]:
        """The inputs of a stream in their order; empty if it has but one."""
        entry = self._streams.get(receiver)
        if entry is None or len(entry.failover.inputs) == 1:
            return []
        failover = entry.failover
        return [
            InputView(one, active=one.number == failover.current, ready=failover.is_ready(one.number))
            for one in failover.inputs
        ]

    def choose(self, receiver: int, number: int) -> None:
        """Somebody wants this input. InvalidError if there is none of this number, or it is disabled."""
        entry = self._streams.get(receiver)
        if entry is None or len(entry.failover.inputs) == 1:
            if number == 1:
                return
            raise InvalidError("number", "the stream has but one input", code="inputs.single")
        try:
            switch = entry.failover.choose(number)
        except ValueError as error:
            raise InvalidError("number", "no input that can be used", code="inputs.unusable") from error
        self._follow(entry, switch)

    def handle_media(self, event: MediaEvent) -> None:
        """An event of the relay; those of other streams are passed over."""
        entry = self._streams.get(event.receiver)
        if entry is None:
            return
        detail, failover = event.detail, entry.failover
        now, reason, code = asyncio.get_running_loop().time(), detail.get("reason", ""), detail.get("cause", "")
        switch: Switch | None = None
        label = detail.get("input", entry.feeding)
        match event.kind:
            case "disconnected" | "connect_failed" if label != entry.feeding:
                return
            case "disconnected" if detail.get("cause") != SWITCHED_ITSELF:
                # One that connects, brings nothing and breaks off will do so the next time.
                switch = failover.handle_failure(now, reason, again=detail.get("brought") == "0", code=code)
            case "connect_failed":
                switch = failover.handle_failure(now, reason, again=True, code=code)
            case "switched":
                entry.told = label
            case "connected":
                entry.heard = entry.told
            case "first_packet" | "resumed" if entry.heard == entry.feeding:
                failover.handle_flow(now)
            case "silent" if entry.heard == entry.feeding:  # else this one still connects, or fails, which is told
                quiet = int(detail.get("ms", 0)) / 1000
                switch = failover.handle_failure(now, "nothing comes", again=True, quiet=quiet, code="silent")
            case "standby_connected" | "standby_failed":
                number = entry.standing_as(label)
                if number is None:
                    return
                failover.handle_standby(now, number, ready=event.kind == "standby_connected")
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
        label = entry.standing.get(switch.number) or self._label()
        try:
            self._relay.switch_pull(
                entry.receiver,
                chosen.url,
                transport=transport_of(chosen.url),
                command=self._programs.command(chosen.url),
                label=label,
            )
        except CoreError as error:
            log.warning("an input cannot be used", stream=stream.name, input=switch.number, error=str(error))
            return
        entry.feeding = label
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
                reason_code=switch.code,
            )
        )
        self._stand_by(entry)

    def _stand_by(self, entry: _Stream) -> None:
        """Those that are to stand by are kept connected, and no others."""
        before = entry.standing
        entry.standing = {number: before.get(number) or self._label() for number in entry.failover.standing}
        inputs = [(label, entry.failover.inputs[number - 1].url) for number, label in entry.standing.items()]
        wanted = [(label, url, (), transport_of(url), self._programs.command(url)) for label, url in inputs]
        with suppress(CoreError):  # it has ended, which is told soon
            self._relay.standby_pull(entry.receiver, wanted)

    def _label(self) -> str:
        return str(next(self._labels))
