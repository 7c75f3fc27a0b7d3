"""Names of slices in the spool and where they are kept."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConflictError
from gateway.retention.names import (
    directory,
    file_name,
    is_open_file,
    next_key,
    numbered_keys,
    read_file_name,
    slice_id,
)
from tests.gateway.retention.samples import NOW, recording


def test_the_documents_example() -> None:
    of = recording()
    assert directory(of, NOW) == "path/to/video/streamName/2018/8/18/18"
    assert file_name(of, NOW, NOW + timedelta(minutes=1), ".flv") == "0100_0200.flv"


def test_directories_are_named_in_the_zone_of_the_retention() -> None:
    evening = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert directory(recording(zone_hours=0, path=""), evening) == "streamName/2026/12/31/23"
    assert directory(recording(zone_hours=1, path=""), evening) == "streamName/2027/1/1/0"
    assert directory(recording(zone_hours=-12, path=""), evening) == "streamName/2026/12/31/11"


@given(st.text(min_size=1, max_size=128))
def test_no_stream_name_leads_elsewhere(name: str) -> None:
    names = directory(recording(name=name, path="p/"), NOW).split("/")
    assert len(names) == 6
    assert names[0] == "p"
    assert not {"", ".", ".."} & set(names)


def test_a_taken_name_gets_a_number() -> None:
    assert list(islice(numbered_keys("a/0100_0200.flv"), 3)) == [
        "a/0100_0200.flv",
        "a/0100_0200_2.flv",
        "a/0100_0200_3.flv",
    ]
    assert list(islice(numbered_keys("a/0100_0200_9.mp4"), 2)) == ["a/0100_0200_9.mp4", "a/0100_0200_10.mp4"]
    assert next_key("a/0100_0200.flv") == "a/0100_0200_2.flv"
    assert next_key("a/0100_0200_2.flv") == "a/0100_0200_3.flv"
    with pytest.raises(ConflictError):
        next_key("a/0100_0200_1000.flv")


def test_files_of_the_spool() -> None:
    assert read_file_name("1534586460000-1534586520000.flv") == (NOW, NOW + timedelta(minutes=1))
    assert read_file_name("1534586460000-1534586520000.mp4") is not None
    assert is_open_file("1534586460000.flv.part")
    assert is_open_file("1534586460000.mp4.part")
    for name in ("1534586460000.flv", "a-b.flv", "1-2.avi", "1-2.flv.part", "-1-2.flv", "", "1" * 16 + "-2.flv"):
        assert read_file_name(name) is None
    assert not is_open_file("1-2.flv")


def test_a_file_is_one_slice_whoever_finds_it() -> None:
    assert slice_id("1" * 32, "1-2.flv") == slice_id("1" * 32, "1-2.flv") != slice_id("2" * 32, "1-2.flv")
