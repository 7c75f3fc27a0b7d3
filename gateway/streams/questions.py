"""Questions of the relay that need the database: answered a few at a time, and not beyond a bound."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

import structlog

AT_ONCE: Final = 16
WAITING_MAX: Final = 1_000

log = structlog.get_logger(__name__)


class Questions:
    """An async context manager; left or closed, it drops what is not answered: the relay refuses that in time."""

    def __init__(self, *, at_once: int = AT_ONCE, waiting_max: int = WAITING_MAX) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._waiting_max = waiting_max
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Drops what is not answered."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def ask(self, answer: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Has the question answered by and by; False, and it is not, if too many wait."""
        if len(self._tasks) >= self._waiting_max:
            return False
        task = asyncio.create_task(self._run(answer))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return True

    async def _run(self, answer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with self._room:
            await answer()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a question of the relay was not answered", exc_info=error)
