"""Builds what keeps recordings and what gives them out again (`gateway.app` wires it)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from gateway.access.runner import AccessRunner
from gateway.clock import utc_now
from gateway.playback.library import Library
from gateway.playback.recordings import Recordings
from gateway.playback.service import Playbacks
from gateway.record_plans.history import missed
from gateway.record_plans.keeper import PlanKeeper
from gateway.retention.buckets import ObjectStorage
from gateway.retention.depot import Depot
from gateway.retention.model import FormOf
from gateway.retention.spool import SpoolLimits
from gateway.retention.works import RetentionWorks
from gateway.settings import Settings
from gateway.store import Store
from media._core import salvage
from media.relay import Relay


def build_retention_works(settings: Settings, store: Store, relay: Relay, form: FormOf) -> RetentionWorks:
    """The spool, the stores of objects and of the own disk, and what moves recordings between them; not started.

    `form`: what a stream is recorded as.
    """
    retention = settings.retention
    return RetentionWorks(
        store,
        relay,
        Depot(_object_storage(settings), settings.recordings_dir.absolute()),
        spool_root=settings.spool_dir.absolute(),
        limits=SpoolLimits(retention.spool_bytes_max, retention.disk_free_min),
        uploads=retention.uploads,
        salvage=salvage,
        clock=utc_now,
        missed=partial(missed, store),
        form=form,
    )


def build_plan_keeper(
    store: Store, works: RetentionWorks, runner: AccessRunner, calendar: Callable[[], datetime]
) -> PlanKeeper:
    """Tells the recorder and the access runner what record plans want."""
    return PlanKeeper(store, calendar, works.recorder, runner.want)


def build_playbacks(settings: Settings, store: Store, relay: Relay, works: RetentionWorks) -> Playbacks:
    """Files of buckets are fetched into a directory beside the spool."""
    life = timedelta(seconds=settings.media.address_life)
    cache: Path = settings.spool_dir.absolute().with_name("fetched-recordings")
    recordings = Recordings(store, relay, Library(works.depot.at, works.spool.file, cache), utc_now, address_life=life)
    return Playbacks(store, relay, recordings, utc_now, address_life=life)


def _object_storage(settings: Settings) -> ObjectStorage | None:
    obs = settings.retention.obs
    if not obs.endpoint or obs.secret_access_key is None:
        return None
    return ObjectStorage(
        endpoint=obs.endpoint,
        region=obs.region,
        access_key_id=obs.access_key_id,
        secret_access_key=obs.secret_access_key.get_secret_value(),
        virtual_host=obs.virtual_host,
        timeout_seconds=obs.timeout,
    )
