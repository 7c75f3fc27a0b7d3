"""HLS over recordings (RFC 8216): a playlist of the slices of an interval, for players that seek by themselves. Pure.

A slice that is fragmented MP4 is listed as byte ranges of itself; one that is FLV as segments that the relay makes when
they are asked for. Each slice has times of its own, so a discontinuity stands before it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.retention.playlists import complete, parts, ranges

SOUND_BEHIND_MS: Final = 1000
"""Sound may stand so far behind the picture that it belongs to (the relay's `segment`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A slice as far as a playlist asks."""

    slice_id: str
    form: str
    """flv or mp4."""
    start_ms: int
    """Milliseconds of the UNIX epoch."""
    duration_ms: int
    head_bytes: int
    size_bytes: int
    entries: Sequence[tuple[int, int]]
    """Key frames: milliseconds and bytes since the file's beginning."""


def span(entries: Sequence[tuple[int, int]], from_ms: int, to_ms: int) -> tuple[int, int | None]:
    """The bytes of a file that a part of it is made of: from a key frame until one behind its end and behind the sound
    that belongs to it. None is the end of the file."""
    first = max((offset for at, offset in entries if at <= from_ms + 1), default=0)
    behind = min((offset for at, offset in entries if at >= to_ms + SOUND_BEHIND_MS), default=None)
    return first, behind


def playlist(slices: Iterable[Listed], begin_ms: int, end_ms: int, query: str) -> str:
    """What is between two moments, to the key frames before and behind; `query` is repeated in each address."""
    lines: list[str] = []
    target = 1.0
    for one in slices:
        wanted = [
            part
            for part in parts(one.entries, one.duration_ms, one.size_bytes)
            if one.start_ms + part.from_ms < end_ms and one.start_ms + part.to_ms > begin_ms
        ]
        if not wanted:
            continue
        if lines:
            lines.append("#EXT-X-DISCONTINUITY")
        target = max(target, *(part.seconds for part in wanted))
        if one.form == "mp4":
            uri = f"{one.slice_id}.mp4?{query}"
            lines += [f'#EXT-X-MAP:URI="{uri}",BYTERANGE="{one.head_bytes}@0"', *ranges(uri, wanted)]
            continue
        lines.append(f'#EXT-X-MAP:URI="{one.slice_id}/init.mp4?{query}"')
        for part in wanted:
            # The last one takes what comes behind the last picture's time, too.
            lines += [f"#EXTINF:{part.seconds:.3f},", f"{one.slice_id}/{part.from_ms}-{part.to_ms}.m4s?{query}"]
    return complete(lines, target)
