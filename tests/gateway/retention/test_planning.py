"""What is started and stopped, so that just what should be recorded is."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.retention.model import RecordingForm, Retained, StoreType
from gateway.retention.planning import Address, Plan, Running
from gateway.retention.planning import plan as planned
from gateway.retention.rules import Wish, settle
from tests.gateway.retention.samples import PROJECT

RETENTION = settle(None, Wish(zone_hours=8, hours=1, store_type=StoreType.LOCAL))
GATE, YARD = ("default", "gate"), ("default", "yard")


def plan(
    want: Mapping[Address, Retained],
    flowing: Mapping[Address, int],
    running: Mapping[Address, Running],
    *,
    full: bool,
    form: RecordingForm = RecordingForm.AUTO,
) -> Plan:
    return planned(want, flowing, running, form=lambda address: form, full=full)


def wanted(address: Address, **changes: object) -> Retained:
    return Retained(
        stream_id=f"stream-{address[1]}",
        project_id=PROJECT,
        app=address[0],
        name=address[1],
        active=True,
        retention=replace(RETENTION, **changes),  # type: ignore[arg-type]
    )


def test_a_wanted_stream_that_flows_is_recorded() -> None:
    both = {GATE: wanted(GATE), YARD: wanted(YARD)}
    assert plan(both, {GATE: 1}, {}, full=False) == Plan((GATE,), ())
    assert plan(both, {GATE: 1}, {GATE: Running(1, both[GATE])}, full=False) == Plan((), ())


def test_a_stream_that_came_back_is_recorded_anew() -> None:
    assert plan({GATE: wanted(GATE)}, {GATE: 2}, {GATE: Running(1, wanted(GATE))}, full=False) == Plan((GATE,), (GATE,))


def test_a_stream_that_went_or_is_not_wanted_is_stopped() -> None:
    assert plan({}, {GATE: 1}, {GATE: Running(1, wanted(GATE))}, full=False) == Plan((), (GATE,))
    assert plan({GATE: wanted(GATE)}, {}, {GATE: Running(1, wanted(GATE))}, full=False) == Plan((), (GATE,))


def test_another_place_begins_another_recording_but_another_age_does_not() -> None:
    run = {GATE: Running(1, wanted(GATE))}
    assert plan({GATE: wanted(GATE, path="x/")}, {GATE: 1}, run, full=False) == Plan((GATE,), (GATE,))
    assert plan({GATE: wanted(GATE, hours=9)}, {GATE: 1}, run, full=False) == Plan((), ())


def test_another_form_begins_another_recording() -> None:
    want, run = {GATE: wanted(GATE)}, {GATE: Running(1, wanted(GATE), RecordingForm.HLS)}
    assert plan(want, {GATE: 1}, run, full=False) == Plan((GATE,), (GATE,))
    assert plan(want, {GATE: 1}, run, full=False, form=RecordingForm.HLS) == Plan((), ())


def test_a_full_spool_stops_everything() -> None:
    both = {GATE: wanted(GATE), YARD: wanted(YARD)}
    assert plan(both, {GATE: 1, YARD: 2}, {GATE: Running(1, both[GATE])}, full=True) == Plan((), (GATE,))


names = st.sampled_from(["a", "b", "c", "d"]).map(lambda name: ("default", name))


@given(
    wants=st.dictionaries(names, st.sampled_from(["", "x/"])),
    flowing=st.dictionaries(names, st.integers(1, 3)),
    running=st.dictionaries(names, st.tuples(st.integers(1, 3), st.sampled_from(["", "x/"]))),
    full=st.booleans(),
)
def test_carried_out_the_plan_leaves_nothing_to_do(
    wants: dict[Address, str],
    flowing: dict[Address, int],
    running: dict[Address, tuple[int, str]],
    full: bool,
) -> None:
    want = {address: wanted(address, path=path) for address, path in wants.items()}
    runs = {address: Running(number, wanted(address, path=path)) for address, (number, path) in running.items()}
    found = plan(want, flowing, runs, full=full)
    for address in found.stop:
        del runs[address]
    for address in found.start:
        assert address not in runs
        runs[address] = Running(flowing[address], want[address])
    assert plan(want, flowing, runs, full=full) == Plan((), ())
    assert not (full and runs)
