"""One heap for all deadlines."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.gb28181.deadlines import Deadlines


def test_a_later_deadline_keeps_the_earlier_entry_and_an_earlier_one_replaces_it() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 10.0)
    deadlines.set("a", 20.0)
    assert deadlines.next_timeout() == 10.0
    deadlines.set("a", 5.0)
    assert deadlines.next_timeout() == 5.0
    assert deadlines.pop_due(4.9) is None
    assert deadlines.pop_due(5.0) == "a"
    assert deadlines.pop_due(50.0) is None
    assert len(deadlines) == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100), st.booleans()), max_size=300))
def test_every_key_fires_once_at_its_earliest_and_memory_is_bounded(steps: list[tuple[int, int, bool]]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    model: dict[int, float] = {}
    for key, due, keep in steps:
        if keep:
            deadlines.set(key, due)
            model[key] = min(due, model.get(key, due))
        else:
            deadlines.discard(key)
            model.pop(key, None)
        assert deadlines.next_timeout() == min(model.values(), default=None)
        assert len(deadlines._heap) <= 2 * len(model) + 65
    fired = {}
    while (key_due := deadlines.pop_due(1000.0)) is not None:
        assert key_due not in fired
        fired[key_due] = model[key_due]
    assert list(fired.values()) == sorted(model.values())
