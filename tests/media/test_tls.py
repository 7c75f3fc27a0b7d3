"""HTTPS, RTMPS and RTSPS with clients of other makers, and with those that mean ill."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from media._core import CoreError
from media.relay import Relay
from tests.media.house import HOST, House, ffmpeg
from tests.media.pem import write_pair

KEEP = 128
"""Clients of one address that may be busy with their handshake."""


@dataclass
class SafeHouse(House):
    """A relay whose ports speak TLS as well."""

    https: int = 0
    rtmps: int = 0
    rtsps: int = 0
    certificate: Path = Path()

    def count(self, name: str) -> float:
        return self.relay.metrics()[f"relay_tls_{name}_total"]


@pytest.fixture
async def safe(tmp_path: Path) -> AsyncIterator[SafeHouse]:
    certificate, key = write_pair(tmp_path)
    files = {"certificate": str(certificate), "key": str(key)}
    upstream = tmp_path / "up.sock"
    async with (
        Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=23100, rtp_port_max=23199, threads=1) as relay,
        await asyncio.start_unix_server(echo, upstream),
    ):
        house = SafeHouse(
            relay,
            relay.listen_rtmp(HOST, 0),
            0,
            0,
            https=relay.listen_https(HOST, 0, str(upstream), **files),
            rtmps=relay.listen_rtmps(HOST, 0, **files),
            rtsps=relay.listen_rtsps(HOST, 0, **files),
            certificate=certificate,
        )
        relay.listen(house.handle)
        yield house


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that answers with the request's head."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(head) + head)
    await writer.drain()
    writer.close()


@pytest_asyncio.fixture
async def pushed(safe: SafeHouse, clips: dict[str, Path]) -> AsyncIterator[SafeHouse]:
    """A stream comes in by RTMPS, again and again from its beginning."""
    encoder = await ffmpeg(
        "-re", "-stream_loop", "-1", "-i", str(clips["libx264"]), "-c", "copy", "-f", "flv",
        f"rtmps://{HOST}:{safe.rtmps}/live/camera",
    )  # fmt: skip
    await safe.event("first_key_frame")
    try:
        yield safe
    finally:
        encoder.terminate()
        await encoder.communicate()


async def output(*command: str) -> bytes:
    """What a command says; it must do well."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complaints = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, complaints.decode()
    return said


async def test_a_request_comes_to_the_application_as_https_from_its_client(safe: SafeHouse) -> None:
    url = f"https://localhost:{safe.https}/some/page"
    said = await output(
        "curl", "-sS", "--cacert", str(safe.certificate), "--http2", "-H", "X-Forwarded-Proto: ftp",
        "-H", "X-Forwarded-For: 192.0.2.9", "--resolve", f"localhost:{safe.https}:{HOST}", url,
    )  # fmt: skip
    head = said.decode().lower()
    assert head.startswith("get /some/page http/1.1")
    assert "x-forwarded-proto: https" in head
    assert "x-forwarded-for: 127.0.0.1" in head
    assert "ftp" not in head
    assert safe.count("handshakes") == 1


async def test_many_requests_share_one_connection(safe: SafeHouse) -> None:
    url = f"https://localhost:{safe.https}/live/nothing.live.flv"
    said = await output(
        "curl", "-sS", "--cacert", str(safe.certificate), "--resolve", f"localhost:{safe.https}:{HOST}",
        "-w", "%{http_code} ", url, url, url,
    )  # fmt: skip
    assert said.decode().count("404 ") == 3
    assert safe.count("handshakes") == 1


@pytest.mark.parametrize("scheme", ["https", "rtmps", "rtsps"])
async def test_a_foreign_player_plays(pushed: SafeHouse, clips: dict[str, Path], scheme: str) -> None:
    address = {
        "https": f"https://{HOST}:{pushed.https}/live/camera.live.flv",
        "rtmps": f"rtmps://{HOST}:{pushed.rtmps}/live/camera",
        "rtsps": f"rtsps://{HOST}:{pushed.rtsps}/live/camera",
    }[scheme]
    options = ["-rtsp_transport", "tcp"] if scheme == "rtsps" else []
    played, sent = await asyncio.gather(pictures(*options, "-i", address), pictures("-i", str(clips["libx264"])))
    assert len(played) == 30
    assert played == sent


async def pictures(*source: str) -> list[str]:
    """Hashes of the first 30 pictures."""
    said = await output("ffmpeg", "-v", "error", *source, "-frames:v", "30", "-an", "-f", "framehash", "-")
    return [line.split(",")[5].strip() for line in said.decode().splitlines() if line and line[0] != "#"]


async def test_nothing_leaves_rtsps_as_datagrams(pushed: SafeHouse) -> None:
    address = f"rtsps://{HOST}:{pushed.rtsps}/live/camera"
    context = ssl.create_default_context(cafile=str(pushed.certificate))
    reader, writer = await asyncio.open_connection(HOST, pushed.rtsps, ssl=context)
    writer.write(
        f"SETUP {address}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast;client_port=50000-50001\r\n\r\n"
        .encode()
    )  # fmt: skip
    assert (await asyncio.wait_for(reader.readline(), 10)).split()[1] == b"461"
    writer.close()


async def test_a_viewer_that_hangs_up_is_gone_and_one_that_stays_sees_the_end(pushed: SafeHouse) -> None:
    context = ssl.create_default_context(cafile=str(pushed.certificate))
    request = b"GET /live/camera.live.flv HTTP/1.1\r\nHost: x\r\n\r\n"
    (reader, leaving), (listening, staying) = [
        await asyncio.open_connection(HOST, pushed.https, ssl=context) for _ in range(2)
    ]
    for writer in (leaving, staying):
        writer.write(request)
    await reader.readuntil(b"FLV")
    await listening.readuntil(b"FLV")
    assert pushed.stream("camera").viewers["http-flv"] == 2
    leaving.transport.abort()
    async with asyncio.timeout(10):
        while pushed.stream("camera").viewers["http-flv"] != 1:  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.01)
    pushed.relay.close_receiver(pushed.stream("camera").receiver)
    await asyncio.wait_for(listening.read(), 10)
    staying.close()


async def test_plain_http_is_told_what_is_wrong(safe: SafeHouse) -> None:
    said = await output("curl", "-sS", f"http://{HOST}:{safe.https}/")
    assert b"tls_expected" in said
    assert safe.count("plain") == 1


async def test_who_speaks_no_tls_is_closed_and_counted(safe: SafeHouse) -> None:
    for port, said in ((safe.rtmps, b"\x03" + bytes(1536)), (safe.rtsps, b"OPTIONS * RTSP/1.0\r\n\r\n")):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(said)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
    reader, writer = await asyncio.open_connection(HOST, safe.rtmps)
    writer.write(b"\x16\x03\x01\x00\x05nonsense, though it begins well")
    await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert (safe.count("plain"), safe.count("handshakes_failed"), safe.count("handshakes")) == (2, 1, 0)


async def test_a_crowd_that_never_finishes_keeps_nobody_else_out(safe: SafeHouse) -> None:
    crowd = [await asyncio.open_connection(HOST, safe.https) for _ in range(KEEP)]
    for _, writer in crowd:
        writer.write(b"\x16\x03")
    reader, writer = await asyncio.open_connection(HOST, safe.https)
    assert await asyncio.wait_for(reader.read(), 8) == b"", "one more from this address is closed at once"
    writer.close()
    other = await output(
        "curl", "-sS", "--interface", "127.0.0.2", "--cacert", str(safe.certificate), f"https://{HOST}:{safe.https}/"
    )
    assert other.startswith(b"GET / ")
    rest = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in crowd)), 30)
    assert set(rest) == {b""}, "who does not finish is closed"
    async with asyncio.timeout(10):
        while safe.count("handshakes_failed") < KEEP:  # noqa: ASYNC110  (counted behind the closing)
            await asyncio.sleep(0.02)
    assert safe.count("handshakes_failed") == KEEP
    for _, writer in crowd:
        writer.close()


async def test_a_renewed_certificate_is_shown_without_a_restart(safe: SafeHouse, tmp_path: Path) -> None:
    before = await asyncio.to_thread(ssl.get_server_certificate, (HOST, safe.https))
    (tmp_path / "key.pem").write_text("half written")
    event = await safe.event("certificate")
    assert (event.detail["outcome"], event.detail["path"]) == ("unusable", str(safe.certificate))
    assert "key.pem" in event.detail["reason"]
    assert await asyncio.to_thread(ssl.get_server_certificate, (HOST, safe.rtsps)) == before
    write_pair(tmp_path)
    assert (await safe.event("certificate")).detail["outcome"] == "renewed"
    after = await asyncio.to_thread(ssl.get_server_certificate, (HOST, safe.rtsps))
    assert after != before
    assert after.strip() == safe.certificate.read_text().strip()


async def test_files_that_cannot_be_used_are_named(safe: SafeHouse, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other, _ = write_pair(tmp_path / "other")
    (tmp_path / "empty.pem").touch()
    good, key = str(safe.certificate), str(tmp_path / "key.pem")
    for certificate, secret, words in (
        ("/nowhere/cert.pem", key, "no file /nowhere/cert.pem"),
        (good, "/nowhere/key.pem", "no file /nowhere/key.pem"),
        (str(tmp_path / "empty.pem"), key, "empty.pem holds no certificate"),
        (good, good, "holds no private key"),
        (str(other), key, "do not belong together"),
    ):
        with pytest.raises(CoreError, match=words):
            safe.relay.listen_https(HOST, 0, "/nonexistent", certificate=certificate, key=secret)
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(CoreError, match="cannot open the RTMP port"):
            safe.relay.listen_rtmps(HOST, taken.getsockname()[1], certificate=good, key=key)
