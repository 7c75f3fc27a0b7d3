"""The application over real HTTP: uvicorn on a Unix socket, as behind the front door, and httpx."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from api.errors import STATUS
from gateway.store import SecretBox, Store
from tests.api import applications
from tests.api.world import World
from tests.databases import sqlite

FAILED = pytest.StashKey[bool]()
"""On a test: it failed."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.excinfo is not None:
        item.stash[FAILED] = True


class Client:
    """Calls as one user, with the project put into the path."""

    def __init__(self, http: httpx.AsyncClient, project_id: str, token: str | None) -> None:
        self.http = http
        self.project_id = project_id
        self.token = token

    async def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        """`path` is below /v1/{project_id} unless it begins with a slash."""
        url = path if path.startswith("/") else f"/v1/{self.project_id}/{path}"
        headers = {"X-Auth-Token": self.token} if self.token else {}
        return await self.http.request(method, url, json=body, params=query, headers=headers)

    async def ok(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The body of an answer that must be 200."""
        answer = await self(method, path, body, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, code: str, method: str, path: str, body: Any = None, **query: Any) -> str:
        """The message of an answer that must carry this code, and the status that belongs to it."""
        answer = await self(method, path, body, **query)
        assert answer.json().keys() == {"error_code", "error_msg"}, answer.text
        assert answer.json()["error_code"] == code, answer.text
        assert answer.status_code == STATUS[code]
        message = answer.json()["error_msg"]
        assert isinstance(message, str)
        assert message
        return message


class Server(uvicorn.Server):
    """Tells when it listens; leaves signals to the tests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serve(world: World, socket: Path, failed: Callable[[], bool]) -> AsyncIterator[httpx.AsyncClient]:
    """A server for this world, and a client of it."""
    with applications.lent(world.gateway, failed) as world.application:
        server = Server(uvicorn.Config(world.application, uds=str(socket), lifespan="off", log_level="warning"))
        task = asyncio.create_task(server.serve())
        await server.ready.wait()
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.example", timeout=30) as http:
            yield http
        server.should_exit = True
        await task


Opener = Callable[..., Any]


@pytest.fixture
async def opened(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Opener]:
    """Opens a world of given settings: (world, client of its administrator)."""
    async with AsyncExitStack() as stack:

        async def open_world(**settings: Any) -> tuple[World, Client]:
            secrets = SecretBox.load(tmp_path / "secret.key")
            store = await stack.enter_async_context(Store.open(sqlite(tmp_path), secrets=secrets))
            world = World(store, **{"local_root": tmp_path / "kept", **settings})
            first = await world.first_start()
            http = await stack.enter_async_context(
                serve(world, tmp_path / "api.sock", lambda: FAILED in request.node.stash)
            )
            token, _ = await world.accounts.log_in("admin", first.password, world.now)
            return world, Client(http, first.project.project_id, token)

        yield open_world


@pytest.fixture
async def world_and_client(opened: Opener) -> tuple[World, Client]:
    world, client = await opened()
    return world, client


@pytest.fixture
def world(world_and_client: tuple[World, Client]) -> World:
    return world_and_client[0]


@pytest.fixture
def client(world_and_client: tuple[World, Client]) -> Client:
    return world_and_client[1]


@pytest.fixture
async def credential(client: Client) -> str:
    """The user name of a credential that exists."""
    await client.ok("POST", "credentials/codes", {"username": "0100", "password": "Secret-1234"})
    return "0100"
