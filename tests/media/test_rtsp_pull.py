"""Streams pulled by RTSP: from our own port, from GStreamer's server, and from cameras that keep to no standard."""

import asyncio
import hashlib
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from media._core import CoreError
from media.relay import Relay
from tests.media.house import HOST, House, play
from tests.media.rtsp_client import read_request
from tests.media.test_rtsp_publish import record

FOREIGN = Path(__file__).with_name("gst_rtsp_server.py")
QUIET = "3000000"
"""Microseconds of silence after which a player takes the stream to be over: a pulled one waits for its source."""
PYTHON = "/usr/bin/python3"
"""The system's, which has GStreamer's bindings where they are installed."""


@asynccontextmanager
async def puller(first_port: int = 23100) -> AsyncIterator[House]:
    """A second relay, that pulls."""
    ports = {"rtp_port_min": first_port, "rtp_port_max": first_port + 99}
    async with Relay(play_key=b"key", rtp_host=HOST, threads=1, **ports) as relay:
        house = House(relay, relay.listen_rtmp(HOST, 0), 0, relay.listen_http(HOST, 0, "/nonexistent"))
        relay.listen(house.handle)
        yield house


def pull(house: House, url: str, transport: str = "tcp") -> int:
    way = "udp" if transport == "udp" else "tcp"
    return house.relay.open_pull("live", "pulled", url, private=False, allow_private=True, transport=way).id


@pytest.mark.parametrize(("codec", "wanted", "transport"), [("libx264", "h264", "tcp"), ("libx265", "hevc", "udp")])
async def test_our_own_port_is_a_source(
    house: House, group_clips: dict[str, Path], codec: str, wanted: str, transport: str
) -> None:
    source = group_clips[codec]
    publisher = await record(house, source, "cam", "tcp")
    await house.event("tracks")
    async with puller() as near:
        pull(near, house.rtsp_url("cam"), transport)
        await near.event("first_key_frame")
        stream = near.stream("pulled")
        assert (stream.transport, stream.payload, stream.video_codec, stream.audio_codec) == (
            "rtsp", "rtp", "H264" if codec == "libx264" else "H265", "AAC",
        )  # fmt: skip
        played = await asyncio.to_thread(play, near.flv("pulled"), timeout=QUIET)
        sent = play(str(source))
        assert played.codecs == {"video": wanted, "audio": "aac"}
        # Datagrams begin at a key frame after the first; the last picture may be lost with the connection's end.
        assert len(played.pictures) >= (70 if transport == "tcp" else 45)
        first = sent.pictures.index(played.pictures[0])
        assert played.pictures == sent.pictures[first : first + len(played.pictures)]
        told = (await near.event("disconnected")).detail
        assert told["cause"] in {"ended", "silent"}
        assert (await near.event("connect_failed")).detail["cause"] == "rtsp_404"
    await publisher.wait()


def digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


Answer = Callable[[str, str, dict[str, str]], tuple[int, dict[str, str], str]]


@asynccontextmanager
async def camera(answer: Answer, packets: list[bytes]) -> AsyncIterator[tuple[int, list[str]]]:
    """A camera that answers as told and sends `packets` in channel 0 after PLAY; its port, and what it was asked."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                method, uri, headers = await read_request(reader)
                asked.append(f"{method} {uri}")
                status, fields, body = answer(method, uri, headers)
                fields = {**fields, **({"Content-Length": str(len(body))} if body else {})}
                lines = [f"RTSP/1.0 {status} X", *(f"{name}: {value}" for name, value in fields.items())]
                writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
                if method == "PLAY" and status == 200:
                    for packet in packets:
                        writer.write(b"$\0" + len(packet).to_bytes(2, "big") + packet)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


SPS = bytes.fromhex("6764000dacd9416096c04400000300040000030 0c83c50a658".replace(" ", ""))
PPS = bytes.fromhex("68ef8fcb")
IDR = b"\x65\x88\x84\x00\x01"
SDP = (
    "v=0\r\ns=x\r\na=control:*\r\nm=application 0 RTP/AVP 107\r\na=control:meta\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:video\r\nm=video 0 RTP/AVP 97\r\na=control:second\r\n"
)


def rtp(seq: int, payload: bytes, *, last: bool) -> bytes:
    head = bytes([0x80, 96 | (0x80 if last else 0)])
    return head + seq.to_bytes(2, "big") + (seq // 3 * 3600).to_bytes(4, "big") + b"\0\0\0\7" + payload


PACKETS = [
    rtp(3 * n + at, nal, last=at == 2) for n in range(20) for at, nal in enumerate((SPS, PPS, IDR))
]  # key frames alone


async def test_a_camera_that_wants_digest_and_forgets_what_the_standard_asks_for() -> None:
    nonces = iter(range(1, 100))
    current = ""

    def answer(method: str, uri: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        nonlocal current
        given = headers.get("authorization", "")
        proof = digest(f"{digest('me:cam:p@ss')}:{current}:{digest(f'{method}:{uri}')}")
        if f'response="{proof}"' not in given:
            stale = ', stale="TRUE"' if given else ""
            current = f"n{next(nonces)}"
            return 401, {"www-authenticate": f'Digest realm="cam",nonce="{current}"{stale}'}, ""
        if method == "SETUP":
            current = "forgotten"  # it takes each nonce a few times only
        return 200, {}, SDP if method == "DESCRIBE" else ""

    async with camera(answer, PACKETS) as (port, asked), puller() as near:
        receiver = pull(near, f"rtsp://me:p%40ss@{HOST}:{port}/live")
        await near.event("first_key_frame")
        url = f"rtsp://{HOST}:{port}/live"
        assert asked == [
            f"{step} {url}" for step in (
                "OPTIONS", "OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PLAY",
            )
        ] or f"SETUP {url}/video" in asked  # fmt: skip
        assert not any("second" in one or "meta" in one for one in asked)
        connecting = await near.event("connecting")
        assert "p%40ss" not in connecting.detail["url"]
        near.relay.close_receiver(receiver)
        await until(lambda: asked[-1].startswith(("PLAY", "TEARDOWN")))


async def until(good: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not good():  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ({"DESCRIBE": (404, {}, "")}, "rtsp_404"),
        ({"DESCRIBE": (401, {"WWW-Authenticate": 'Digest realm="x", nonce="y"'}, "")}, "unauthorized"),
        ({"DESCRIBE": (200, {}, "v=0\r\nm=video 0 RTP/AVP 26\r\n")}, "no_tracks"),
        ({"DESCRIBE": (200, {}, "nothing")}, "no_tracks"),
        ({"DESCRIBE": (200, {}, SDP), "SETUP": (461, {}, "")}, "rtsp_461"),
        ({"DESCRIBE": (302, {"Location": "http://127.0.0.1/"}, "")}, "bad_redirect"),
        ({"DESCRIBE": (302, {"Location": "/again"}, "")}, "too_many_redirects"),
    ],
)
async def test_each_refusal_has_its_cause(answers: dict[str, tuple[int, dict[str, str], str]], cause: str) -> None:
    def answer(method: str, uri: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        return answers.get(method, (200, {}, ""))

    async with camera(answer, []) as (port, _), puller() as near:
        pull(near, f"rtsp://me:wrong@{HOST}:{port}/live")
        failed = await near.event("connect_failed")
        assert failed.detail["cause"] == cause
        assert "wrong" not in str(failed.detail)


async def test_a_redirect_is_followed_and_a_goodbye_is_said() -> None:
    def moved(method: str, uri: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        return (302, {"Location": f"rtsp://{HOST}:{there}/there"}, "") if method == "DESCRIBE" else (200, {}, "")

    def answer(method: str, uri: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        return 200, {"Session": "7"}, SDP if method == "DESCRIBE" else ""

    async with camera(answer, PACKETS) as (there, asked), camera(moved, []) as (here, _), puller() as near:
        receiver = pull(near, f"rtsp://{HOST}:{here}/here")
        await near.event("first_key_frame")
        assert asked[0] == f"OPTIONS rtsp://{HOST}:{there}/there"
        near.relay.close_receiver(receiver)
        await until(lambda: asked[-1] == f"TEARDOWN rtsp://{HOST}:{there}/there")
    with pytest.raises(CoreError, match="public"):
        near.relay.open_pull("live", "private", f"rtsp://{HOST}/x")


async def test_a_camera_that_goes_silent_is_told_of() -> None:
    def answer(method: str, uri: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        return 200, {}, SDP if method == "DESCRIBE" else ""

    async with camera(answer, PACKETS) as (port, _), puller() as near:
        pull(near, f"rtsp://{HOST}:{port}/live")
        gone = await near.event("disconnected")
        assert gone.detail["cause"] == "silent"
        await near.event("connecting")


@asynccontextmanager
async def foreign(*arguments: str) -> AsyncIterator[int]:
    """GStreamer's server; skips where it is not installed."""
    process = await asyncio.create_subprocess_exec(
        PYTHON, str(FOREIGN), *arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        if not line.strip().isdigit():
            pytest.skip("GStreamer's RTSP server is not installed")
        yield int(line)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize(("auth", "transport"), [("none", "udp"), ("basic", "tcp"), ("digest", "udp")])
async def test_gstreamers_server_is_pulled(auth: str, transport: str) -> None:
    async with foreign(auth) as port, puller() as near:
        if auth != "none":
            refused = pull(near, f"rtsp://me:wrong@{HOST}:{port}/test", transport)
            assert (await near.event("connect_failed")).detail["cause"] == "unauthorized"
            near.relay.close_receiver(refused)
        pull(near, f"rtsp://me:secret@{HOST}:{port}/test", transport)
        await near.event("first_key_frame")
        played = await asyncio.wait_for(asyncio.to_thread(play, near.flv("pulled"), timeout=QUIET), 40)
        assert played.codecs == {"video": "h264", "audio": "pcm_alaw"}
        assert len(played.pictures) >= 35
