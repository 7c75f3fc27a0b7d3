"""How sizes and rates are written."""

import pytest

from api.vis.streams import rate, size


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 MB"), (1048576, "1 MB"), (115_632_763, "110.276 MB"), (2**30, "1 GB"), (2**40, "1024 GB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(("bits", "text"), [(0, "0 Kb/s"), (100_000, "100 Kb/s"), (102_883, "102.883 Kb/s")])
def test_rates(bits: int, text: str) -> None:
    assert rate(bits) == text
