"""TLS as others end it: GStreamer and nginx behind stunnel, pulled from and pushed to; and whom we do not believe."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from media._core import Event
from tests.media.house import HOST
from tests.media.pem import write_pair
from tests.media.test_pull import certificates, film, listen, relay_at
from tests.media.test_rtsp_pull import FOREIGN, PYTHON
from tests.ports import free_port

WAIT = 30.0

NGINX = """
daemon off; master_process off; worker_processes 1; user root;
pid {folder}/nginx.pid; error_log {folder}/error.log;
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
events {{ }}
rtmp {{ server {{ listen {host}:{rtmp}; application live {{ live on; record off; }} }} }}
http {{ access_log off; server {{ listen {host}:{http}; root {folder}/www; }}
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5; }}
"""

STUNNEL = """
foreground = yes
debug = err
pid =
[service]
accept = {host}:{port}
connect = {host}:{behind}
cert = {certificate}
key = {key}
"""


@asynccontextmanager
async def running(*command: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 10)


@asynccontextmanager
async def stunnel(folder: Path, behind: int, certificate: Path, key: Path) -> AsyncIterator[int]:
    """A port that ends TLS in front of another one."""
    port = free_port()
    conf = folder / f"stunnel-{port}.conf"
    conf.write_text(STUNNEL.format(host=HOST, port=port, behind=behind, certificate=certificate, key=key))
    async with running("stunnel4", conf):
        await listens(port)
        yield port


async def listens(port: int) -> None:
    async with asyncio.timeout(WAIT):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@asynccontextmanager
async def nginx(folder: Path) -> AsyncIterator[tuple[int, int]]:
    """Ports of a server of RTMP and of one of HTTP, which has `source.flv`."""
    rtmp, http = free_port(), free_port()
    conf = folder / "nginx.conf"
    conf.write_text(NGINX.format(folder=folder, host=HOST, rtmp=rtmp, http=http))
    (folder / "www").mkdir()
    await asyncio.to_thread(film, folder / "www" / "source.flv")
    async with running("/usr/sbin/nginx", "-p", folder, "-e", folder / "error.log", "-c", conf):
        await listens(rtmp)
        yield rtmp, http


async def told(events: list[Event], kind: str, name: str) -> Event:
    """The first event of this kind about this stream."""
    async with asyncio.timeout(WAIT):
        while True:
            for event in events:
                if (event.kind, event.name) == (kind, name):
                    return event
            await asyncio.sleep(0.02)


async def test_streams_come_from_and_go_to_foreign_servers_over_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = certificates(tmp_path)
    chain = tmp_path / "server.pem"
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    async with (
        nginx(tmp_path) as (rtmp, http),
        running(PYTHON, FOREIGN, "none") as gstreamer,
    ):
        assert gstreamer.stdout is not None
        rtsp = int(await asyncio.wait_for(gstreamer.stdout.readline(), WAIT))
        async with (
            stunnel(tmp_path, rtsp, chain, chain) as rtsps,
            stunnel(tmp_path, rtmp, chain, chain) as rtmps,
            stunnel(tmp_path, http, chain, chain) as https,
            relay_at(24800) as relay,
        ):
            events = listen(relay)
            pulled = relay.open_pull("test", "rtsps", f"rtsps://localhost:{rtsps}/test", allow_private=True)
            relay.open_pull("test", "https", f"https://localhost:{https}/source.flv", allow_private=True)
            assert (await told(events, "tracks", "rtsps")).detail["video"] == "H264"
            await told(events, "first_key_frame", "https")
            # On to nginx, and back from it.
            relay.open_push(pulled.id, f"rtmps://localhost:{rtmps}/live/cam", allow_private=True)
            await told(events, "push_connected", "rtsps")
            relay.open_pull("test", "rtmps", f"rtmps://localhost:{rtmps}/live/cam", allow_private=True)
            await told(events, "first_key_frame", "rtmps")
            assert relay.stream("test", "rtmps") is not None
            # And to an RTSP server over TLS, which is another port of ours.
            port = relay.listen_rtsps(HOST, 0, certificate=chain, key=chain)
            relay.open_push(pulled.id, f"rtsps://localhost:{port}/test/copy", allow_private=True)
            ticket = int((await told(events, "publish", "copy")).detail["ticket"])
            copy = relay.accept_publish(ticket, "test", "copy", private=False)
            assert (await told(events, "first_key_frame", "copy")).receiver == copy


async def test_whom_we_do_not_believe_is_told_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = certificates(tmp_path)
    chain = tmp_path / "server.pem"
    own = write_pair(tmp_path)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    behind = await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0)
    port = behind.sockets[0].getsockname()[1]
    async with (
        behind,
        stunnel(tmp_path, port, *own) as signed_by_itself,
        stunnel(tmp_path, port, chain, chain) as misnamed,
        relay_at(24900) as relay,
    ):
        events = listen(relay)
        for scheme in ("https", "rtsps", "rtmps"):
            address = f"{scheme}://localhost:{signed_by_itself}/live/cam"
            relay.open_pull("self", f"{scheme}-self", address, allow_private=True)
            relay.open_pull("name", f"{scheme}-name", f"{scheme}://{HOST}:{misnamed}/live/cam", allow_private=True)
        for scheme in ("https", "rtsps", "rtmps"):
            for app in ("self", "name"):
                await told(events, "connect_failed", f"{scheme}-{app}")
        failures = [(event.app, event.detail) for event in events if event.kind == "connect_failed"]
        assert {detail["cause"] for _, detail in failures} == {"tls"}
        for app, why in (
            ("self", "is that of an authority, mostly one signed by itself"),
            ("name", "is not for the name that the URL has"),
        ):
            reasons = {detail["reason"] for found, detail in failures if found == app}
            assert all(f"the server's certificate {why}" in reason for reason in reasons), reasons
