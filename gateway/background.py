"""Tasks that run as long as the gateway does. One that dies takes the gateway down: it must not limp on unseen."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Self

import structlog

log = structlog.get_logger(__name__)


class Background:
    """An async context manager; left, it cancels its tasks and waits for them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed = asyncio.Event()
        """Set when a task died of an error."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Starts a task."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("a background task died", task=task.get_name(), exc_info=error)
            self.failed.set()
