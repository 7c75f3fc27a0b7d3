"""A real S3 server in a process of its own, and a proxy before it that breaks connections when told to."""

import asyncio
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import obstore
from obstore.store import S3Store

from gateway.retention.buckets import ObjectStorage
from tests.ports import free_port

WAIT_SECONDS: Final = 30.0
REQUEST: Final = re.compile(rb"(?:^|\r\n)(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n")
CUT_BYTES: Final = 2000
"""Pieces of answers that are shorter are not cut: heads."""
SLOW_DOWN: Final = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
DENIED: Final = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
BAD_KEY: Final = b"<Error><Code>InvalidAccessKeyId</Code><Message>There is no such key.</Message></Error>"


@dataclass(frozen=True)
class Server:
    """An S3 server on loopback."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def make_bucket(self, name: str) -> None:
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{name}", method="PUT")) as answer:
            assert answer.status == 200

    def storage(self, port: int | None = None, *, timeout_seconds: float = 20.0) -> ObjectStorage:
        """How the gateway reaches it, perhaps by a proxy's port."""
        return ObjectStorage(
            endpoint=f"http://127.0.0.1:{port or self.port}",
            region="us-east-1",
            access_key_id="test",
            secret_access_key="test-test-test",
            timeout_seconds=timeout_seconds,
        )

    def bucket(self, name: str) -> S3Store:
        """A client of our own, to look into the bucket."""
        return S3Store(
            name,
            endpoint=self.url,
            region="us-east-1",
            access_key_id="test",
            secret_access_key="test-test-test",
            client_options={"allow_http": True},
        )

    async def objects(self, name: str) -> dict[str, bytes]:
        """Everything in a bucket, by key."""
        store = self.bucket(name)
        found: dict[str, bytes] = {}
        async for part in obstore.list(store):
            for one in part:
                found[one["path"]] = bytes(await (await obstore.get_async(store, one["path"])).bytes_async())
        return found


@contextmanager
def start() -> Iterator[Server]:
    """Runs the server until left."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(process, port)
        yield Server(port)
    finally:
        process.terminate()
        process.wait(10)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.perf_counter() + WAIT_SECONDS
    while time.perf_counter() < until:
        assert process.poll() is None, "the S3 server ended"
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise TimeoutError("the S3 server does not listen")


@dataclass
class Faults:
    """What the proxy does to connections; set by a test at any time."""

    refuse: bool = False
    """Close connections as they come, and those that are open."""
    answer: tuple[int, bytes] | None = None
    """Answer every request with this status and body instead of passing it on."""
    deny: tuple[str, ...] = ()
    """Answer requests with these methods that they are not allowed; others pass, one a connection."""
    cut_after: int | None = None
    """Pass on so many bytes of a connection's requests, then close it."""
    lose_answers: bool = False
    """Pass requests on whole, and close the connection when the server answers."""
    delay: float = 0.0
    """Seconds before each piece is passed on."""
    delayed: int = 0
    """Pieces that are held back at this moment."""
    hold_after: int | None = None
    """Hold answers back from here on, when so many bytes of them were moved, until it is None."""
    cut_answers: int = 0
    """So many times close a connection in the middle of an answer."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of those that went through as they came."""
    moved: int = 0
    """Bytes of answers, heads included."""
    connections: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    def away(self) -> None:
        """From now on nobody gets through."""
        self.refuse = True
        for writer in self.open:
            writer.close()

    def heal(self) -> None:
        """From now on everything works."""
        self.refuse, self.answer, self.cut_after, self.lose_answers, self.delay = False, None, None, False, 0.0
        self.deny = ()


@asynccontextmanager
async def proxy(server: Server) -> AsyncIterator[tuple[int, Faults]]:
    """A TCP proxy: its port, and its faults."""
    faults = Faults()
    served: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            served.add(task)
            task.add_done_callback(served.discard)
        faults.connections += 1
        faults.open.add(writer)
        try:
            await _pass(server, faults, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            faults.open.discard(writer)
            await _close(writer)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1], faults
        faults.away()
        if served:
            await asyncio.wait(served, timeout=5)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Until the socket is closed: one that the loop does not live to close is a leak."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _pass(server: Server, faults: Faults, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if faults.refuse:
        return
    if faults.answer is not None:
        await _read_request(reader)
        await _answer(writer, *faults.answer)
        return
    if faults.deny:
        request = await _read_request(reader)
        if request.startswith(tuple(f"{method} ".encode() for method in faults.deny)):
            await _answer(writer, 403, b"" if request.startswith(b"HEAD") else DENIED)
        else:
            there, back = await asyncio.open_connection("127.0.0.1", server.port)
            back.write(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            await _pump(faults, there, writer, None)
            await _close(back)
        return
    there, back = await asyncio.open_connection("127.0.0.1", server.port)
    tasks = [
        asyncio.create_task(_pump(faults, reader, back, faults.cut_after, asked=True)),
        asyncio.create_task(_pump(faults, there, writer, 0 if faults.lose_answers else None)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _close(back)


async def _pump(
    faults: Faults, reader: asyncio.StreamReader, writer: Any, limit: int | None, *, asked: bool = False
) -> None:
    """Copies until the end, or until `limit` bytes went through."""
    passed = 0
    while piece := await reader.read(65536):
        if asked:
            found = REQUEST.findall(piece)
            faults.requests += [(method.decode(), path.decode()) for method, path in found]
        else:
            if faults.cut_answers and len(piece) >= CUT_BYTES:
                faults.cut_answers -= 1
                writer.write(piece[: CUT_BYTES // 2])
                return
            while faults.hold_after is not None and faults.moved >= faults.hold_after:  # noqa: ASYNC110  (set plainly)
                await asyncio.sleep(0.01)
            faults.moved += len(piece)
        if faults.delay:
            faults.delayed += 1
            try:
                await asyncio.sleep(faults.delay)
            finally:
                faults.delayed -= 1
        if limit is not None and passed + len(piece) > limit:
            writer.write(piece[: limit - passed])
            with suppress(OSError):
                await writer.drain()
            return
        passed += len(piece)
        writer.write(piece)
        await writer.drain()


async def _answer(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    """The last answer of a connection."""
    head = f"HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
    await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    """Takes a request off the connection, so that the client reads our answer instead of a reset."""
    request = await reader.readuntil(b"\r\n\r\n")
    for line in request.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            request += await reader.readexactly(int(line.partition(b":")[2]))
    return request
