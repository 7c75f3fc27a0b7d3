"""How slices are named: files in the spool, and keys where they are kept. Pure.

A key is `path/streamName/year/month/day/hour/startMMSS_endMMSS.flv` in the retention's time zone, numbers of the
directories without leading zeros, as the document's example has them (2018/8/18/18/0100_0200.flv).
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final

from gateway.errors import ConflictError
from gateway.retention.model import Recording, Slice

_CLOSED: Final = re.compile(r"(\d{1,15})-(\d{1,15})\.(flv|mp4)", re.ASCII)
_OPEN: Final = re.compile(r"(\d{1,15})\.(flv|mp4)\.part", re.ASCII)
_NUMBERED: Final = re.compile(r"(\d{4}_\d{4})_(\d{1,4})", re.ASCII)
NUMBER_MAX: Final = 1000
_UNSAFE: Final = re.compile(r"[^\w.-]")
PLAYLIST: Final = ".m3u8"
CONTENT_TYPES: Final = {".flv": "video/x-flv", ".mp4": "video/mp4", PLAYLIST: "application/vnd.apple.mpegurl"}


def read_file_name(name: str) -> tuple[datetime, datetime] | None:
    """When a closed file in the spool begins and ends; None if it is none."""
    found = _CLOSED.fullmatch(name)
    return None if found is None else (from_ms(int(found[1])), from_ms(int(found[2])))


def is_open_file(name: str) -> bool:
    """Whether a file of that name is being written, or was when somebody died."""
    return _OPEN.fullmatch(name) is not None


def from_ms(ms: int) -> datetime:
    """Milliseconds of the UNIX epoch as a time."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def slice_id(recording_id: str, file: str) -> str:
    """The same for the same file, whoever finds it first: the core's event or a look into the spool."""
    return hashlib.sha256(f"{recording_id}/{file}".encode()).hexdigest()[:32]


def directory(recording: Recording, start_at: datetime) -> str:
    """The hour's directory, without a slash at its end."""
    at = start_at.astimezone(recording.zone)
    stream = _UNSAFE.sub("_", recording.name)
    stream = f"_{stream}" if stream.strip(".") == "" else stream
    return f"{recording.path}{stream}/{at.year}/{at.month}/{at.day}/{at.hour}"


def file_name(recording: Recording, start_at: datetime, end_at: datetime, suffix: str) -> str:
    """`startMMSS_endMMSS` and the suffix (`.flv`, `.mp4`)."""
    start, end = (at.astimezone(recording.zone).strftime("%M%S") for at in (start_at, end_at))
    return f"{start}_{end}{suffix}"


def playlist_key(key: str) -> str:
    """Where the playlist of the slice that has `key` lies."""
    return str(PurePosixPath(key).with_suffix(PLAYLIST))


def stored_keys(found: Slice) -> Sequence[str]:
    """Where all that belongs to a slice lies; in the order in which it is deleted: a playlist never lacks its file."""
    return (playlist_key(found.key), found.key) if found.playlist else (found.key,)


def numbered_keys(key: str) -> Iterator[str]:
    """The key, and those that are tried when it is taken: `0100_0200.flv`, `0100_0200_2.flv` … `_1000`; a key that
    has such a number already goes on from there."""
    path = PurePosixPath(key)
    found = _NUMBERED.fullmatch(path.stem)
    stem, first = (found[1], int(found[2])) if found else (path.stem, 1)
    for number in range(first, NUMBER_MAX + 1):
        yield str(path.with_name(f"{stem}_{number}{path.suffix}")) if number > 1 else key


def next_key(key: str) -> str:
    """The one to try after `key`; ConflictError after the last."""
    candidates = numbered_keys(key)
    next(candidates, None)
    found = next(candidates, None)
    if found is None:
        raise ConflictError(f"every name like {key} is taken")
    return found
