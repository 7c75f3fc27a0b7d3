"""All that the relay tells and asks about streams, in one place: sources, pushes, viewers, history."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from gateway.accounts.proofs import Attempts, KeyProofs
from gateway.media_event import MediaEvent
from gateway.metrics import Gathered
from gateway.store import Store
from gateway.streams.history import StreamHistory
from gateway.streams.programs import Programs
from gateway.streams.publishing import Publishing, PublishRelay
from gateway.streams.push import TokenPolicy
from gateway.streams.questions import Questions
from gateway.streams.sources import SourceRelay, StreamSources
from gateway.streams.viewing import PlayRelay, Verifier, Viewing


class TrafficRelay(SourceRelay, PublishRelay, PlayRelay, Protocol):
    """As much of the relay as is needed here (`media.relay.Relay`)."""


class StreamTraffic:
    """`handle_media` takes the relay's events and never waits; `run` is its one task. An async context manager; left,
    it drops what is not answered and writes what is not written."""

    def __init__(
        self,
        *,
        store: Store,
        relay: TrafficRelay,
        accounts: Verifier,
        tokens: TokenPolicy,
        clock: Callable[[], datetime],
        allow_private: bool,
        programs: Programs | None = None,
        return_after: float | None = 30.0,
    ) -> None:
        """`allow_private`: streams may be pulled from addresses of private networks; `programs`: what is left to a
        program of its own; `return_after`: see `PullInputs`."""
        self._questions = Questions()
        attempts = Attempts(lambda: asyncio.get_running_loop().time())
        self.history = StreamHistory(store)
        self.sources = StreamSources(
            store,
            relay,
            self.history,
            clock,
            allow_private=allow_private,
            programs=programs,
            return_after=return_after,
        )
        self.publishing = Publishing(
            store=store,
            relay=relay,
            sources=self.sources,
            policy=tokens,
            clock=clock,
            questions=self._questions,
            attempts=attempts,
        )
        self.viewing = Viewing(
            streams=store.streams,
            accounts=accounts,
            proofs=KeyProofs(store, attempts),
            relay=relay,
            clock=clock,
            questions=self._questions,
        )

    def handle_media(self, event: MediaEvent) -> None:
        """An event of the relay."""
        match event.kind:
            case "publish":
                self.publishing.handle_media(event)
            case "play":
                self.viewing.handle_media(event)
            case _:
                self.sources.handle_media(event)

    def collectors(self) -> tuple[Gathered, ...]:
        """What is told at /metrics."""
        pushes, viewers = self.publishing.counts, self.viewing.counts
        return (
            Gathered("gateway_sources", "Pushed and pulled streams by source", "state", lambda: self.sources.counts),
            Gathered(
                "gateway_input_switches",
                "Inputs that took over, by cause",
                "cause",
                lambda: self.sources.inputs.switches,
                counter=True,
            ),
            Gathered("gateway_pushes", "What came of RTMP pushes", "outcome", lambda: pushes, counter=True),
            Gathered(
                "gateway_viewers_with_token",
                "Viewers who showed a token or proved to have a key",
                "outcome",
                lambda: viewers,
                counter=True,
            ),
            Gathered(
                "gateway_stream_history", "Events of these streams", "name", lambda: asdict(self.history.counters)
            ),
        )

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.history.run(), name="history of streams")
            tasks.create_task(self.sources.run(), name="sources of streams")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._questions.close()
        await self.history.flush()
