"""RTP over TCP is cut right, split anywhere, and found again after garbage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inspect.framing import RtpDeframer
from gateway.simulator.rtp_sender import frame
from media.formats.rtp import build_rtp

PACKETS = [build_rtp(number, number * 3600, 7, bytes([number]) * (20 + number)) for number in range(30)]


@pytest.mark.parametrize("dollar", [False, True])
@given(cuts=st.lists(st.integers(0, 1500), max_size=20))
def test_split_anywhere(dollar: bool, cuts: list[int]) -> None:
    data = b"".join(frame(packet, dollar=dollar) for packet in PACKETS)
    deframer, out, at = RtpDeframer(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        out += deframer.handle(data[at:cut])
        at = max(at, cut)
    assert out == PACKETS
    assert deframer.dollar is dollar
    assert deframer.garbage_bytes == 0


def test_garbage_is_skipped_and_counted() -> None:
    deframer = RtpDeframer()
    data = b"".join(frame(packet) for packet in PACKETS)
    assert deframer.handle(b"\x01\x00" * 128 + data)[-25:] == PACKETS[-25:]
    assert deframer.garbage_bytes >= 256


@given(st.binary(max_size=500))
def test_any_bytes(data: bytes) -> None:
    deframer = RtpDeframer()
    out = deframer.handle(data)
    assert sum(map(len, out)) + deframer.garbage_bytes <= len(data)
