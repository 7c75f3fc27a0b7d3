"""Group commit: what waits is committed together, and each caller gets only its own failure."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.errors import ConflictError, UnavailableError
from gateway.store.engine import open_engines
from gateway.store.writer import Writer

items = sa.Table("item", sa.MetaData(), sa.Column("name", sa.Text, primary_key=True))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    writing, reading = open_engines(f"sqlite:///{tmp_path / 'writer.db'}")
    async with writing.begin() as connection:
        await connection.run_sync(items.metadata.create_all)
    yield writing
    await writing.dispose()
    await reading.dispose()


@pytest.fixture
async def writer(engine: AsyncEngine) -> AsyncIterator[Writer]:
    async with Writer(engine) as writer:
        yield writer


async def insert(connection: AsyncConnection, names: Sequence[str]) -> None:
    await connection.execute(sa.insert(items), [{"name": name} for name in names])


async def stored(writer: Writer) -> set[str]:
    async def read(connection: AsyncConnection) -> set[str]:
        return set((await connection.scalars(sa.select(items.c.name))).all())

    return await writer.run(read)


async def test_a_result_comes_back(writer: Writer) -> None:
    async def work(connection: AsyncConnection) -> int:
        return int(await connection.scalar(sa.select(sa.literal(42))) or 0)

    assert await writer.run(work) == 42


async def test_whatever_waits_is_committed_together(writer: Writer) -> None:
    await asyncio.gather(*(writer.batch(insert, [str(number)]) for number in range(500)))
    assert writer.counters.commits <= 2
    assert len(await stored(writer)) == 500


async def test_a_failing_call_does_not_spoil_the_others(writer: Writer) -> None:
    async def fail(connection: AsyncConnection) -> None:
        await insert(connection, ["half"])
        raise ConflictError("no")

    results = await asyncio.gather(
        writer.batch(insert, ["a"]),
        writer.batch(insert, ["b", "a"]),  # breaks the whole batch, so each is tried by itself
        writer.run(fail),
        writer.batch(insert, ["c"]),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), sa.exc.IntegrityError, ConflictError, type(None)]
    assert await stored(writer) == {"a", "c"}


async def test_a_broken_statement_is_the_databases_failure(writer: Writer) -> None:
    async def broken(connection: AsyncConnection) -> None:
        await connection.execute(sa.text("SELECT * FROM nothing"))

    with pytest.raises(UnavailableError):
        await writer.run(broken)
    await writer.batch(insert, ["after"])
    assert await stored(writer) == {"after"}


async def test_a_caller_that_goes_away_does_no_harm(writer: Writer) -> None:
    task = asyncio.create_task(writer.batch(insert, ["kept"]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await writer.batch(insert, ["next"])
    assert await stored(writer) == {"kept", "next"}


async def test_a_full_queue_refuses_at_once(engine: AsyncEngine) -> None:
    async with Writer(engine, queue_limit=3) as writer:
        results = await asyncio.gather(
            *(writer.batch(insert, [str(number)]) for number in range(5)), return_exceptions=True
        )
        assert sum(isinstance(result, UnavailableError) for result in results) == 2
        assert (writer.counters.refused, len(await stored(writer))) == (2, 3)


async def test_what_waits_is_written_before_it_closes(engine: AsyncEngine) -> None:
    async with Writer(engine, group_limit=10) as writer:
        waiting = [asyncio.create_task(writer.batch(insert, [str(number)])) for number in range(95)]
        await asyncio.sleep(0)
    assert all(task.done() and task.exception() is None for task in waiting)
    with pytest.raises(UnavailableError, match="closed"):
        await writer.batch(insert, ["late"])
    async with engine.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(items)) == 95


async def test_nothing_is_not_written(writer: Writer) -> None:
    await writer.batch(insert, [])
    assert writer.counters.commits == 0
