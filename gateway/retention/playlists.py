"""Recordings as HLS (RFC 8216 §4.3): which segments a file has, and the playlist that is stored beside it. Pure.

A file of fragmented MP4 needs no segments of its own: they are byte ranges of it, so that one file and one short text
are all that a player wants, from any server that knows ranges.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

TARGET_MS: Final = 4000
"""Segments end at the first key frame after so long."""


@dataclass(frozen=True, slots=True)
class Part:
    """A segment of a slice, in milliseconds and bytes since its beginning."""

    from_ms: int
    to_ms: int
    from_byte: int
    to_byte: int

    @property
    def seconds(self) -> float:
        return (self.to_ms - self.from_ms) / 1000


def parts(entries: Sequence[tuple[int, int]], duration_ms: int, size_bytes: int) -> list[Part]:
    """Every key frame of the index is in one part, which begins at a key frame.

    `entries`: milliseconds and bytes of key frames since the file's beginning, in order.
    """
    starts: list[tuple[int, int]] = []
    for at, offset in entries:
        if not starts or at - starts[-1][0] >= TARGET_MS:
            starts.append((at, offset))
    if not starts:
        return []
    end = max(duration_ms, starts[-1][0] + 1)
    ends = [*starts[1:], (end, size_bytes)]
    return [
        Part(from_ms, to_ms, from_byte, to_byte)
        for (from_ms, from_byte), (to_ms, to_byte) in zip(starts, ends, strict=True)
    ]


def ranges(uri: str, found: Iterable[Part]) -> list[str]:
    """The lines of segments that are byte ranges of one file."""
    lines: list[str] = []
    for part in found:
        size_bytes = part.to_byte - part.from_byte
        lines += [f"#EXTINF:{part.seconds:.3f},", f"#EXT-X-BYTERANGE:{size_bytes}@{part.from_byte}", uri]
    return lines


def complete(lines: Sequence[str], longest_seconds: float) -> str:
    """A playlist of what is over: what stands above all segments, theirs, and the end."""
    head = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{math.ceil(longest_seconds)}",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    return "\n".join([*head, *lines, "#EXT-X-ENDLIST", ""])


def beside(
    file: str,
    began_at: datetime,
    *,
    head_bytes: int,
    duration_ms: int,
    size_bytes: int,
    entries: Sequence[tuple[int, int]],
) -> str:
    """What is stored beside a file of fragmented MP4, which it calls by its name alone: both lie in one directory.

    Of the same file it is always the same text. `head_bytes`: what a player needs first (`ftyp`, `moov`).
    """
    found = parts(entries, duration_ms, size_bytes)
    began = began_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    lines = [
        f'#EXT-X-MAP:URI="{file}",BYTERANGE="{head_bytes}@0"',
        f"#EXT-X-PROGRAM-DATE-TIME:{began}",
        *ranges(file, found),
    ]
    return complete(lines, max((part.seconds for part in found), default=1.0))
