"""Captures are read whatever their form; damaged ones end or raise CaptureError."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inspect.capture import CaptureError, Frame, read_capture
from tests.gateway.inspect.captures import pcap, pcapng

FRAMES = [(1_772_668_800_000_001, b"first"), (1_772_668_800_500_000, b"the second")]
EXPECTED = [Frame(time_us, 1, data) for time_us, data in FRAMES]


@pytest.mark.parametrize(
    "data",
    [
        pcap(FRAMES),
        pcap(FRAMES, order=">"),
        pcap(FRAMES, nano=True),
        pcapng(FRAMES),
        pcapng(FRAMES, order=">"),
        pcapng(FRAMES, exponent=9),
        pcapng(FRAMES) + pcapng([], order=">"),
    ],
)
def test_forms(data: bytes) -> None:
    assert list(read_capture(io.BytesIO(data))) == EXPECTED


@pytest.mark.parametrize("data", [pcap(FRAMES), pcapng(FRAMES)])
def test_a_cut_file_gives_what_is_whole(data: bytes) -> None:
    assert list(read_capture(io.BytesIO(data[:-3]))) == EXPECTED[:1]


@pytest.mark.parametrize("data", [b"", b"GIF8", pcap([])[:10], b"\x0a\x0d\x0d\x0a" + bytes(20)])
def test_what_is_no_capture(data: bytes) -> None:
    with pytest.raises(CaptureError):
        list(read_capture(io.BytesIO(data)))


@given(st.sampled_from([pcap(FRAMES), pcapng(FRAMES)]), st.integers(4, 200), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(data: bytes, at: int, value: int) -> None:
    at = min(at, len(data) - 1)
    try:
        frames = list(read_capture(io.BytesIO(data[:at] + bytes([value]) + data[at + 1 :])))
    except CaptureError:
        return
    assert len(frames) <= 2
