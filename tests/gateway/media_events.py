"""An event of the relay as a plain value, for hearers that are told without one."""

from dataclasses import dataclass, field

from tests.gateway.streams.samples import NOW


@dataclass(frozen=True)
class Event:
    """All that `media._core.Event` tells; of no stream and with nothing to say, unless told otherwise."""

    kind: str
    receiver: int = 0
    detail: dict[str, str] = field(default_factory=dict)
    at_ms: int = round(NOW.timestamp() * 1000)
    app: str = ""
    name: str = ""
