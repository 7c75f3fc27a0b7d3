"""Values that the tests of streams begin with."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gateway.credentials.model import PushKey
from gateway.streams.model import AccessType, ShareType, StreamRecord, StreamState

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
PROJECT = "a" * 32
KEY = PushKey(
    access_key="AYCQWFZXYVTMXIPKIZPS2MAPAAAAAAAA",
    project_id=PROJECT,
    name="key",
    secret_key="TT2S2HXRQVS6ADCW7J",
    description="",
    created_at=NOW,
    updated_at=NOW,
)
_STREAM = StreamRecord(
    stream_id="stream-12345678",
    project_id=PROJECT,
    app="default",
    name="stream1",
    access_type=AccessType.RTMP,
    share_type=ShareType.PRIVATE,
    state=StreamState.ACTIVE,
    description="",
    encode_type="H264",
    url=None,
    access_key=None,
    tags=(),
    generation=0,
    device_id=None,
    channel_id=None,
    tcp_priority=False,
    created_at=NOW,
    updated_at=NOW,
)


def stream(**changes: Any) -> StreamRecord:
    """An active RTMP stream without a key, but for what is given."""
    return replace(_STREAM, **changes)
