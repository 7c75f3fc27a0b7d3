"""Sound and picture of a publisher on one clock: by arrival at first, by sender reports once both came."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from media.webrtc.clock import APART_MAX, NOTICED, TICKS, TrackClock, align

RATES = {"audio": 8_000, "video": 90_000}
WRAP = 1 << 32


def ntp(seconds: float) -> int:
    return round((3_900_000_000 + seconds) * WRAP)


def run(starts: dict[str, int], delays: dict[str, float], reported_at: float) -> dict[str, list[tuple[float, int]]]:
    """Ten seconds of two tracks, a frame every 40 ms; reports every second from `reported_at`: capture time, ticks."""
    clocks = {kind: TrackClock(rate) for kind, rate in RATES.items()}
    made: dict[str, list[tuple[float, int]]] = {"audio": [], "video": []}
    for number in range(250):
        at = number / 25
        for kind, clock in clocks.items():
            timestamp = (starts[kind] + round(at * RATES[kind])) % WRAP
            made[kind].append((at, clock.ticks(timestamp, at + delays[kind])))
            if at >= reported_at and number % 25 == 0:
                clock.report(timestamp, ntp(at))
                align(clocks["audio"], clocks["video"])
    return made


STARTS = st.fixed_dictionaries({kind: st.integers(0, WRAP - 1) for kind in RATES})
DELAYS = st.fixed_dictionaries({kind: st.floats(0, 3) for kind in RATES})


@given(STARTS, DELAYS, st.floats(0, 5))
def test_what_was_reported_together_is_together(
    starts: dict[str, int], delays: dict[str, float], reported_at: float
) -> None:
    made = run(starts, delays, reported_at)
    apart = [round(sound - picture) for (_, sound), (_, picture) in zip(made["audio"], made["video"], strict=True)]
    assert abs(apart[0] - (delays["audio"] - delays["video"]) * TICKS) <= 2, "by arrival, until it is known better"
    assert abs(apart[-1]) <= NOTICED
    for frames in made.values():
        assert all(later >= earlier for (_, earlier), (_, later) in pairwise(frames))


def test_sound_that_arrives_late_moves_the_picture_on() -> None:
    made = run({"audio": 7, "video": WRAP - 5}, {"audio": 0.3, "video": 0.0}, 1.0)
    assert [sound for at, sound in made["audio"]] == [round((at + 0.3) * TICKS) for at, _ in made["audio"]]
    assert made["video"][20][1] == 0.8 * TICKS
    assert abs(made["video"][30][1] - 1.5 * TICKS) <= 2


@given(st.lists(st.tuples(st.integers(0, WRAP - 1), st.integers(0, (1 << 64) - 1)), max_size=20))
def test_no_report_turns_time_back_or_moves_it_far(reports: list[tuple[int, int]]) -> None:
    clocks = {kind: TrackClock(rate) for kind, rate in RATES.items()}
    before = dict.fromkeys(RATES, 0)
    for number in range(40):
        for kind, clock in clocks.items():
            ticks = clock.ticks(number * RATES[kind] // 25, number / 25)
            assert before[kind] <= ticks <= number / 25 * TICKS + APART_MAX + 1
            before[kind] = ticks
            if reports:
                clock.report(*reports.pop())
                align(clocks["audio"], clocks["video"])
