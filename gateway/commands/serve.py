"""`gateway serve`: the gateway with its HTTP side. The one place that knows both the domain and the API above it."""

import asyncio
import contextlib
import errno
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import structlog
import uvicorn
import uvloop
from rich.console import Console

import api.services
from api.application import create
from gateway import demo, logs
from gateway.app import App
from gateway.clock import utc_now
from gateway.commands.options import ConfigFile, Overrides, load, told
from gateway.errors import GatewayError
from gateway.media_ports import open_https
from gateway.media_settings import Rtmp, Rtsp
from gateway.memory import settle_collector
from gateway.settings import Settings
from gateway.sole import sole_owner

log = structlog.get_logger(__name__)

STOP_SECONDS = 15.0
DOOR_IDLE_SECONDS = 60
"""Longer than the front door keeps an idle connection (30 s): only one side may end it, or a request meets its end."""


def serve(file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Start the gateway: SIP, media, page and APIs. SIGTERM or Ctrl-C ends calls with BYE and stops."""
    settings = load(file, overrides)
    logs.configure(settings.log)
    with told():
        try:
            with sole_owner(settings.data_dir):
                uvloop.run(_serve(settings))
        except OSError as error:
            raise GatewayError(_explained(error)) from error


def _explained(error: OSError) -> str:
    """The system's words, with the file or what else to look at."""
    if error.errno == errno.EADDRINUSE:
        return f"{error.strerror or error}: is another gateway running? (`gateway doctor`)"
    return f"{error.filename}: {error.strerror}" if error.filename else f"{error} (see `gateway doctor`)"


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with App.open(settings) as app, _http(app) as port:
        settle_collector()
        announce(app, port)
        if settings.demo:
            await demo.start(app)
        await stop.wait()
        log.info("stopping")


@contextlib.asynccontextmanager
async def _http(app: App) -> AsyncIterator[int]:
    """The API on a Unix socket, and the front door before it; gives the door's port."""
    path = app.settings.data_dir.absolute() / "api.sock"
    path.unlink(missing_ok=True)
    application: Any = create(services(app))
    config = uvicorn.Config(
        application,
        uds=str(path),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=DOOR_IDLE_SECONDS,
        lifespan="off",
    )
    server = _Server(config)
    app.background.spawn(server.serve(), "api")
    await _listening(server, path)
    try:
        port = app.relay.listen_http(app.settings.http.host, app.settings.http.port, str(path))
        open_https(app.settings, app.relay, str(path))
        yield port
    finally:
        server.should_exit = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await server.ended.wait()
        path.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    """Leaves the signals to us, and says when it has ended."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def serve(self, sockets: Any = None) -> None:
        try:
            await super().serve(sockets)
        finally:
            self.ended.set()


async def _listening(server: _Server, path: Path) -> None:
    while not server.started:
        if server.ended.is_set():
            raise GatewayError(f"the API could not listen on {path}")
        await asyncio.sleep(0.01)
    await asyncio.to_thread(path.chmod, 0o600)


def services(app: App) -> api.services.Gateway:
    """What the controllers get."""
    address = app.sip_address
    return api.services.Gateway(
        accounts=app.accounts,
        keys=app.keys,
        users=app.users,
        projects=app.projects,
        groups=app.groups,
        audit=app.audit,
        credentials=app.credentials,
        push_keys=app.push_keys,
        devices=app.devices,
        statistics=app.statistics,
        streams=app.streams,
        senders=app.senders,
        pushes=app.pushes,
        options=app.options,
        webrtc=app.webrtc,
        siblings=app.siblings,
        retentions=app.retentions,
        record_plans=app.record_plans,
        recordings=app.playbacks.recordings,
        playbacks=app.playbacks,
        snapshots=app.snapshots,
        strategies=app.strategies,
        invitations=app.invitations,
        catalogue=app.server.catalogues,
        events=app.store.events,
        traces=app.traces,
        diagnoses=app.diagnoses,
        taps=app.taps,
        health=app,
        metrics=app.metrics,
        sip=api.services.SipServer(address.host, address.port),
        clock=utc_now,
        rtmp=_offered(app.settings.rtmp, app.settings.tls.rtmps_port),
        rtsp=_offered(app.settings.rtsp, app.settings.tls.rtsps_port),
        public_url=app.settings.http.public_url,
    )


def _offered(settings: Rtmp | Rtsp, tls_port: int) -> api.services.MediaServer | None:
    if not settings.port and not tls_port:
        return None
    return api.services.MediaServer(settings.port, settings.public_url, tls_port)


def announce(app: App, http_port: int) -> None:
    """Tells a person where everything is, and the first password, which is shown this once."""
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    settings, sip = app.settings, app.sip_address
    console.print("[bold]GB/T 28181 access gateway[/]")
    console.print(f"  SIP server   {sip.host}, port {sip.port} (UDP and TCP)")
    console.print(f"  SIP ID       {settings.sip.id}")
    console.print(f"  SIP domain   {settings.sip.domain}")
    console.print(f"  page, APIs   http://{sip.host}:{http_port}/")
    for scheme, port in (
        ("https", settings.tls.https_port),
        ("rtmps", settings.tls.rtmps_port),
        ("rtsps", settings.tls.rtsps_port),
    ):
        if port:
            console.print(f"  {scheme.upper():<12} {scheme}://{sip.host}:{port}/")
    if settings.rtmp.port:
        console.print(f"  RTMP         rtmp://{sip.host}:{settings.rtmp.port}/")
    if settings.rtsp.port:
        console.print(f"  RTSP         rtsp://{sip.host}:{settings.rtsp.port}/")
    first = app.first_start
    if first is not None:
        console.print(f"  project      {first.project.name}  {first.project.project_id}")
        shown = first.password if first.generated else "(as given)"
        console.print(f"  log in       {first.user.name}  {shown}")
        if first.generated:
            console.print(
                "  [bold]Note the password: it is not shown again.[/] (`gateway user password` makes a new one)"
            )
    sys.stdout.flush()
