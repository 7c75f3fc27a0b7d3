"""Streams that are fetched: from our own door, from ffmpeg, over TLS; and what is told when that fails."""

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.clock import utc_now
from gateway.simulator.clip import ClipSpec, clip
from gateway.simulator.model import AudioCodec, VideoCodec
from media._core import CoreError, Event
from media.relay import Relay
from tests.media.test_play_forms import decode, http, send, sent_pictures

HOST = "127.0.0.1"
SSRC = 115_000_002
SPEC = ClipSpec(width=320, height=192, fps=25, gop=25, seconds=4, bitrate_bps=400_000)


@asynccontextmanager
async def relay_at(first_port: int) -> AsyncIterator[Relay]:
    ports = {"rtp_port_min": first_port, "rtp_port_max": first_port + 99}
    async with Relay(play_key=b"key", rtp_host=HOST, threads=1, **ports) as relay:
        yield relay


async def until(good: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not good():  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.01)


def listen(relay: Relay) -> list[Event]:
    events: list[Event] = []
    relay.listen(events.append)
    return events


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


@pytest.mark.parametrize(
    ("video", "audio", "b_frames"),
    [(VideoCodec.H264, AudioCodec.AAC, 2), (VideoCodec.H265, AudioCodec.G711A, 0)],
)
async def test_our_own_door_is_a_source(tmp_path: Path, video: VideoCodec, audio: AudioCodec, b_frames: int) -> None:
    source = await asyncio.to_thread(clip, replace(SPEC, video=video, audio=audio, b_frames=b_frames))
    sent = await asyncio.to_thread(sent_pictures, source)
    async with relay_at(23000) as near, relay_at(23100) as far:
        events = listen(near)
        far_door = far.listen_http(HOST, 0, str(tmp_path / "none.sock"))
        receiver = far.open_receiver("test", "forms", transport="udp", ssrc=SSRC, peer=HOST)
        signed = far.sign("test", "forms", 4_000_000_000)
        url = f"http://{HOST}:{far_door}/test/forms.live.flv?{signed}"
        pulled = near.open_pull("test", "pulled", url, private=False, allow_private=True)
        assert pulled.port == 0
        door = near.listen_http(HOST, 0, str(tmp_path / "none.sock"))
        viewer = asyncio.create_task(http(f"http://{HOST}:{door}/test/pulled.live.flv"))
        await until(lambda: "connected" in kinds(events) and near.streams()[0].viewers["http-flv"] == 1)
        await send(receiver.port, source)
        stream = near.stream("test", "pulled")
        assert stream is not None
        assert (stream.transport, stream.payload, stream.lost, stream.faults) == ("http-flv", "flv", 0, {})
        assert stream.peer == f"{HOST}:{far_door}"
        far.close_receiver(receiver.id)
        await until(lambda: "connect_failed" in kinds(events))
        near.close_receiver(pulled.id)
        played = await asyncio.to_thread(decode, await asyncio.wait_for(viewer, 10), "flv")
    assert played.pictures == sent
    order = [kind for kind in kinds(events) if kind not in ("silent", "resumed")]
    expected = ["connecting", "connected", "first_packet", "tracks", "first_key_frame", "disconnected"]
    assert order[:8] == [*expected, "connecting", "connect_failed"]
    assert signed not in repr(events)
    assert events[0].detail["url"] == f"http://{HOST}:{far_door}/test/forms.live.flv?…"
    lost = next(event for event in events if event.kind == "disconnected")
    assert lost.detail["cause"] == "ended"
    assert 750 <= int(lost.detail["retry_ms"]) <= 1000
    failed = next(event for event in events if event.kind == "connect_failed")
    assert failed.detail["cause"] == "http_404"


def film(path: Path) -> None:
    """Four seconds of test pictures and a tone, as ffmpeg muxes them."""
    pictures, tone = "testsrc=size=320x192:rate=25", "sine=440:sample_rate=16000"
    sources = ["-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", tone]
    codings = ["-t", "4", "-c:v", "libx264", "-g", "25", "-bf", "2", "-c:a", "aac", "-ac", "1"]
    subprocess.run(["ffmpeg", "-v", "error", *sources, *codings, "-f", "flv", path], check=True)


def digests(path: Path) -> list[str]:
    """Kind and digest of every packet, as it lies in the file."""
    listed = ["ffmpeg", "-v", "error", "-i", path, "-map", "0", "-c", "copy", "-f", "framemd5", "-"]
    lines = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted(",".join(line.split(",")[i].strip() for i in (0, 4, 5)) for line in lines if line[:1] != "#")


async def test_ffmpeg_is_a_source_and_its_packets_come_out_as_they_were(tmp_path: Path) -> None:
    source = tmp_path / "source.flv"
    await asyncio.to_thread(film, source)
    server = await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0)  # its port is free afterwards
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    url = f"http://{HOST}:{port}/live.flv"
    async with relay_at(23200) as relay:
        events = listen(relay)
        relay.open_pull("test", "film", url, private=False, allow_private=True)
        await until(lambda: "connect_failed" in kinds(events))
        door = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
        viewer = asyncio.create_task(http(f"http://{HOST}:{door}/test/film.live.flv"))
        send = ["ffmpeg", "-v", "error", "-re", "-i", source, "-c", "copy", "-listen", "1", "-f", "flv", url]
        process = await asyncio.create_subprocess_exec(*send)
        try:
            await until(lambda: "disconnected" in kinds(events))
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
        await until(lambda: relay.streams()[0].viewers["http-flv"] == 1)
        relay.close_receiver(relay.streams()[0].receiver)
        out = tmp_path / "out.flv"
        out.write_bytes(await asyncio.wait_for(viewer, 10))
    assert next(event for event in events if event.kind == "connect_failed").detail["cause"] == "connection_refused"
    assert await asyncio.to_thread(digests, out) == await asyncio.to_thread(digests, source)


def certificates(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A CA that nobody knows, as a file, and a server with a certificate of it for localhost alone."""

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def make(subject: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, ca: bool) -> bytes:
        now = utc_now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("A CA of the test"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("::1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    signer, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root, chain = directory / "root.pem", directory / "server.pem"
    root.write_bytes(make("A CA of the test", signer, signer, ca=True))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(make("localhost", key, signer, ca=False) + secret)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    return root, context


async def test_https_is_pulled_from_whom_the_chosen_roots_vouch_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, context = certificates(tmp_path)
    over = asyncio.Event()
    body = tmp_path / "source.flv"
    await asyncio.to_thread(film, body)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n" + body.read_bytes())
        await over.wait()
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server, relay_at(23300) as trusting, relay_at(23400) as other:
        events = listen(trusting)
        others = listen(other)
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(root))
        trusting.open_pull("test", "named", f"https://localhost:{port}/", allow_private=True)
        trusting.open_pull("test", "misnamed", f"https://{HOST}:{port}/", allow_private=True)
        await until(lambda: {"first_key_frame", "connect_failed"} <= set(kinds(events)))
        monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
        other.open_pull("test", "named", f"https://localhost:{port}/", allow_private=True)
        await until(lambda: "connect_failed" in kinds(others))
        keyed = next(event for event in events if event.kind == "first_key_frame")
        failed = next(event for event in events if event.kind == "connect_failed")
        assert (keyed.name, failed.name, failed.detail["cause"]) == ("named", "misnamed", "tls")
        told = next(event for event in others if event.kind == "connect_failed").detail
        assert (told["cause"], told["reason"]) == ("tls", "TLS failed: SSL_CERT_FILE names no usable certificate")
        over.set()


async def test_what_cannot_be_pulled_is_refused_at_once() -> None:
    async with relay_at(23500) as relay:
        for url in ("http://127.0.0.1/", "http://[::ffff:10.1.1.1]/", "rtmp://example.org/live", "cam.flv"):
            with pytest.raises(CoreError):
                relay.open_pull("test", "bad", url)
        with pytest.raises(CoreError, match="Host"):
            relay.open_pull("test", "bad", "http://example.org/", headers=[("Host", "x")])
        events = listen(relay)
        relay.open_pull("test", "loop", "http://localhost:9/")
        with pytest.raises(CoreError):
            relay.open_pull("test", "loop", "http://localhost:9/")
        await until(lambda: "connect_failed" in kinds(events))
        assert next(e for e in events if e.kind == "connect_failed").detail["cause"] == "forbidden_address"
        assert relay.metrics()["relay_pull_failures_total"] >= 1
