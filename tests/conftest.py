"""A real S3 server for the tests of retention; a second try for tests of real programs in real time; properties."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import s3

# An example has no time limit, nor has making it: the machine may be busy. This comes before any property is read.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

_numbers = count(1)

REAL_TIME = tuple(Path(__file__).parent / name for name in ("e2e", "media"))
"""Here foreign programs, browsers and datagrams play in real time, and a machine that is busy for a second can break a
test that is right: each has a second try. That it was needed is told in the summary."""


LONG_S = 240
"""Who may take longer than that begins first in one of the processes: nobody waits for it at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if any(folder in item.path.parents for folder in REAL_TIME):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=3))
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    long = sorted((item for item in items if limit(item) > LONG_S), key=limit, reverse=True)
    short = [item for item in items if limit(item) <= LONG_S]
    share = len(short) // processes + 1  # each begins with an equal share, in this order, and takes of others' ends
    items[:] = []
    for number in range(processes):
        items += [*long[number::processes], *short[number * share : (number + 1) * share]]


def limit(item: pytest.Item) -> float:
    """Seconds that a test asks for itself; 0 for most."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


@pytest.fixture(scope="session")
def s3_server() -> Iterator[s3.Server]:
    with s3.start() as server:
        yield server


@pytest.fixture
def bucket(s3_server: s3.Server) -> str:
    """The name of a new, empty bucket."""
    name = f"bucket-{next(_numbers)}"
    s3_server.make_bucket(name)
    return name


@pytest.fixture
async def broken(s3_server: s3.Server) -> AsyncIterator[tuple[int, s3.Faults]]:
    """A way to the server that can be broken: its port, and what breaks it."""
    async with s3.proxy(s3_server) as found:
        yield found
