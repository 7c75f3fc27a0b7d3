"""How many WebRTC sessions one address may have, as a client meets it: over HTTP, at the front door."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from aiortc import RTCConfiguration, RTCPeerConnection

from tests.e2e.running import RunningGateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST = 2
STREAMS = ("one", "two", "three")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    settings = {
        "GATEWAY_WEBRTC__ADDRESSES": json.dumps(["127.0.0.1"]),
        "GATEWAY_WEBRTC__SESSIONS_PER_ADDRESS_MAX": str(MOST),
    }
    running = RunningGateway(tmp_path_factory.mktemp("limits"), settings)
    try:
        yield await running.start()
    finally:
        await running.close()


async def offer(direction: str) -> str:
    """As a browser makes one, which then does not go on."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        for kind in ("video", "audio"):
            connection.addTransceiver(kind, direction=direction)
        await connection.setLocalDescription(await connection.createOffer())
        return str(connection.localDescription.sdp)
    finally:
        await connection.close()


async def test_who_has_as_many_sessions_as_may_be_is_told_so_and_when_to_come_again(gateway: RunningGateway) -> None:
    for name in STREAMS:
        await gateway.call("POST", "streams", {"name": name, "access_type": "RTMP", "encode_type": "H264"})
        await gateway.call("PUT", f"streams/{name}", {"state": "ACTIVE", "share_type": "PUBLIC"})
    published, played = await offer("sendonly"), await offer("recvonly")

    async def ask(path: str, sdp: str, **headers: str) -> httpx.Response:
        given = {"Content-Type": "application/sdp", **headers}
        return await gateway.client.post(f"{gateway.url}/{path}", content=sdp, headers=given)

    one, two = [await ask(f"whip/default/{name}", published) for name in STREAMS[:MOST]]
    assert (one.status_code, two.status_code) == (201, 201), (one.text, two.text)
    refused = [
        await ask("whip/default/three", published),
        await ask("whip/default/three", published, **{"X-Forwarded-For": "192.0.2.77"}),
        await ask("whep/default/one", played),
    ]
    for answer in refused:
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5"), answer.text
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["content-type"] == "application/problem+json"
        assert f"{MOST} WebRTC sessions of 127.0.0.1 run" in answer.json()["detail"]
    figures = (await gateway.client.get(f"{gateway.url}/metrics")).text
    assert 'gateway_webrtc_offers_total{outcome="crowded"} 3.0' in figures
    assert (await gateway.client.delete(gateway.url + two.headers["location"])).status_code == 200
    async with asyncio.timeout(20):
        while (answer := await ask("whip/default/three", published)).status_code == 429:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert answer.status_code == 201, answer.text
    for location in (one.headers["location"], answer.headers["location"]):
        assert (await gateway.client.delete(gateway.url + location)).status_code == 200
