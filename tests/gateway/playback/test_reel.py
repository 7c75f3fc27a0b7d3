"""Which file a playback needs, and how long it can go on without the next one."""

from gateway.playback.playlists import span
from gateway.playback.reel import Span, further, number_at, playable_ms, wanted

SPANS = [Span(0, 1000), Span(1000, 2000), Span(5000, 6000)]


def test_between_two_files_it_is_in_the_later_one() -> None:
    assert [number_at(SPANS, at) for at in (-5, 0, 999, 1000, 2500, 5999, 9000)] == [0, 0, 0, 1, 2, 2, 2]


def test_what_lies_between_files_is_jumped_over() -> None:
    assert further(SPANS, 500, 400) == 900
    assert further(SPANS, 500, 2000) == 5500
    assert further(SPANS, 3000, 100) == 5100
    assert further(SPANS, 500, 9000) == 6000


def test_it_can_go_on_until_a_file_is_missing() -> None:
    assert playable_ms(SPANS, 500, {1, 2}, {}) == 0
    assert playable_ms(SPANS, 500, {0, 2}, {}) == 500
    assert playable_ms(SPANS, 500, {0, 1}, {}) == 1500
    assert playable_ms(SPANS, 500, {0, 1, 2}, {}) == float("inf")


def test_it_can_go_on_as_far_as_a_file_that_comes_is_there() -> None:
    assert playable_ms(SPANS, 500, {1, 2}, {0: lambda at_ms: 700 - at_ms}) == 200
    assert playable_ms(SPANS, 500, {2}, {0: lambda _: float("inf"), 1: lambda at_ms: 300 - at_ms}) == 800
    assert playable_ms(SPANS, 500, {1, 2}, {0: lambda _: float("inf")}) == float("inf")


def test_what_is_gone_is_jumped_over() -> None:
    assert playable_ms(SPANS, 500, {2}, {0: lambda at_ms: 700 - at_ms}, {0, 1}) == float("inf")
    assert playable_ms(SPANS, 500, set(), {0: lambda at_ms: 700 - at_ms}, {0, 1}) == 200
    assert wanted(SPANS, 500, {0, 1}, {0, 1}) == 2


def test_the_file_that_is_read_comes_first_and_then_the_next_one() -> None:
    assert wanted(SPANS, 1500, set()) == 1
    assert wanted(SPANS, 1500, {1}) == 2
    assert wanted(SPANS, 500, {0, 1}) is None, "not further ahead"
    assert wanted(SPANS, 5500, {2}) is None


def test_a_part_is_made_of_the_bytes_between_two_key_frames() -> None:
    entries = [(0, 100), (2000, 200), (4000, 300), (6000, 400)]
    assert span(entries, 2000, 4000) == (200, 400)
    assert span(entries, 2000, 3000) == (200, 300)
    assert span(entries, 4000, 6000) == (300, None)
    assert span([], 0, 1000) == (0, None)
