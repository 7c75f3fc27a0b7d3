"""One timer of an event loop for the earliest of many deadlines.

Armed too early is fine: it fires, and its owner arms it anew. So a deadline that only moves later costs nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Final

MIN_DELAY: Final = 0.001
"""Seconds; sockets get their turn, however much is due."""


class Alarm:
    """Calls back once after `arm`; made inside a running loop, whichever it is."""

    __slots__ = ("_callback", "_due", "_handle", "_loop")

    def __init__(self, callback: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._callback = callback
        self._due: float | None = None
        self._handle: asyncio.Handle | None = None

    def arm(self, due: float | None) -> None:
        """Has the callback come at `due` (seconds of the loop's clock) or before; None asks for nothing."""
        if due is None or (self._due is not None and self._due <= due):
            return
        self.stop()
        self._due = due
        self._handle = self._loop.call_at(max(due, self._loop.time() + MIN_DELAY), self._fire)

    def stop(self) -> None:
        """The callback does not come unless armed again."""
        if self._handle is not None:
            self._handle.cancel()
        self._due = self._handle = None

    def _fire(self) -> None:
        self._due = self._handle = None
        self._callback()
