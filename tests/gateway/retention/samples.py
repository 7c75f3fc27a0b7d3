"""Values that the tests of retention begin with."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.retention.model import Recording, Slice, StoreType
from gateway.retention.names import directory, file_name, slice_id

NOW = datetime(2018, 8, 18, 10, 1, tzinfo=UTC)
PROJECT = "a" * 32


def recording(**changes: Any) -> Recording:
    """Of stream `streamName` in zone GMT+8."""
    found = Recording(
        recording_id="1" * 32,
        stream_id="stream-00000001",
        project_id=PROJECT,
        app="default",
        name="streamName",
        store_type=StoreType.OBS,
        bucket="obs-momo",
        path="path/to/video/",
        slice_minutes=1,
        zone_hours=8,
        started_at=NOW,
    )
    return replace(found, **changes)


def a_slice(of: Recording | None = None, start_at: datetime = NOW, seconds: float = 60, **changes: Any) -> Slice:
    """A slice of a recording, named as the spool would name it."""
    of = of or recording()
    end_at = start_at + timedelta(seconds=seconds)
    file = f"{round(start_at.timestamp() * 1000)}-{round(end_at.timestamp() * 1000)}.flv"
    found = Slice(
        slice_id=slice_id(of.recording_id, file),
        recording_id=of.recording_id,
        stream_id=of.stream_id,
        destination=of.destination,
        file=file,
        directory=directory(of, start_at),
        key=f"{directory(of, start_at)}/{file_name(of, start_at, end_at, '.flv')}",
        start_at=start_at,
        end_at=end_at,
        size_bytes=1000,
        frames=1500,
        lost=0,
        video="H264",
        reason="cut",
    )
    return replace(found, **changes)
