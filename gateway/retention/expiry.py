"""Which hour directories are deleted (§4.2.4). Pure.

Videos are checked every hour. A directory is deleted with all that is in it once all its videos are older than the
retention; while one of them is not, all stay. A slice that still waits to be stored counts as not expired: what was
recorded reaches its place before it goes.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from gateway.retention.model import HourDirectory


def expired(directories: Iterable[HourDirectory], keep: timedelta | None, now: datetime) -> list[HourDirectory]:
    """Those that go now; `keep` None keeps everything."""
    if keep is None:
        return []
    return [found for found in directories if found.unstored == 0 and found.newest_end_at + keep <= now]
