"""The walker against streams of the writer: whole, split, faulty, damaged."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.simulator.model import AccessUnit, AudioCodec, VideoCodec
from gateway.simulator.ps_writer import PsFault, PsWriter
from media.formats.walk import Element, Fault, Kind, PsWalker

UNITS = [
    unit
    for number in range(6)
    for unit in (
        AccessUnit(True, number % 3 == 0, number * 3600, number * 3600, b"\x00\x00\x00\x01\x41" + b"\x55" * 300),
        AccessUnit(False, True, number * 3600, number * 3600, b"\xd5" * 320),
    )
]


def stream(*faults: PsFault) -> bytes:
    writer = PsWriter(VideoCodec.H264, AudioCodec.G711A, faults=frozenset(faults))
    return b"".join(writer.write(unit) for unit in UNITS)


def walk(data: bytes) -> list[Element]:
    walker = PsWalker()
    return [*walker.handle(data), *walker.finish()]


def payload(elements: list[Element], stream_id: int) -> bytes:
    return b"".join(one.fields.payload for one in elements if one.stream_id == stream_id and one.fields is not None)


def test_a_right_stream() -> None:
    elements = walk(stream())
    counts = Counter(element.kind for element in elements)
    assert counts == {Kind.PACK: 12, Kind.SYSTEM_HEADER: 2, Kind.STREAM_MAP: 2, Kind.PES: 12}
    assert {element.fault for element in elements} == {None}
    assert b"".join(element.data for element in elements) == stream()
    assert payload(elements, 0xE0) == b"".join(unit.data for unit in UNITS if unit.is_video)


@given(st.lists(st.integers(0, 6000), max_size=30))
def test_split_anywhere(cuts: list[int]) -> None:
    data, walker, elements, at = stream(PsFault.PES_LENGTH_ZERO), PsWalker(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        elements += walker.handle(data[at:cut])
        at = max(at, cut)
    elements += walker.finish()
    assert elements == walk(data)


@pytest.mark.parametrize("fault", list(PsFault))
def test_faults_cost_nothing(fault: PsFault) -> None:
    elements = walk(stream(fault))
    assert payload(elements, 0xE0) == b"".join(unit.data for unit in UNITS if unit.is_video)
    assert payload(elements, 0xC0) == b"".join(unit.data for unit in UNITS if not unit.is_video)
    expected = {PsFault.PES_LENGTH_ZERO: Fault.LENGTH_ZERO, PsFault.BARE_PACK: Fault.BARE_PACK}
    assert {element.fault for element in elements} <= {None, expected.get(fault)}


def test_a_start_in_the_middle_and_a_cut_end() -> None:
    data = stream()
    elements = walk(data[100:-10])
    assert elements[0].kind is Kind.GARBAGE
    assert elements[-1].fault is Fault.TRUNCATED
    assert elements[-1].fields.payload == b"\xd5" * 310
    assert b"".join(element.data for element in elements) == data[100:-10]


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=10))
def test_damage_never_breaks_the_walker(changes: list[tuple[int, int]]) -> None:
    data = bytearray(stream())
    for at, value in changes:
        data[at % len(data)] = value
    elements = walk(bytes(data))
    assert sum(len(element.data) for element in elements) <= len(data)
    offsets = [element.offset for element in elements]
    assert offsets == sorted(offsets)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    walk(data)
    walk(b"\x00\x00\x01\xba" + data)
    walk(b"\x00\x00\x01\xbc" + data)
    walk(b"\x00\x00\x01\xe0" + data)
