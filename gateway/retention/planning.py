"""What is to be recorded: the difference between what should run and what runs. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.retention.model import RecordingForm, Retained

Address = tuple[str, str]
"""App and name of a stream in the relay."""


@dataclass(frozen=True, slots=True)
class Running:
    """A recording that was started, as far as planning asks."""

    receiver: int
    wanted: Retained
    form: RecordingForm = RecordingForm.AUTO


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start and what to stop, each by the stream's address."""

    start: tuple[Address, ...]
    stop: tuple[Address, ...]


def plan(
    wanted: Mapping[Address, Retained],
    flowing: Mapping[Address, int],
    running: Mapping[Address, Running],
    *,
    form: Callable[[Address], RecordingForm],
    full: bool,
) -> Plan:
    """Every wanted stream that flows is recorded from the receiver it flows from, and nothing else is.

    `flowing` gives each stream's receiver, `form` what it is to be recorded as now. While the spool is `full` nothing
    is recorded: what is in it is kept.
    """
    due = {} if full else {address: flowing[address] for address in wanted if address in flowing}
    stop = tuple(
        address
        for address, run in running.items()
        if due.get(address) != run.receiver or run.form is not form(address) or _differs(wanted[address], run.wanted)
    )
    start = tuple(address for address in due if address not in running or address in stop)
    return Plan(start, stop)


def _differs(wanted: Retained, run: Retained) -> bool:
    """Whether a recording must begin anew because its retention is another; how long it is kept does not matter."""
    one, other = wanted.retention, run.retention
    place = (one.store_type, one.bucket, one.path, one.slice_minutes, one.zone_hours, wanted.stream_id)
    return place != (other.store_type, other.bucket, other.path, other.slice_minutes, other.zone_hours, run.stream_id)
