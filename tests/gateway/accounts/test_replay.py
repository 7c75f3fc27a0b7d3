"""Signatures seen before."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.accounts.replay import SeenSignatures
from gateway.errors import UnavailableError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIFE = timedelta(minutes=15)


def test_a_signature_counts_once_until_it_has_aged_out() -> None:
    seen = SeenSignatures()
    assert seen.add("a" * 64, NOW + LIFE, NOW)
    for later in (NOW, NOW + timedelta(minutes=14, seconds=59), NOW + LIFE):
        assert not seen.add("a" * 64, NOW + LIFE, later)
    assert seen.add("b" * 64, NOW + LIFE, NOW)
    assert len(seen) == 2
    assert seen.add("c" * 64, NOW + 3 * LIFE, NOW + 2 * LIFE)
    assert len(seen) == 1


def test_a_full_memory_refuses_and_forgets_nothing() -> None:
    seen = SeenSignatures(capacity=3)
    for number in range(3):
        assert seen.add(f"{number:064x}"[::-1], NOW + LIFE, NOW)
    with pytest.raises(UnavailableError):
        seen.add("f" * 64, NOW + LIFE, NOW)
    assert not seen.add(f"{0:064x}"[::-1], NOW + LIFE, NOW)
    assert seen.add("f" * 64, NOW + 3 * LIFE, NOW + 2 * LIFE)
