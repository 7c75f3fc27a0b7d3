"""Any history is a path through the table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import IllegalTransitionError
from gateway.streams.source import PRESENT, TRANSITIONS, Source, SourceCause, SourceState

S, C = SourceState, SourceCause


@given(st.lists(st.tuples(st.sampled_from(C), st.sampled_from(["", "refused", "no route"]))))
def test_any_history_is_a_path_through_the_table(causes: list[tuple[SourceCause, str]]) -> None:
    source = Source()
    for cause, reason in causes:
        before, failures = source.state, source.failures
        if (before, cause) not in TRANSITIONS:
            with pytest.raises(IllegalTransitionError):
                source.handle(cause, reason)
            assert (source.state, source.failures) == (before, failures)
            continue
        was, now, _ = source.handle(cause, reason)
        assert (was, now, source.state) == (before, TRANSITIONS[before, cause], TRANSITIONS[before, cause])
        assert not (now in PRESENT and source.failures)


def test_every_state_is_reached_and_ends() -> None:
    assert set(TRANSITIONS.values()) == set(S)
    for state in S:
        assert TRANSITIONS[state, C.ENDED] is S.IDLE


def test_an_outage_is_a_few_lines_however_long() -> None:
    source = Source()
    steps: list[tuple[SourceCause, str]] = [
        (C.OPENED, ""),
        *[(C.CONNECT_FAILED, "refused")] * 1000,
        (C.SILENCE, ""),
        *[(C.CONNECT_FAILED, "refused")] * 1000,
        *[(C.CONNECT_FAILED, "no route")] * 1000,
        (C.CONNECTED, ""),
        (C.MEDIA, ""),
        (C.MEDIA, ""),
        (C.DISCONNECTED, "reset"),
        (C.CONNECT_FAILED, "refused"),
        (C.CONNECTED, ""),
    ]
    told = [(cause, reason) for cause, reason in steps if source.handle(cause, reason)[2]]
    assert told == [
        (C.OPENED, ""),
        (C.CONNECT_FAILED, "refused"),
        (C.CONNECT_FAILED, "no route"),
        (C.CONNECTED, ""),
        (C.MEDIA, ""),
        (C.DISCONNECTED, "reset"),
        (C.CONNECT_FAILED, "refused"),
        (C.CONNECTED, ""),
    ]


def test_failures_count_until_it_is_there() -> None:
    source = Source()
    source.handle(C.OPENED)
    for number in range(1, 4):
        source.handle(C.CONNECT_FAILED, "refused")
        assert source.failures == number
    source.handle(C.CONNECTED)
    assert source.failures == 0
