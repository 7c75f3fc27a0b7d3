"""Tasks that run as long as the gateway does. One that dies takes the gateway down: it must not limp on unseen."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Self


class Background:
    """An async context manager; left, it cancels the tasks that were spawned here and waits for them."""

    def __init__(self) -> None:
        self.group = asyncio.TaskGroup()
        """Parent of all; an error in one of its tasks cancels whoever entered us."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.group.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        for task in self._tasks:
            task.cancel()
        await self.group.__aexit__(*error)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Starts a task."""
        task = self.group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
