"""Runs what the application registered with an endpoint: plain functions at once, coroutine functions as tasks.

Nothing that a handler raises gets out: a failure costs one request, is counted and logged, and the socket is read on.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class HandlerTasks:
    """The tasks of one endpoint's handlers, at most `limit` at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self.errors = 0
        """Handlers and callbacks that raised; only grows."""

    def __len__(self) -> int:
        """Tasks that run now."""
        return len(self._tasks)

    @property
    def full(self) -> bool:
        """Nothing more may be run: what was asked for is to be refused."""
        return len(self._tasks) >= self._limit

    def run(self, handler: Callable[[T], Awaitable[None] | None], argument: T, failed: Callable[[], None]) -> None:
        """Calls a handler; if it is a coroutine function, its coroutine runs as a task. `failed` is called if
        it raises."""
        try:
            result = handler(argument)
        except Exception:
            self._failed(failed)
            return
        if inspect.iscoroutine(result):
            task = asyncio.get_running_loop().create_task(self._finish(result, failed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _task: result.close())  # it never began if the endpoint was left at once

    def guard(self, callback: Callable[..., None], *arguments: object) -> None:
        """Calls back; a failure there must not stop the reading of the socket."""
        try:
            callback(*arguments)
        except Exception:
            self.errors += 1
            logger.exception("SIP callback failed")

    async def stop(self) -> None:
        """Cancels what still runs and waits for its end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish(self, coroutine: Coroutine[Any, Any, None], failed: Callable[[], None]) -> None:
        try:
            await coroutine
        except Exception:
            self._failed(failed)

    def _failed(self, failed: Callable[[], None]) -> None:
        self.errors += 1
        logger.exception("SIP handler failed")
        failed()
