"""Files that come in pieces: what is fetched next, and how far they can be played meanwhile."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.playback.pieces import HURRIED_BYTES, MOST_BYTES, PIECES_MAX, Pieces, place, reached_ms

MIB = 1024 * 1024
ENTRIES = [(0, 1000), (2000, 5000), (4000, 9000)]


def test_the_head_comes_first_then_what_is_wanted_then_the_rest() -> None:
    pieces = Pieces(20 * MIB)
    pieces.add(0, 1000)
    assert pieces.missing(10 * MIB, hurried=True) == (10 * MIB, 10 * MIB + HURRIED_BYTES)
    asked = []
    while (piece := pieces.missing(10 * MIB, hurried=False)) is not None:
        asked.append(piece)
        pieces.add(*piece)
    assert pieces.whole
    assert asked == [
        (10 * MIB, 14 * MIB), (14 * MIB, 18 * MIB), (18 * MIB, 20 * MIB),
        (1000, 1000 + MOST_BYTES), (1000 + MOST_BYTES, 1000 + 2 * MOST_BYTES), (1000 + 2 * MOST_BYTES, 10 * MIB),
    ]  # fmt: skip


def test_a_list_of_many_pieces_grows_no_longer() -> None:
    size = 10**14
    pieces, step = Pieces(size), size // 1000
    pieces.add(0, 1000)
    for number in range(999, 0, -1):
        piece = pieces.missing(number * step, hurried=True)
        assert piece is not None
        pieces.add(*piece)
    assert len(pieces.listed().splitlines()) == PIECES_MAX
    assert len(pieces.listed()) < 8192
    assert pieces.missing(999 * step, hurried=True) == (999 * step + HURRIED_BYTES, 999 * step + 2 * HURRIED_BYTES)
    first = pieces.end(0)
    assert pieces.missing(step, hurried=True) == (first, first + HURRIED_BYTES), "the first gap is closed"


@given(st.integers(0, 3000), st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), max_size=12))
def test_what_is_listed_is_what_was_added(size: int, added: list[tuple[int, int]]) -> None:
    pieces, there = Pieces(size), set()
    for first, behind in ((min(first, size), min(behind, size)) for first, behind in added):
        pieces.add(first, behind)
        there |= set(range(first, behind))
    listed = [tuple(map(int, line.split("-"))) for line in pieces.listed().splitlines()]
    assert {byte for first, behind in listed for byte in range(first, behind)} == there
    assert listed == sorted(listed) and all(one[1] < other[0] for one, other in pairwise(listed))
    assert pieces.whole == (len(there) == size)
    piece = pieces.missing(0, hurried=True)
    assert (piece is None) == pieces.whole
    assert piece is None or not there & set(range(*piece))


def test_it_can_be_played_up_to_the_last_key_frame_that_is_there() -> None:
    assert [place(ENTRIES, at) for at in (0, 1999, 2000, 9000)] == [1000, 1000, 5000, 9000]
    assert [reached_ms(ENTRIES, end) for end in (0, 999, 5000, 8999, 9000)] == [0, 0, 2000, 2000, 4000]
    assert (place([], 5), reached_ms([], 5)) == (0, 0)
