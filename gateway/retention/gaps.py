"""When a stream should have been recorded and was not, and why. Pure.

A stream is expected while it and its retention are ACTIVE, and while its record plan wants it. What its slices cover is
recorded, but for the time in which nothing came (a camera that fell silent in the middle of a slice). What is left of
the expected time is a gap; its cause is read off the history of recording.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from gateway.retention.model import Mark, MarkKind, Slice

TOLERANCE: Final = timedelta(seconds=2)
"""Shorter gaps are the time between two pictures, or the wait for a key frame."""
Interval = tuple[datetime, datetime]


class Cause(StrEnum):
    """Why nothing was recorded, the first that holds."""

    GATEWAY_DOWN = "GATEWAY_DOWN"
    SPOOL_FULL = "SPOOL_FULL"
    STREAM_ABSENT = "STREAM_ABSENT"
    """It did not flow: the camera was not reached, or nobody pushed."""
    STREAM_SILENT = "STREAM_SILENT"
    """It was there, and sent nothing."""
    RECORDING_FAILED = "RECORDING_FAILED"
    LOST_FRAMES = "LOST_FRAMES"
    """A slice is there, and some of its frames are not: the disk was too slow."""
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Gap:
    begin: datetime
    end: datetime
    cause: Cause
    detail: str = ""
    frames: int = 0
    """Of LOST_FRAMES: how many."""


@dataclass(slots=True)
class _State:
    """What held at one moment, as the marks so far tell."""

    expected: bool = False
    down: bool = False
    full: bool = False
    absent: bool = True
    silent: bool = False
    failed: bool = False
    detail: str = ""

    def handle(self, mark: Mark) -> None:
        match mark.kind:
            case MarkKind.EXPECTED | MarkKind.UNEXPECTED:
                self.expected = mark.kind is MarkKind.EXPECTED
            case MarkKind.DOWN:
                self.down = True
            case MarkKind.UP:  # a new process: what is so now, it tells itself
                self.__init__()  # type: ignore[misc]
            case MarkKind.SPOOL_FULL | MarkKind.SPOOL_FREE:
                self.full = mark.kind is MarkKind.SPOOL_FULL
            case MarkKind.ABSENT:
                self.absent, self.silent = True, False
            case MarkKind.FLOWING | MarkKind.RESUMED:
                self.absent, self.silent = False, False
            case MarkKind.SILENT:
                self.silent = True
            case MarkKind.FAILED:
                self.failed, self.detail = True, mark.detail
            case MarkKind.RECORDING:
                self.failed, self.detail = False, ""

    @property
    def cause(self) -> Cause:
        causes = (
            (self.down, Cause.GATEWAY_DOWN),
            (self.full, Cause.SPOOL_FULL),
            (self.absent, Cause.STREAM_ABSENT),
            (self.silent, Cause.STREAM_SILENT),
            (self.failed, Cause.RECORDING_FAILED),
        )
        return next((cause for holds, cause in causes if holds), Cause.UNKNOWN)


@dataclass(slots=True)
class _Timeline:
    """Intervals that the marks cut an expected time into, and those in which it was silent."""

    pieces: list[Gap] = field(default_factory=list)
    silent: list[Interval] = field(default_factory=list)


def gaps(
    marks: Iterable[Mark], slices: Sequence[Slice], begin: datetime, end: datetime, *, running_since: datetime | None
) -> list[Gap]:
    """Gaps between `begin` and `end`, in order; those by lost frames among them.

    `marks` are in order and begin with what held before; `running_since`: when the slice that is being written began.
    """
    timeline = _read(marks, begin, end)
    covered = [(one.start_at, one.end_at) for one in slices]
    if running_since is not None:
        covered.append((running_since, end))
    covered = _subtract(_union(covered, TOLERANCE), timeline.silent)
    found = [
        replace(piece, begin=one[0], end=one[1])
        for piece in timeline.pieces
        for one in _subtract([(piece.begin, piece.end)], covered)
    ]
    lost = [
        Gap(max(one.start_at, begin), min(one.end_at, end), Cause.LOST_FRAMES, frames=one.lost)
        for one in slices
        if one.lost and one.start_at < end and one.end_at > begin
    ]
    return sorted([*_long(_joined(found)), *lost], key=lambda gap: (gap.begin, gap.end))


def _read(marks: Iterable[Mark], begin: datetime, end: datetime) -> _Timeline:
    timeline, state, at = _Timeline(), _State(), begin

    def until(moment: datetime) -> None:
        if at < moment and state.expected:
            cause = state.cause
            timeline.pieces.append(Gap(at, moment, cause, state.detail if cause is Cause.RECORDING_FAILED else ""))
        if at < moment and state.silent:
            timeline.silent.append((at, moment))

    for mark in marks:
        moment = min(max(mark.at, at), end)
        until(moment)
        at = moment
        state.handle(mark)
    until(end)
    return timeline


def _union(intervals: Iterable[Interval], tolerance: timedelta) -> list[Interval]:
    """In order, without overlaps, those with no more than `tolerance` between them as one."""
    found: list[Interval] = []
    for begin, end in sorted(intervals):
        if found and begin - found[-1][1] <= tolerance:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def _subtract(intervals: Iterable[Interval], others: Sequence[Interval]) -> list[Interval]:
    """What of `intervals` none of `others`, which are in order and do not overlap, covers."""
    found: list[Interval] = []
    for interval in intervals:
        begin, end = interval
        for other_begin, other_end in others:
            if other_end <= begin or other_begin >= end:
                continue
            if begin < other_begin:
                found.append((begin, other_begin))
            begin = max(begin, other_end)
        if begin < end:
            found.append((begin, end))
    return found


def _joined(found: Iterable[Gap]) -> list[Gap]:
    """Neighbours of one cause as one, with the moments until the first key frame, which nothing else explains."""
    joined: list[Gap] = []
    for gap in found:
        last = joined[-1] if joined else None
        of_last = gap.cause is Cause.UNKNOWN and gap.end - gap.begin <= TOLERANCE
        if last is not None and last.end == gap.begin and (of_last or _why(last) == _why(gap)):
            joined[-1] = replace(last, end=gap.end)
        else:
            joined.append(gap)
    return joined


def _why(gap: Gap) -> tuple[Cause, str]:
    return gap.cause, gap.detail


def _long(found: Sequence[Gap]) -> list[Gap]:
    """Without those so short, with all that touch them, that nothing is missing."""
    kept: list[Gap] = []
    for begin, end in _union([(gap.begin, gap.end) for gap in found], timedelta()):
        if end - begin > TOLERANCE:
            kept += [gap for gap in found if begin <= gap.begin < end]
    return kept
