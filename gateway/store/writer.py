"""The one writer: whatever waits is committed together (group commit), and each caller returns when it is durable.

A commit costs one sync of the disk however much is in it, so the more callers wait the cheaper each one is. Calls in
flight at the same time have no order between them, except batches of one kind, which keep theirs.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import asyncpg
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.errors import GatewayError, InvalidError, UnavailableError

T = TypeVar("T")
Item = TypeVar("Item")
Transaction = Callable[[AsyncConnection], Awaitable[T]]
Batch = Callable[[AsyncConnection, Sequence[Item]], Awaitable[None]]

QUEUE_LIMIT: Final = 50_000
"""Waiting calls; beyond it a call fails at once with UnavailableError, counted in `refused`."""
GROUP_LIMIT: Final = 2_000
"""Calls in one commit: bounds how long the first of them waits."""
DATA_EXCEPTION: Final = "22"
FAILURES: Final = (sa.exc.SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a database that fails raises: SQLAlchemy hands on as it is what a connection that cannot be made raises."""
_CHANGED: Final = "gateway_changed_devices"

log = structlog.get_logger(__name__)


class Changed:
    """Ids of devices whose rows were written, told to a listener after each commit.

    After a failed one too: what became of it is not always known, and to look once too often does no harm.
    """

    def __init__(self) -> None:
        self._listener: Callable[[Collection[str]], None] | None = None

    def listen(self, listener: Callable[[Collection[str]], None]) -> None:
        """One listener only; it is called on the loop and must not raise."""
        self._listener = listener

    def tell(self, device_ids: Collection[str]) -> None:
        """Gives the listener what was noted in a transaction that has ended."""
        if device_ids and self._listener is not None:
            self._listener(device_ids)


def note_changed(connection: AsyncConnection, device_ids: Iterable[str]) -> None:
    """Inside a transaction of the writer: rows of these devices are new, other or gone once it commits."""
    sync = connection.sync_connection
    assert sync is not None
    sync.get_execution_options()[_CHANGED].update(device_ids)


@dataclass(slots=True)
class WriterCounters:
    """What the writer has done since it started."""

    calls: int = 0
    commits: int = 0
    failed: int = 0
    refused: int = 0


@dataclass(slots=True, eq=False)
class _Work:
    """One call: a transaction of its own, or items of a kind that are written together with others."""

    done: asyncio.Future[Any]
    transaction: Transaction[Any] | None = None
    kind: Batch[Any] | None = None
    items: Sequence[Any] = ()
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class _Step:
    works: list[_Work] = field(default_factory=list)


class Writer:
    """Runs transactions one group after the other; an async context manager that drains its queue when left."""

    def __init__(self, engine: AsyncEngine, *, queue_limit: int = QUEUE_LIMIT, group_limit: int = GROUP_LIMIT) -> None:
        self.counters = WriterCounters()
        self.changed = Changed()
        self._engine = engine
        self._queue: deque[_Work] = deque()
        self._queue_limit = queue_limit
        self._group_limit = group_limit
        self._ready = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._serve(), name="store writer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._ready.set()
        if self._task is not None:
            await self._task

    @property
    def waiting(self) -> int:
        """Calls that are not in a group yet."""
        return len(self._queue)

    async def run(self, transaction: Transaction[T]) -> T:
        """Runs `transaction` and returns its result once it is durable; what it raises undoes it alone."""
        return cast(T, await self._submit(_Work(asyncio.get_running_loop().create_future(), transaction=transaction)))

    async def batch(self, kind: Batch[Item], items: Sequence[Item]) -> None:
        """Writes `items` with all others of their kind that wait; returns once they are durable."""
        if items:
            await self._submit(_Work(asyncio.get_running_loop().create_future(), kind=kind, items=items))

    async def _submit(self, work: _Work) -> Any:
        if self._closing or len(self._queue) >= self._queue_limit:
            self.counters.refused += 1
            raise UnavailableError("the database cannot keep up" if not self._closing else "the database is closed")
        self._queue.append(work)
        self._ready.set()
        return await work.done

    async def _serve(self) -> None:
        while True:
            await self._ready.wait()
            if not self._queue:
                if self._closing:
                    return
                self._ready.clear()
                continue
            group = [self._queue.popleft() for _ in range(min(len(self._queue), self._group_limit))]
            await self._commit(group)

    async def _commit(self, group: list[_Work]) -> None:
        changed: set[str] = set()
        try:
            async with self._engine.begin() as connection:
                await connection.execution_options(**{_CHANGED: changed})
                await _perform_all(connection, group)
        except Exception as error:  # the outermost frame of a group: whatever it is, the callers must learn of it
            failure = _translate(error)
            if len(group) > 1:
                log.warning("a group of writes failed", calls=len(group), error=repr(error))
            for work in group:
                work.error = work.error or failure
        self.changed.tell(changed)
        self.counters.calls += len(group)
        self.counters.commits += 1
        for work in group:
            self._finish(work)

    def _finish(self, work: _Work) -> None:
        if work.error is not None:
            self.counters.failed += 1
        if work.done.done():  # its caller was cancelled; the write stands
            return
        if work.error is None:
            work.done.set_result(work.result)
        else:
            work.done.set_exception(work.error)


def _plan(group: Sequence[_Work]) -> list[_Step]:
    """The group in order of arrival, batches of one kind drawn together at the place of the first."""
    steps: list[_Step] = []
    of_kind: dict[Batch[Any], _Step] = {}
    for work in group:
        if work.kind is None:
            steps.append(_Step([work]))
            continue
        step = of_kind.get(work.kind)
        if step is None:
            step = of_kind[work.kind] = _Step()
            steps.append(step)
        step.works.append(work)
    return steps


async def _perform_all(connection: AsyncConnection, group: list[_Work]) -> None:
    if len(group) == 1:  # the transaction is savepoint enough
        await _execute(connection, group)
        return
    for step in _plan(group):
        await _perform(connection, step.works)


async def _perform(connection: AsyncConnection, works: list[_Work]) -> None:
    """Runs one step under a savepoint; if a drawn-together batch fails, each call in it again by itself."""
    try:
        async with connection.begin_nested():
            await _execute(connection, works)
    except Exception as error:
        if connection.invalidated:
            raise
        if len(works) == 1:
            works[0].error = _translate(error)
            return
        for work in works:
            await _perform(connection, [work])


async def _execute(connection: AsyncConnection, works: list[_Work]) -> None:
    first = works[0]
    if first.transaction is not None:
        first.result = await first.transaction(connection)
    elif first.kind is not None:
        items = first.items if len(works) == 1 else [item for work in works for item in work.items]
        await first.kind(connection, items)


def _translate(error: Exception) -> Exception:
    """Broken constraints and domain errors go to the caller as they are; the rest means the database failed."""
    if isinstance(error, GatewayError | sa.exc.IntegrityError) or not isinstance(error, FAILURES):
        return error
    failure = translated(error)
    failure.__cause__ = error
    return failure


def translated(error: Exception) -> GatewayError:
    """What the caller learns: that a value cannot be kept (SQLSTATE class 22), or that the database failed."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    if state.startswith(DATA_EXCEPTION):
        return InvalidError("text", "holds characters or numbers that cannot be stored")
    return UnavailableError(f"the database failed: {type(error).__name__}")
