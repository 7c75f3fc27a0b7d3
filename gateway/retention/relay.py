"""As much of the relay as recording needs (`media.relay.Relay`, `media._core`)."""

from collections.abc import Sequence
from typing import Protocol


class Flowing(Protocol):
    """A stream of the relay (`media._core.Stream`)."""

    @property
    def app(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def receiver(self) -> int: ...
    @property
    def first_packet_ms(self) -> int | None: ...


class RecordingRelay(Protocol):
    """As much of the relay as records. Both calls raise CoreError."""

    def record(
        self, receiver: int, *, directory: str, slice_ms: int, utc_offset_ms: int, tag: str, form: str | None = None
    ) -> int:
        """Starts a recording; its id in the relay. `form`: flv or fmp4; None is what fits the coding."""

    def stop_recording(self, recording: int) -> None:
        """Ends it; its last slice follows."""

    def streams(self) -> Sequence[Flowing]:
        """A snapshot; waits, so it is asked for off the loop."""
