"""What the application answers is what its schema says, whatever is sent: made-up requests to every call."""

import asyncio
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.application import create
from gateway.store import SecretBox, Store
from tests.api.conftest import Server
from tests.api.world import NOW, World
from tests.databases import sqlite

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "10"))
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
)


class Running:
    """A world served on loopback by a thread of its own, for a client that blocks; furnished with things to find."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.project = self.token = ""
        self._ready = threading.Event()
        self._done: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> "Running":
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._done()
        self._thread.join(30)
        self._socket.close()

    async def _serve(self) -> None:
        async with Store.open(sqlite(self._folder), secrets=SecretBox.load(self._folder / "secret.key")) as store:
            world = World(store, local_root=self._folder)
            first = await world.first_start()
            self.project = first.project.project_id
            self.token, _ = await world.accounts.log_in("admin", "Secret-1234", NOW)
            server = Server(uvicorn.Config(create(world.gateway), lifespan="off", log_level="warning"))
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            self._done = lambda: loop.call_soon_threadsafe(ended.set)
            task = asyncio.create_task(server.serve([self._socket]))
            await server.ready.wait()
            await self._furnish(world)
            self._ready.set()
            await ended.wait()
            server.should_exit = True
            await task

    async def _furnish(self, world: World) -> None:
        headers = {"X-Auth-Token": self.token}
        async with httpx.AsyncClient(base_url=self.url, headers=headers) as http:
            for path, body in (
                ("credentials/codes", {"username": "0100", "password": "Secret-1234"}),
                ("devices", {"type": "IPC", "username": "0100"}),
                ("devices", {"type": "NVR", "username": "0100"}),
                ("streams", {"name": "stream1", "access_type": "RTMP", "encode_type": "H264"}),
            ):
                answer = await http.post(f"/v1/{self.project}/{path}", json=body)
                assert answer.status_code == 200, answer.text
        for device_id in (IPC, NVR):
            await world.register(device_id, self.project)


IPC, NVR, CHANNEL = "34020000001320000001", "34020000001180000001", "34020000001310000001"
KNOWN = {
    "device_id": (IPC, NVR),
    "channel_id": (CHANNEL,),
    "stream_name": ("stream1", f"channel_{NVR}_{CHANNEL}"),
    "username": ("0100",),
    "name": ("admin",),
}
"""Path parameters by name: what is there."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("schema")) as found:
        yield found


@pytest.fixture(scope="module")
def schema(running: Running) -> Any:
    return schemathesis.openapi.from_url(f"{running.url}/schema/openapi.json")


def operations(schema: Any, family: str) -> list[Any]:
    found = [found.ok() for found in schema.get_all_operations()]
    return [operation for operation in found if operation.path.startswith(family)]


def cases(operation: Any) -> st.SearchStrategy[Any]:
    """Requests that obey the schema, and some that do not."""
    good = operation.as_strategy()
    if operation.body or operation.query:
        return st.one_of(good, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    return good


def at_home(running: Running, case: Any, data: st.DataObject) -> None:
    """Lets a request find something mostly: the right project and token, and things that are there."""
    parameters = case.path_parameters or {}
    for name, known in KNOWN.items():
        if name in parameters:
            parameters[name] = data.draw(st.sampled_from([*known, parameters[name]]))
    if "project_id" in parameters:
        parameters["project_id"] = running.project
    token = data.draw(st.sampled_from([running.token] * 15 + ["nonsense"]))
    case.headers = {**(case.headers or {}), "X-Auth-Token": token}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("family", ["/v1/", "/v3/", "/gb/v1/"])
def test_answers_are_those_of_the_schema(running: Running, schema: Any, family: str) -> None:
    failures: list[str] = []
    with requests.Session() as session:
        for operation in operations(schema, family):

            @settings(
                max_examples=EXAMPLES,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=cases(operation), data=st.data())
            def attempt(case: Any, data: st.DataObject) -> None:
                at_home(running, case, data)
                if "/packets" in case.path:
                    return  # a stream without end
                case.call_and_validate(base_url=running.url, session=session, checks=CHECKS, timeout=30)

            try:
                attempt()
            except Exception as error:  # all are told together
                failures.append(f"{operation.label}\n{_told(error)}")
    assert not failures, "\n\n".join(failures)


def _told(error: BaseException) -> str:
    parts = getattr(error, "exceptions", ())
    return "\n".join([str(error), *(_told(part) for part in parts)])


ODD = ("a%00b", "%FF%FE", "%ED%A0%80", "9" * 400, "%2e%2e%2f", "%0d%0aX:1", "1e400")
"""Percent-encoded: NUL, bytes that are no UTF-8, half a surrogate pair, long, climbing, a line break, a number."""


@pytest.mark.timeout(300)
def test_odd_text_is_refused_or_not_found(running: Running, schema: Any) -> None:
    """In the parameters of each call."""
    told: list[str] = []
    with httpx.Client(base_url=running.url, headers={"X-Auth-Token": running.token}, timeout=30) as http:
        for operation in operations(schema, "/"):
            for odd in ODD if operation.path.startswith(tuple(FAMILIES)) else ():
                for path in odd_paths(operation, odd, running.project):
                    answer = http.request(operation.method.upper(), path, json=None)
                    if answer.status_code >= 500 or str(answer.status_code) not in documented(operation):
                        told.append(f"{operation.method} {path}: {answer.status_code} {answer.text[:200]}")
    assert not told, "\n".join(told)


FAMILIES = ("/v1/", "/v3/", "/gb/v1/")


def documented(operation: Any) -> set[str]:
    """The statuses that the schema tells of a call."""
    return set(operation.definition.raw["responses"])


def odd_paths(operation: Any, odd: str, project: str) -> Iterator[str]:
    """The path with one of its parameters being odd, for each but the project, and with all of its query being odd."""
    names = re.findall(r"\{(\w+)\}", operation.path)
    for strange in set(names) - {"project_id"}:
        values = {name: KNOWN.get(name, ("nothing",))[0] for name in names} | {"project_id": project, strange: odd}
        yield operation.path.format(**values)
    values = {name: KNOWN.get(name, ("nothing",))[0] for name in names} | {"project_id": project}
    if query := "&".join(f"{parameter.name}={odd}" for parameter in operation.query):
        yield f"{operation.path.format(**values)}?{query}"


BODIES = (
    b"\x00",
    b'"\xff"',
    b'{"a": "\xed\xa0\x80"}',
    b'{"name": "a\\u0000b", "username": "\\u0000", "description": "\\ud800", "type": "IPC"}',
    b'{"quantity": 1e400, "total_length": 99999999999999999999999999}',
    b"[" * 5000,
    b"{}",
    b"null",
    b'{"name": 5, "username": [], "state": {}, "description": 7}',
)


@pytest.mark.timeout(300)
def test_odd_bodies_are_refused(running: Running, schema: Any) -> None:
    told: list[str] = []
    headers = {"X-Auth-Token": running.token, "Content-Type": "application/json"}
    with httpx.Client(base_url=running.url, headers=headers, timeout=30) as http:
        for operation in operations(schema, "/"):
            if not operation.body:
                continue
            names = re.findall(r"\{(\w+)\}", operation.path)
            values = {name: KNOWN.get(name, ("nothing",))[0] for name in names} | {"project_id": running.project}
            for body in BODIES:
                answer = http.request(operation.method.upper(), operation.path.format(**values), content=body)
                if answer.status_code >= 500 or str(answer.status_code) not in documented(operation):
                    told.append(f"{operation.label} {body[:60]!r}: {answer.status_code} {answer.text[:200]}")
    assert not told, "\n".join(told)
