"""What the relay tells of receivers and streams, as every hearer of it in the gateway takes it. Pure."""

from collections.abc import Mapping
from typing import Protocol


class MediaEvent(Protocol):
    """Something happened to a receiver or stream (`media._core.Event`, which lists the kinds)."""

    @property
    def kind(self) -> str: ...
    @property
    def receiver(self) -> int:
        """0 where it is of none: the whole core, or somebody who waits to publish."""

    @property
    def app(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def at_ms(self) -> int:
        """Unix time in milliseconds."""

    @property
    def detail(self) -> Mapping[str, str]:
        """What the kind says of itself, by name. A token that was shown stands in it: no log takes it whole."""
