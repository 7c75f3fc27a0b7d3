"""Behind a reverse proxy: who asked is whom a trusted one saw."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import ADMIN, PASSWORD, RunningGateway

CLAIM = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https", "Host": "video.example.org"}


async def seen_as(gateway: RunningGateway) -> Any:
    """The address of the last log-in in the audit log, and how play addresses begin."""
    identity = {"methods": ["password"], "password": {"user": {"name": ADMIN, "password": PASSWORD}}}
    entered = await gateway.client.post(
        f"{gateway.url}/v3/auth/tokens", json={"auth": {"identity": identity}}, headers=CLAIM
    )
    assert entered.status_code == 201, entered.text
    entries = (await gateway.client.get(f"{gateway.url}/gb/v1/audit")).json()["entries"]
    stream = await gateway.client.get(f"{gateway.url}/gb/v1/streams/gate", headers=CLAIM)
    return entries[0]["address"], stream.json()["play"]["hls"].partition("://")[0]


@pytest.mark.parametrize(
    ("proxies", "address", "scheme"), [('["127.0.0.0/8"]', "203.0.113.9", "https"), ("[]", "127.0.0.1", "http")]
)
async def test_only_a_trusted_proxy_says_who_asked(proxies: str, address: str, scheme: str, tmp_path: Path) -> None:
    gateway = RunningGateway(tmp_path, {"GATEWAY_HTTP__TRUSTED_PROXIES": proxies})
    try:
        await gateway.start()
        await gateway.call("POST", "streams", {"name": "gate", "access_type": "RTMP", "encode_type": "H264"})
        await gateway.call("PUT", "streams/gate", {"state": "ACTIVE"})
        assert await seen_as(gateway) == (address, scheme)
    finally:
        await gateway.close()
