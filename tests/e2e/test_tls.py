"""A gateway that serves HTTPS itself: settings, addresses, figures."""

import ssl
from pathlib import Path

import httpx

from tests.e2e.running import ADMIN, PASSWORD, RunningGateway
from tests.media.pem import write_pair
from tests.ports import free_ports


async def test_who_comes_by_https_is_offered_addresses_behind_tls(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    https, rtmps, rtsps = free_ports(3)
    settings = {
        "GATEWAY_TLS__CERTIFICATE": str(certificate),
        "GATEWAY_TLS__KEY": str(key),
        "GATEWAY_TLS__HTTPS_PORT": str(https),
        "GATEWAY_TLS__RTMPS_PORT": str(rtmps),
        "GATEWAY_TLS__RTSPS_PORT": str(rtsps),
    }
    gateway = await RunningGateway(tmp_path, settings).start()
    try:
        context = ssl.create_default_context(cafile=str(certificate))
        async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{https}", verify=context) as client:
            identity = {"methods": ["password"], "password": {"user": {"name": ADMIN, "password": PASSWORD}}}
            answer = await client.post("/v3/auth/tokens", json={"auth": {"identity": identity}})
            client.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]
            stream = {"name": "camera", "access_type": "RTMP", "encode_type": "H264"}
            made = await client.post(f"/v1/{gateway.project}/streams", json=stream)
            assert made.status_code in {200, 201}, made.text
            started = await client.put(f"/v1/{gateway.project}/streams/camera", json={"state": "ACTIVE"})
            assert started.status_code == 200, started.text
            endpoint = (await client.get(f"/v1/{gateway.project}/streams/camera/endpoint")).json()
            figures = (await client.get("/metrics")).text
        addresses = endpoint["addresses"]
        assert addresses["http_flv"].startswith(f"https://127.0.0.1:{https}/")
        assert addresses["ws_flv"].startswith(f"wss://127.0.0.1:{https}/")
        assert addresses["rtmp"].startswith(f"rtmps://127.0.0.1:{rtmps}/")
        assert addresses["rtsp"].startswith(f"rtsps://127.0.0.1:{rtsps}/")
        assert "relay_tls_handshakes_total 1.0" in figures
        assert "gateway_tls_certificate_ends_seconds 0.0" not in figures
    finally:
        await gateway.close()
