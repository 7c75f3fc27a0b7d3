"""`gateway doctor`: what on this machine would keep the gateway from working, before a camera finds out.

Where a gateway runs already, its ports are taken by itself: then its own word counts (GET /readyz).
"""

import asyncio
import errno
import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.request import urlopen

import typer
from rich.console import Console

from gateway.commands.options import ConfigFile, Overrides, load
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store import Store
from gateway.store.secrets import SecretBox

RECEIVE_BUFFER: Final = 1 << 20
"""Bytes a key frame may burst into one socket (reference: cameras send it unpaced)."""
FILES: Final = 65_536
DISK: Final = 1 << 30
RELIABLE_PORTS: Final = 100
PATIENCE: Final = 3.0
"""Seconds for a running gateway's answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `ok`, and what to do if not. A warning does not keep the gateway from starting."""

    what: str
    ok: bool
    advice: str = ""
    warning: bool = False


def doctor(file: ConfigFile = None, overrides: Overrides = None) -> None:
    """Check this machine and the settings; exit code 1 if the gateway could not start, or runs and is not well."""
    settings = load(file, overrides)
    console = Console(highlight=False)
    failed = False
    for finding in examine(settings):
        mark = "[green]✓[/]" if finding.ok else "[yellow]![/]" if finding.warning else "[red]✗[/]"
        console.print(f"{mark} {finding.what}" + ("" if finding.ok else f"\n  [dim]{finding.advice}[/]"))
        failed = failed or not (finding.ok or finding.warning)
    raise typer.Exit(1 if failed else 0)


def examine(settings: Settings) -> Iterator[Finding]:
    """All checks, one by one."""
    running = _running(settings.local_url)
    if running is not None:
        yield running
    yield _data_dir(settings.data_dir)
    yield asyncio.run(_database(settings))
    sip, http, rtp, rtmp, rtsp = settings.sip, settings.http, settings.rtp, settings.rtmp, settings.rtsp
    ours = running is not None
    yield _port("SIP", sip.host, sip.port, socket.SOCK_DGRAM, ours=ours)
    yield _port("SIP", sip.host, sip.port, socket.SOCK_STREAM, ours=ours)
    yield _port("HTTP", http.host, http.port, socket.SOCK_STREAM, ours=ours)
    if rtmp.port:
        yield _port("RTMP", rtmp.host, rtmp.port, socket.SOCK_STREAM, ours=ours)
    if rtsp.port:
        yield _port("RTSP", rtsp.host, rtsp.port, socket.SOCK_STREAM, ours=ours)
    for name, host, port in (
        ("HTTPS", http.host, settings.tls.https_port),
        ("RTMPS", rtmp.host, settings.tls.rtmps_port),
        ("RTSPS", rtsp.host, settings.tls.rtsps_port),
    ):
        if port:
            yield _port(name, host, port, socket.SOCK_STREAM, ours=ours)
    yield _port("RTP (first of the range)", rtp.host, rtp.port_min, socket.SOCK_DGRAM, ours=ours)
    yield _range(rtp.port_min, rtp.port_max)
    yield _addresses(settings)
    yield _receive_buffer()
    yield _files()
    yield _disk(settings.data_dir)


def _data_dir(directory: Path) -> Finding:
    try:
        directory.mkdir(0o700, parents=True, exist_ok=True)
        probe = directory / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Finding(f"data directory {directory}", False, f"{error.strerror}: set GATEWAY_DATA_DIR")
    return Finding(f"data directory {directory.absolute()} is writable", True)


async def _database(settings: Settings) -> Finding:
    name = "database" if settings.database.url else "embedded database"
    try:
        async with Store.open(settings.database_url, secrets=SecretBox.load(settings.key_file)) as store:
            await store.ping()
    except (GatewayError, OSError) as error:
        return Finding(name, False, str(error))
    return Finding(f"{name} answers", True)


def _running(url: str) -> Finding | None:
    """What the gateway at this address says of itself; None if there is none."""
    what = f"a gateway runs at {url}"
    try:
        with urlopen(f"{url}/readyz", timeout=PATIENCE) as answer:
            answer.read(1024)
    except HTTPError as error:
        with error:
            said = error.read(1024).decode(errors="replace")
        if error.code != 503:
            return None  # some other program
        return Finding(what, False, f"but is not well: {said}")
    except (OSError, HTTPException):
        return None
    return Finding(f"{what} and is well", True)


def _port(name: str, host: str, port: int, kind: socket.SocketKind, *, ours: bool = False) -> Finding:
    """Whether a port is free; `ours`: a gateway runs, so being in use is as it should be."""
    transport = "UDP" if kind is socket.SOCK_DGRAM else "TCP"
    what = f"{name} {transport} {host}:{port}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and ours:
                return Finding(f"{what} is in use by the running gateway", True)
            if error.errno == errno.EADDRINUSE:
                return Finding(what, False, "in use: another program, or a gateway that runs already")
            return Finding(what, False, error.strerror or str(error))
    return Finding(f"{what} is free", True)


def _range(first: int, last: int) -> Finding:
    streams = (last - first + 1) // 2
    return Finding(
        f"RTP ports {first}–{last}: {streams} streams at a time",
        streams >= RELIABLE_PORTS,
        "widen rtp.port_min … rtp.port_max, and open the range in the firewall (UDP and TCP)",
        warning=True,
    )


def _addresses(settings: Settings) -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: this only asks which address the route would use
        host = probe.getsockname()[0]
    if settings.sip.advertise:
        return Finding(f"devices are told {settings.sip.advertise}, others {host}", True)
    return Finding(
        f"devices are told the address they came to (here mostly {host})",
        not host.startswith("127."),
        "this machine has no route to other networks: set sip.advertise and rtp.advertise for devices elsewhere",
        warning=True,
    )


def _receive_buffer() -> Finding:
    with suppress(OSError, ValueError):
        limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
        return Finding(
            f"UDP receive buffers up to {limit // 1024} KiB",
            limit >= RECEIVE_BUFFER,
            "key frames may overrun it: sysctl -w net.core.rmem_max=8388608",
            warning=True,
        )
    return Finding("UDP receive buffers", True)


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Finding(
        f"{max(soft, hard)} open files allowed",
        max(soft, hard) >= FILES,
        f"for many devices over TCP and many viewers raise it: LimitNOFILE={FILES} (systemd) or ulimit -n {FILES}",
        warning=True,
    )


def _disk(directory: Path) -> Finding:
    free = _attempt(lambda: shutil.disk_usage(directory).free)
    return Finding(f"{(free or 0) >> 20} MiB of disk free", (free or 0) >= DISK, "make room", warning=True)


def _attempt(question: Callable[[], int]) -> int | None:
    try:
        return question()
    except OSError:
        return None
