"""Work that leaves something behind if it is broken off."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

SECONDS_MAX: Final = 10.0
_GOING: Final[set[asyncio.Task[None]]] = set()
"""The loop itself does not keep its tasks."""


async def unbroken(work: Coroutine[Any, Any, None]) -> None:
    """Does it to its end also if the caller is cancelled, who waits for that some seconds and is cancelled then."""
    task = asyncio.create_task(work)
    _GOING.add(task)
    task.add_done_callback(_GOING.discard)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=SECONDS_MAX)
        raise
