"""A real S3 server for the tests of retention."""

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from tests import s3

_numbers = count(1)


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
