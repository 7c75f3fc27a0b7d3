"""§4.2.4: every rule of the parameters, and what may change when."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidError
from gateway.retention.errors import PathError, RetainingError
from gateway.retention.model import Retention, StoreType
from gateway.retention.rules import (
    PATH_BYTES_MAX,
    Wish,
    check_bucket,
    check_hours,
    check_path,
    check_slice,
    check_zone,
    settle,
    zone_text,
)
from gateway.streams.model import StreamState

FIRST = Wish(zone_hours=8, hours=24, store_type=StoreType.OBS, bucket="obs-momo", path="path/to/video/")
STOPPED = settle(None, FIRST)
ACTIVE = replace(STOPPED, state=StreamState.ACTIVE)
START = Wish(zone_hours=8, state=StreamState.ACTIVE)
STOP = Wish(zone_hours=8, state=StreamState.STOPPED)


def test_the_first_call_and_its_defaults() -> None:
    assert (
        Retention(
            state=StreamState.STOPPED,
            hours=24,
            forever=False,
            store_type=StoreType.OBS,
            bucket="obs-momo",
            path="path/to/video/",
            slice_minutes=5,
            zone_hours=8,
        )
        == STOPPED
    )


@pytest.mark.parametrize(
    ("left_out", "field"),
    [("hours", "retention_in_hour"), ("store_type", "store_type"), ("bucket", "bucket"), ("path", "path")],
)
def test_what_the_first_call_must_have(left_out: str, field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        settle(None, replace(FIRST, **{left_out: None}))
    assert caught.value.field == field


def test_what_is_kept_for_ever_needs_no_hours() -> None:
    assert settle(None, replace(FIRST, hours=None, forever=True)).keep is None


def test_local_needs_neither_bucket_nor_path() -> None:
    found = settle(None, Wish(zone_hours=8, hours=0, store_type=StoreType.LOCAL, bucket="ignored-one"))
    assert (found.bucket, found.path, found.hours) == ("", "", 0)


def test_later_calls_say_what_changes() -> None:
    changed = settle(STOPPED, replace(START, hours=48, path="", slice_minutes=1))
    assert changed == replace(STOPPED, state=StreamState.ACTIVE, hours=48, path="", slice_minutes=1)
    assert settle(STOPPED, Wish(zone_hours=-3)) == replace(STOPPED, zone_hours=-3)


def test_from_local_to_a_bucket_needs_one() -> None:
    local = settle(None, Wish(zone_hours=8, hours=1, store_type=StoreType.LOCAL))
    with pytest.raises(InvalidError, match="bucket"):
        settle(local, Wish(zone_hours=8, store_type=StoreType.OBS))


def test_for_ever_and_back() -> None:
    forever = settle(STOPPED, Wish(zone_hours=8, forever=True))
    assert forever.keep is None
    assert settle(forever, Wish(zone_hours=8, hours=3)).hours == 3
    assert not settle(forever, Wish(zone_hours=8, hours=3)).forever
    with pytest.raises(InvalidError, match="retention_in_hour"):
        settle(forever, Wish(zone_hours=8, forever=False))


def test_what_is_active_can_only_be_stopped() -> None:
    assert settle(ACTIVE, STOP) == STOPPED
    assert settle(ACTIVE, replace(STOP, hours=24, bucket="obs-momo")) == STOPPED
    for wish in (
        START,
        Wish(zone_hours=8),
        replace(STOP, hours=25),
        replace(STOP, forever=True),
        replace(STOP, path="other/"),
        replace(STOP, bucket="other"),
        replace(STOP, slice_minutes=6),
        replace(STOP, zone_hours=9),
        replace(STOP, store_type=StoreType.LOCAL),
    ):
        with pytest.raises(RetainingError):
            settle(ACTIVE, wish)


@given(
    present=st.sampled_from([None, STOPPED, ACTIVE]),
    wish=st.builds(
        Wish,
        zone_hours=st.integers(-12, 14),
        hours=st.none() | st.integers(0, 87600),
        forever=st.none() | st.booleans(),
        store_type=st.none() | st.sampled_from(StoreType),
        bucket=st.none() | st.just("") | st.just("bucket-x"),
        path=st.none() | st.just("") | st.just("a/"),
        slice_minutes=st.none() | st.integers(1, 60),
        state=st.none() | st.sampled_from(StreamState),
    ),
)
def test_whatever_is_settled_can_be_carried_out(present: Retention | None, wish: Wish) -> None:
    try:
        found = settle(present, wish)
    except (InvalidError, RetainingError):
        return
    assert (found.store_type is StoreType.OBS) == bool(found.bucket)
    assert found.zone_hours == wish.zone_hours
    if wish.state is not None:
        assert found.state is wish.state
    if present is ACTIVE:
        assert found == STOPPED


@pytest.mark.parametrize(
    ("given_", "hours"), [(0, 0), ("0", 0), (87600, 87600), ("87600", 87600), ("1.5", 1.5), (2.5, 2.5)]
)
def test_hours(given_: float | str, hours: float) -> None:
    assert check_hours(given_) == hours


@pytest.mark.parametrize(
    "given_", [-1, 87601, 100000, "100000", "", "x", "1e3", "nan", "٣", True, "1 ", float("nan"), float("inf"), 1e300]
)
def test_no_hours(given_: float | str) -> None:
    with pytest.raises(InvalidError, match="retention_in_hour"):
        check_hours(given_)


@pytest.mark.parametrize(("given_", "minutes"), [(1, 1), (60, 60), ("5", 5), (5.0, 5)])
def test_slices(given_: float | str, minutes: int) -> None:
    assert check_slice(given_) == minutes


@pytest.mark.parametrize("given_", [0, 61, -1, 1.5, "", "x", True, "600"])
def test_no_slices(given_: float | str) -> None:
    with pytest.raises(InvalidError, match="slice_in_minute"):
        check_slice(given_)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("GMT+8:00", 8),
        ("GMT+08:00", 8),
        ("GMT+8", 8),
        ("GMT+08", 8),
        ("gmt-3:00", -3),
        ("GMT-12:00", -12),
        ("GMT+14:00", 14),
        ("GMT+0:00", 0),
        ("GMT-00:00", 0),
    ],
)
def test_zones(text: str, hours: int) -> None:
    assert check_zone(text) == hours


@pytest.mark.parametrize(
    "text", ["", "GMT", "GMT+15:00", "GMT-13:00", "GMT+8:30", "UTC+8", "+08:00", "GMT+8:00 ", "GMT+٨:00", "GMT+008:00"]
)
def test_no_zones(text: str) -> None:
    with pytest.raises(InvalidError, match="timezone"):
        check_zone(text)


@given(st.integers(-12, 14))
def test_zones_are_answered_as_they_are_read(hours: int) -> None:
    assert check_zone(zone_text(hours)) == hours


@pytest.mark.parametrize("name", ["abc", "obs-momo", "a.b.c", "0" * 63])
def test_buckets(name: str) -> None:
    assert check_bucket(name) == name


@pytest.mark.parametrize(
    "name", ["ab", "a" * 64, "Abc", "a..b", "-abc", "abc-", ".abc", "a/b", "a_b", "abc\n", "中文中"]
)
def test_no_buckets(name: str) -> None:
    with pytest.raises(InvalidError, match="bucket"):
        check_bucket(name)


@pytest.mark.parametrize(
    ("given_", "path"),
    [
        ("", ""),
        ("/", ""),
        ("path/to/video/", "path/to/video/"),
        ("/path//to/video", "path/to/video/"),
        ("视频/一", "视频/一/"),
        ("a b/...c", "a b/...c/"),
    ],
)
def test_paths(given_: str, path: str) -> None:
    assert check_path(given_) == path


LONG = "/".join(["y" * 200] * 3)


@pytest.mark.parametrize(
    "given_",
    [
        "..",
        "a/../b",
        "./a",
        "a/.",
        "a\\b",
        "a\x00b",
        "a\nb",
        "a:b",
        " a",
        "a/ /b",
        "a/.. /b",
        "\ud800",
        "x" * 256,
        LONG,
    ],
)
def test_no_paths(given_: str) -> None:
    with pytest.raises(PathError):
        check_path(given_)


@given(st.text(max_size=300) | st.lists(st.sampled_from(["..", ".", "a", "", " ", "b c"])).map("/".join))
def test_no_path_leads_elsewhere(given_: str) -> None:
    try:
        path = check_path(given_)
    except PathError:
        return
    assert check_path(path) == path
    assert len(path.encode()) <= PATH_BYTES_MAX
    assert not path.startswith("/")
    assert path == "" or path.endswith("/")
    assert not {"..", ".", ""} & set(path.split("/")[:-1])
