"""Everything that works on retention while the gateway runs: recorder, uploader, cleaner, the spool between them."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.retention.cleaner import Cleaner
from gateway.retention.depot import Depot
from gateway.retention.model import FormOf, RecordingForm, Slice
from gateway.retention.recorder import LOOK_SECONDS, Missed, Recorder
from gateway.retention.relay import RecordingRelay
from gateway.retention.spool import Salvage, Spool, SpoolLimits
from gateway.retention.uploader import Uploader
from gateway.store import Store

Spawn = Callable[[Coroutine[Any, Any, None], str], None]


class RetentionWorks:
    """Builds the parts and wires them; `start` lets them run."""

    def __init__(
        self,
        store: Store,
        relay: RecordingRelay,
        depot: Depot,
        *,
        spool_root: Path,
        limits: SpoolLimits,
        uploads: int,
        salvage: Salvage,
        clock: Callable[[], datetime],
        look_seconds: float = LOOK_SECONDS,
        missed: Missed | None = None,
        form: FormOf = lambda app, name: RecordingForm.AUTO,
    ) -> None:
        self.depot = depot
        self._clock = clock

        def ready(found: Slice) -> None:
            self.uploader.add(found)

        self.spool = Spool(spool_root, store, salvage, ready)
        self.uploader = Uploader(store, self.spool, depot.at, at_once=uploads)
        self.recorder = Recorder(
            store, relay, self.spool, limits, clock, look_seconds=look_seconds, missed=missed, form=form
        )
        self.cleaner = Cleaner(store, depot.at, clock)

    def start(self, spawn: Spawn) -> None:
        """Begins to record, store and expire."""
        spawn(self.recorder.run(), "record what is retained")
        spawn(self.uploader.run(), "store slices")
        spawn(self.cleaner.run(), "delete what is expired")

    def figures(self) -> Mapping[str, float]:
        """What waits, for the metrics: Prometheus names and values."""
        backlog, recorder = self.uploader.backlog, self.recorder
        oldest = backlog.oldest_at()
        return {
            "gateway_retention_recordings": recorder.running,
            "gateway_retention_pending_slices": len(backlog),
            "gateway_retention_pending_bytes": backlog.size_bytes,
            "gateway_retention_pending_oldest_seconds": (self._clock() - oldest).total_seconds() if oldest else 0.0,
            "gateway_retention_destinations_away": len(backlog.away()),
            "gateway_retention_spool_bytes": recorder.usage.used_bytes,
            "gateway_retention_spool_free_bytes": recorder.usage.free_bytes,
            "gateway_retention_spool_full": float(recorder.full),
        }

    def counts(self) -> Mapping[str, float]:
        """What was done since the start, by name."""
        parts = {
            "recorder": asdict(self.recorder.counters),
            "upload": asdict(self.uploader.counters),
            "expiry": asdict(self.cleaner.counters),
            "spool": {"salvaged": self.spool.salvaged},
        }
        return {f"{part}_{name}": float(value) for part, counted in parts.items() for name, value in counted.items()}
