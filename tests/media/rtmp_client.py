"""An RTMP player of a few lines, for what FFmpeg would never do: read slowly, say nonsense, leave in the middle."""

import asyncio
import struct
from dataclasses import dataclass

HANDSHAKE = b"\x03" + bytes(1536) + bytes(1536)


def text(value: str) -> bytes:
    data = value.encode()
    return b"\x02" + struct.pack(">H", len(data)) + data


def number(value: float) -> bytes:
    return b"\x00" + struct.pack(">d", value)


def record(**entries: str) -> bytes:
    body = b"".join(struct.pack(">H", len(name)) + name.encode() + text(value) for name, value in entries.items())
    return b"\x03" + body + b"\x00\x00\x09"


def command(name: str, transaction: int, *values: bytes, stream: int = 0) -> bytes:
    """A command message in one chunk: Set Chunk Size must have gone before."""
    payload = text(name) + number(transaction) + b"".join(values)
    return b"\x03\x00\x00\x00" + struct.pack(">I", len(payload))[1:] + b"\x14" + struct.pack("<I", stream) + payload


def tag(kind: int, millis: int, body: bytes) -> bytes:
    """An audio (8) or video (9) message of less than 65,536 bytes; its time wraps, and is extended if it must."""
    millis %= 1 << 32
    head = bytes([4 + kind % 2]) + struct.pack(">I", min(millis, 0xFFFFFF))[1:] + struct.pack(">I", len(body))[1:]
    extended = struct.pack(">I", millis) if millis >= 0xFFFFFF else b""
    return head + bytes([kind]) + struct.pack("<I", 1) + extended + body


SET_CHUNK_SIZE = b"\x02\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00" + struct.pack(">I", 65_536)
NULL = b"\x05"


@dataclass
class Client:
    """A connection that has said `connect`."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, host: str, port: int, app: str) -> "Client":
        """After the handshake; the socket's buffer is small, so that not to read is felt soon."""
        reader, writer = await asyncio.open_connection(host, port, limit=4096)
        writer.write(HANDSHAKE + SET_CHUNK_SIZE)
        await reader.readexactly(1 + 2 * 1536)
        about = record(app=app, tcUrl=f"rtmp://{host}:{port}/{app}", flashVer="LNX 9,0,124,2")
        writer.write(command("connect", 1, about) + command("createStream", 2, NULL))
        return cls(reader, writer)

    def play(self, name: str) -> None:
        self.writer.write(command("play", 3, NULL, text(name), stream=1))

    def publish(self, name: str) -> None:
        self.writer.write(command("publish", 3, NULL, text(name), text("live"), stream=1))

    async def send(self, *messages: bytes) -> None:
        for message in messages:
            self.writer.write(message)
        await self.writer.drain()

    async def until(self, word: bytes) -> bytes:
        """Everything up to and with `word`."""
        got = b""
        async with asyncio.timeout(30):
            while word not in got:
                more = await self.reader.read(4096)
                assert more, f"closed before {word!r}: {got[-300:]!r}"
                got += more
        return got

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(15):
            return await self.reader.read(-1)

    def close(self) -> None:
        self.writer.close()
