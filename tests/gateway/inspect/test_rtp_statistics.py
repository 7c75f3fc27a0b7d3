"""The figures agree with what a counted bad link did."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.inspect.rtp_statistics import RtpStatistics
from gateway.simulator.link import Impairment, Link


@given(
    st.floats(0, 0.2), st.floats(0, 0.3), st.floats(0, 0.2), st.integers(0, 10_000), st.integers(0, 65_535)
)  # fmt: skip
def test_figures_of_a_bad_link(loss: float, reorder: float, duplicate: float, seed: int, start: int) -> None:
    link, figures = Link(Impairment(loss, reorder, duplicate, seed=seed)), RtpStatistics()
    packets = [number.to_bytes(3, "big") for number in range(400)]
    numbers = [int.from_bytes(packet, "big") for packet in link.pass_on(packets) + link.flush()]
    for number in numbers:
        figures.handle(number * 1000, (start + number) & 0xFFFF, number * 90, 100)
    counts = link.counts
    assert figures.received == counts.offered - counts.lost
    assert figures.duplicates == counts.duplicated
    assert figures.reordered == counts.reordered
    assert figures.expected == max(numbers) - min(numbers) + 1
    assert figures.lost == figures.expected - figures.received
    assert figures.restarts == 0


def test_jitter_of_an_even_stream_is_zero() -> None:
    figures = RtpStatistics()
    for number in range(100):
        figures.handle(number * 40_000, number, number * 3600, 100)
    assert figures.jitter_ms < 1e-6


def test_jitter_of_an_uneven_stream() -> None:
    figures = RtpStatistics()
    for number in range(1000):
        figures.handle(number * 40_000 + (number % 2) * 10_000, number, number * 3600, 100)
    assert 9.5 < figures.jitter_ms < 10.5  # it alternates by 10 ms


def test_a_restart_is_no_loss() -> None:
    figures = RtpStatistics()
    for number in [*range(10), *range(40_000, 40_010)]:
        figures.handle(0, number, 0, 100)
    assert (figures.received, figures.expected, figures.lost, figures.restarts) == (20, 20, 0, 1)
