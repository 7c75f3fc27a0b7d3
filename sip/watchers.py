"""Messages shown to whoever looks at them, as they went over the wire."""

from collections.abc import Callable
from dataclasses import dataclass

from sip.flow import Flow


@dataclass(frozen=True, slots=True)
class Trace:
    """One message as it went over the wire, for people to read; `sent` by us or received. `at` is monotonic seconds."""

    at: float
    sent: bool
    flow: Flow
    data: bytes


class Watchers:
    """Those who look now; mostly nobody, and then it is false and nothing need be made for them."""

    def __init__(self, guard: Callable[..., None]) -> None:
        """`guard(callback, trace)` calls back and bears what is raised."""
        self._guard = guard
        self._callbacks: list[Callable[[Trace], None]] = []

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def add(self, callback: Callable[[Trace], None]) -> Callable[[], None]:
        """Shows each message from now on; returns what ends it."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def show(self, trace: Trace) -> None:
        """Shows a message to everybody."""
        for callback in list(self._callbacks):
            self._guard(callback, trace)
