"""Signed requests through the front door, which must pass on what was signed as it came."""

import json
from typing import Any

import httpx
import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer

from tests.e2e.running import RunningGateway

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_vendors_signer_is_taken_through_the_front_door(gateway: RunningGateway) -> None:
    made = (await gateway.client.post(f"{gateway.url}/gb/v1/access-keys", json={})).json()
    signer = Signer(BasicCredentials(made["access_key"], made["secret_key"]))

    async def call(method: str, path: str, query: list[tuple[str, object]], body: Any = None) -> httpx.Response:
        content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json;charset=utf8", "User-Agent": "signer", "X-Odd": "a  b é"}
        request = SdkRequest(method, "http", f"127.0.0.1:{gateway.http_port}", path, None, query, headers, content)
        done = signer.sign(request)
        async with httpx.AsyncClient() as http:
            sent = {name: value.encode("latin-1") for name, value in done.header_params.items()}
            return await http.request(method, done.url, headers=sent, content=content)

    base = f"/v1/{gateway.project}"
    made_up = {"username": "signed1", "password": "Secret-1234", "description": "门口"}
    assert (await call("POST", f"{base}/credentials/codes", [], made_up)).status_code == 200
    answer = await call("GET", f"{base}/credentials/codes", [("username", "SIGNED"), ("offset", 1), ("limit", 5)])
    assert answer.json()["entries"][0]["description"] == "门口"
    answer = await call("GET", f"{base}/streams", [("name", "a b+c~/*&=摄"), ("stream_state", "active")])
    assert answer.json() == []
    assert (await call("GET", f"{base}/streams/摄像 机%2Bx~", [])).json()["error_code"] == "VIS.0202"
    assert (await call("DELETE", f"{base}/credentials/codes/signed1", [])).status_code == 200
    assert (await call("DELETE", f"{base}/credentials/codes/signed1", [("again", "")])).json()[
        "error_code"
    ] == "VIS.0102"
