"""An RTSP player of a few lines, for what FFmpeg would never do: read nothing, say nonsense, vanish."""

import asyncio
from dataclasses import dataclass, field


@dataclass
class Answer:
    """One response; names of headers are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Client:
    """A connection; packets that come between answers are kept with their channels."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sequence: int = 0
    session: str = ""
    packets: list[tuple[int, bytes]] = field(default_factory=list)

    @classmethod
    async def open(cls, host: str, port: int) -> "Client":
        return cls(*await asyncio.open_connection(host, port, limit=1 << 16))

    async def ask(self, method: str, url: str, body: str = "", **headers: str) -> Answer:
        """Sends a request, with a body if there is one, and waits for its answer."""
        self.sequence += 1
        fields = {"CSeq": str(self.sequence), **({"Session": self.session} if self.session else {}), **headers}
        fields |= {"Content-Length": str(len(body))} if body else {}
        lines = [f"{method} {url} RTSP/1.0", *(f"{name}: {value}" for name, value in fields.items())]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        async with asyncio.timeout(15):
            answer = await self.answer()
        assert answer.headers["cseq"] == str(self.sequence)
        self.session = answer.headers.get("session", self.session).split(";")[0]
        return answer

    async def answer(self) -> Answer:
        """The next answer."""
        while (first := await self.reader.readexactly(1)) == b"$":
            await self._packet()
        line, *fields = (first + await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(line.split()[1]), headers, body)

    async def packet(self) -> tuple[int, bytes]:
        """The next packet, with its channel."""
        async with asyncio.timeout(15):
            assert await self.reader.readexactly(1) == b"$"
            await self._packet()
        return self.packets[-1]

    async def _packet(self) -> None:
        head = await self.reader.readexactly(3)
        self.packets.append((head[0], await self.reader.readexactly(int.from_bytes(head[1:], "big"))))

    async def set_up(self, url: str, track: int = 0, transport: str = "RTP/AVP/TCP;unicast;interleaved=0-1") -> Answer:
        return await self.ask("SETUP", f"{url}/trackID={track}", Transport=transport)

    async def play(self, url: str) -> Answer:
        """Describes, sets up the first track on the connection and plays; the answer of the first that is refused."""
        for answer in (await self.ask("DESCRIBE", url), await self.set_up(url)):
            if answer.status != 200:
                return answer
        return await self.ask("PLAY", url)

    async def end(self) -> None:
        """Reads on until the other side closes."""
        async with asyncio.timeout(30):
            try:
                while await self.reader.read(1 << 16):
                    pass
            except ConnectionResetError:
                pass

    def close(self) -> None:
        self.writer.close()


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]]:
    """A client's next request, for servers of a few lines: method, URI, and headers with names in small letters."""
    while (first := await reader.readexactly(1)) == b"$":
        head = await reader.readexactly(3)
        await reader.readexactly(int.from_bytes(head[1:], "big"))
    line, *fields = (first + await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    method, uri, _ = line.split()
    return method, uri, {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
