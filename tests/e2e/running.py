"""Starts a gateway as users do, and talks to its API."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from tests.ports import free_ports

ADMIN = "admin"
PASSWORD = "Correct-horse-7"
DEVICE_PASSWORD = "Camera-pass-1"
SERVER_ID = "34020000002000000001"
DOMAIN = SERVER_ID[:10]


@dataclass
class Channel:
    """A channel as the operator's list shows it."""

    device_id: str
    channel_id: str
    status: str
    stream_name: str
    stream: dict[str, Any] | None
    play: dict[str, str] | None
    failure: str | None


@dataclass
class RunningGateway:
    """One gateway process over `data_dir`; may be killed and started again with the same data."""

    data_dir: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    sip_port: int = 0
    http_port: int = 0
    rtmp_port: int = 0
    rtsp_port: int = 0
    rtp_port: int = 0
    process: subprocess.Popen[bytes] | None = None
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=20.0))
    project: str = ""

    async def start(self) -> Self:
        """Returns when it is ready and we are logged in."""
        if not self.sip_port:
            self.sip_port, self.http_port, self.rtmp_port, self.rtsp_port = free_ports(4)
            self.rtp_port = 20_000 + (os.getpid() * 64 + self.http_port) % 10_000
        environment = {
            **os.environ,
            "GATEWAY_DATA_DIR": str(self.data_dir),
            "GATEWAY_DEMO": "0",
            "GATEWAY_SIP__HOST": "127.0.0.1",
            "GATEWAY_SIP__PORT": str(self.sip_port),
            "GATEWAY_SIP__ID": SERVER_ID,
            "GATEWAY_HTTP__HOST": "127.0.0.1",
            "GATEWAY_HTTP__PORT": str(self.http_port),
            "GATEWAY_RTMP__HOST": "127.0.0.1",
            "GATEWAY_RTMP__PORT": str(self.rtmp_port),
            "GATEWAY_RTSP__HOST": "127.0.0.1",
            "GATEWAY_RTSP__PORT": str(self.rtsp_port),
            "GATEWAY_RTP__HOST": "127.0.0.1",
            "GATEWAY_RTP__PORT_MIN": str(self.rtp_port),
            "GATEWAY_RTP__PORT_MAX": str(self.rtp_port + 499),
            "GATEWAY_ADMIN__NAME": ADMIN,
            "GATEWAY_ADMIN__PASSWORD": PASSWORD,
            **self.settings,
        }
        log = (self.data_dir / "gateway.log").open("ab")
        command = [sys.executable, "-m", "gateway", "serve"]
        self.process = subprocess.Popen(  # noqa: ASYNC220  (starts at once; it is awaited by its readiness)
            command, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        log.close()
        await self._ready()
        await self.log_in()
        return self

    async def _ready(self) -> None:
        async with asyncio.timeout(60.0):
            while True:
                assert self.process is not None
                assert self.process.poll() is None, self.log
                try:
                    if (await self.client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)

    async def log_in(self) -> None:
        identity = {"methods": ["password"], "password": {"user": {"name": ADMIN, "password": PASSWORD}}}
        answer = await self.client.post(f"{self.url}/v3/auth/tokens", json={"auth": {"identity": identity}})
        assert answer.status_code == 201, answer.text
        self.client.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]
        self.project = answer.json()["token"]["project"]["id"]

    async def stop(self) -> None:
        """As systemd does: SIGTERM, then wait."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self.process.wait, 20)

    def kill(self) -> None:
        """As a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def close(self) -> None:
        try:
            await self.stop()
        finally:
            if self.process is not None and self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            await self.client.aclose()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def log(self) -> str:
        return (self.data_dir / "gateway.log").read_text(errors="replace")

    # -- the API ----------------------------------------------------------------------------------------------------

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """A call that must succeed; `path` is relative to the project."""
        response = await self.client.request(method, f"{self.url}/v1/{self.project}/{path}", json=body)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    async def provision(self, type_: str = "IPC", quantity: int = 1, username: str = "camera") -> list[str]:
        """A credential (once) and devices; returns their ids."""
        known = [entry["username"] for entry in await self.call("GET", "credentials/codes")]
        if username not in known:
            await self.call("POST", "credentials/codes", {"username": username, "password": DEVICE_PASSWORD})
        body = {"type": type_, "username": username, "quantity": quantity}
        ids: list[str] = (await self.call("POST", "devices", body))["device_id_list"]
        return ids

    async def channels(self) -> list[Channel]:
        response = await self.client.get(f"{self.url}/gb/v1/channels", params={"limit": 1000})
        assert response.is_success, response.text
        return [
            Channel(
                one["device_id"],
                one["channel_id"],
                one["invitation_status"],
                one["stream_name"],
                one["stream"],
                one["play"],
                one["failure"],
            )
            for one in response.json()["channels"]
        ]

    async def channel(self, device_id: str) -> Channel | None:
        return next((one for one in await self.channels() if one.device_id == device_id), None)

    async def wait_for(self, device_id: str, *statuses: str, seconds: float = 20.0) -> Channel:
        """Waits until the device's first channel has one of the statuses."""
        channel = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    channel = await self.channel(device_id)
                    if channel is not None and channel.status in statuses:
                        return channel
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{channel} is not {statuses}\n{self.log[-4000:]}") from None

    async def device_is(self, device_id: str, state: str, *, seconds: float = 20.0) -> None:
        """Waits until the device has that state."""
        found = None
        try:
            async with asyncio.timeout(seconds):
                while found != state:
                    found = (await self.call("GET", f"devices/{device_id}"))["state"]
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{device_id} is {found}, not {state}\n{self.log[-4000:]}") from None

    async def set_state(self, channel: Channel, state: str, **more: str) -> httpx.Response:
        """Invites or cancels."""
        path = f"{self.url}/v1/{self.project}/devices/{channel.device_id}/channels/{channel.channel_id}"
        return await self.client.put(path, json={"state": state, **more})
