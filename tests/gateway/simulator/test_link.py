"""The bad link counts exactly what it does."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.link import Impairment, Link

shares = st.floats(0, 0.5)


@given(loss=shares, reorder=shares, duplicate=shares, seed=st.integers(0, 1000), count=st.integers(0, 300))
def test_counts_agree_with_what_came_through(
    loss: float, reorder: float, duplicate: float, seed: int, count: int
) -> None:
    link = Link(Impairment(loss, reorder, duplicate, seed=seed))
    wire: list[int] = []
    for index in range(count):
        wire += [int.from_bytes(packet, "big") for packet in link.pass_on([index.to_bytes(2, "big")])]
    wire += [int.from_bytes(packet, "big") for packet in link.flush()]

    distinct = list(dict.fromkeys(wire))
    highest, reordered = -1, 0
    for index in distinct:
        reordered += index < highest
        highest = max(highest, index)
    counts = link.counts
    assert counts.offered == count
    assert counts.sent == len(wire)
    assert counts.bytes == 2 * len(wire)
    assert counts.lost == count - len(distinct)
    assert counts.duplicated == len(wire) - len(distinct)
    assert counts.reordered == reordered


def test_a_sound_link_changes_nothing() -> None:
    packets = [bytes([index]) for index in range(100)]
    link = Link(Impairment())
    assert link.pass_on(packets) + link.flush() == packets


def test_the_seed_decides() -> None:
    packets = [bytes([index]) for index in range(200)]
    runs = [Link(Impairment(0.1, 0.1, 0.1, seed=seed)).pass_on(packets) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_reordering_does_reorder() -> None:
    link = Link(Impairment(reorder=0.1, seed=3))
    link.pass_on([bytes([index]) for index in range(200)])
    assert link.counts.reordered > 5
