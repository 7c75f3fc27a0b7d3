"""A stream's units on asyncio: `async for unit in units`, woken by the subscription's descriptor."""

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

from media._core import Subscription, Unit, UnitTracks

_AT_ONCE = 64
"""Units taken in one call; then the loop's other work has its turn."""


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class Units:
    """Reads one subscription; ends with the stream, or when closed. One reader, in one loop."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self._waiting: deque[Unit | UnitTracks] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def dropped(self) -> int:
        """Units that were lost, see `Subscription.dropped`."""
        return self.subscription.dropped

    def close(self) -> None:
        """Ends it: whoever reads comes to the end."""
        self.subscription.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Unit | UnitTracks:
        while not self._waiting:
            taken = self.subscription.read(_AT_ONCE)
            if taken is None:
                raise StopAsyncIteration
            self._waiting.extend(taken)
            if not taken:
                await self._readable()
        return self._waiting.popleft()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_reader(self.subscription.fd, _wake, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self.subscription.fd)
