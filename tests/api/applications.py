"""Applications that worlds use one after the other: to build one takes longer than most tests do.

An application keeps nothing of those it served; what it counts goes to the registry of the world it serves.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from litestar import Litestar

from api.application import Application, Figures, create
from api.services import Gateway


class Doorway:
    """Stands for the gateway of whatever world is served now."""

    def __init__(self, gateway: Gateway) -> None:
        self.behind: Gateway | None = gateway

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


_idle: list[tuple[Application, Doorway]] = []


@contextmanager
def lent(gateway: Gateway, failed: Callable[[], bool]) -> Iterator[Litestar]:
    """An application that serves this gateway; several at once are several applications. `failed`: whether the test
    did, asked at its end: what it left running must not meet the next world."""
    if _idle:
        application, doorway = _idle.pop()
        doorway.behind = gateway
        application._figures = Figures(gateway)
    else:
        doorway = Doorway(gateway)
        application = cast(Application, create(cast(Gateway, doorway)))
    yield application
    doorway.behind = None
    if not failed():
        _idle.append((application, doorway))
