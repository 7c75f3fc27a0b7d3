"""A relay that does nothing but note what it is told."""

from dataclasses import dataclass
from typing import Any

from media._core import CoreError


@dataclass
class Pushed:
    id: int
    state: str = "pushing"
    bytes_out: int = 7
    failures: int = 0


@dataclass
class Handle:
    id: int


class NotingRelay:
    """Notes what it is told to do; like the core it has one source a stream."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[str, str]] = {}
        self.told: list[tuple[Any, ...]] = []
        self.refused: dict[int, str] = {}
        self.accepted: set[int] = set()
        self.unauthorized: set[int] = set()
        self.pushed: dict[int, Pushed] = {}
        self.transports: dict[str, str] = {}
        self.broken = False

    def open_pull(self, app: str, name: str, url: str, **settings: Any) -> Handle:
        if self.broken:
            raise CoreError("no")
        assert settings.pop("label") == "1"
        assert settings.pop("command") == ()
        self.transports[url] = settings.pop("transport")
        self.told.append(("pull", name, url, settings))
        return Handle(self._take(app, name))

    def switch_pull(self, receiver: int, url: str, **settings: Any) -> None:
        self.transports[url] = settings.pop("transport")
        self.told.append(("switch", receiver, url, settings))

    def standby_pull(self, receiver: int, inputs: Any) -> None:
        self.transports |= {url: transport for _, url, _, transport, _ in inputs}
        self.told.append(("standby", receiver, [(label, url) for label, url, *_ in inputs]))

    def accept_publish(self, ticket: int, app: str, name: str, **settings: Any) -> int:
        receiver = self._take(app, name)
        self.accepted.add(ticket)
        self.told.append(("accept", ticket, name, settings))
        return receiver

    def _take(self, app: str, name: str) -> int:
        if (app, name) in self.open.values():
            raise CoreError("the stream has a source")
        receiver = len(self.told) + 100
        self.open[receiver] = (app, name)
        return receiver

    def open_push(self, receiver: int, url: str, *, allow_private: bool, transport: str) -> int:
        if "127.0.0.1" in url and not allow_private:
            raise CoreError("cannot push: the address 127.0.0.1 is not one of the public internet")
        self.transports[url] = transport
        self.told.append(("push", receiver, url))
        self.pushed[len(self.told)] = Pushed(len(self.told))
        return len(self.told)

    def close_push(self, push: int) -> None:
        del self.pushed[push]
        self.told.append(("close push", push))

    def pushes(self) -> list["Pushed"]:
        return list(self.pushed.values())

    def refuse_publish(self, ticket: int, reason: str, *, unauthorized: bool = False) -> None:
        self.refused[ticket] = reason
        if unauthorized:
            self.unauthorized.add(ticket)

    def close_receiver(self, receiver: int) -> None:
        del self.open[receiver]
        self.told.append(("close", receiver))

    def set_private(self, app: str, name: str, private: bool) -> None:
        self.told.append(("private", name, private))

    def set_generation(self, app: str, name: str, generation: int) -> None:
        self.told.append(("generation", name, generation))

    def answer_play(self, ticket: int, allowed: bool) -> None:
        self.told.append(("play", ticket, allowed))
