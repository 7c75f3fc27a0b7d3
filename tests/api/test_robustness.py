"""Whatever a client sends, nothing is our fault: no 5xx, and always a body in the family's form."""

import json
import random
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import Client
from tests.api.endpoints import IDS, endpoints
from tests.api.world import World

ODD: list[Any] = [
    None, True, 0, -1, 1.5, 10**30, "", " ", "\x00", "a\x00b", "%", "'; DROP TABLE device; --", "门口",
    "\u202e", "x" * 5000,
    "ACTIVE", "IPC", "0100", [], ["a"], {}, {"a": 1}, "../../etc/passwd", "🎥",
]  # fmt: skip
FIELDS = [
    "type", "username", "quantity", "suffix", "description", "device_id_list", "password", "new_password", "state",
    "tcp_priority",
]  # fmt: skip
QUERY = ["offset", "limit", "sort", "order_by", "device_id", "type", "state", "username", "name", "stream_state"]


@pytest.mark.parametrize("seed", range(3))
async def test_odd_bodies_queries_and_paths(client: Client, world: World, credential: str, seed: int) -> None:
    chance = random.Random(seed)
    await client.ok("POST", "devices", {"type": "NVR", "username": credential})
    await world.register("34020000001180000001", client.project_id)
    every = await endpoints(client, "/v1/")
    for _ in range(150):
        endpoint = chance.choice(every)
        method, parts = endpoint.method, endpoint.at({**IDS, "project_id": client.project_id}).split("/")
        if chance.random() < 0.5:
            parts[-1] = quote(str(chance.choice(ODD)), safe="")
        body = {field: chance.choice(ODD) for field in chance.sample(FIELDS, 4)}
        query = {name: str(chance.choice(ODD))[:200] for name in chance.sample(QUERY, chance.randrange(4))}
        answer = await client(method, "/".join(parts), body, **query)
        assert answer.status_code < 500, (method, parts, body, query, answer.text)
        if answer.status_code >= 400:
            assert answer.json().keys() == {"error_code", "error_msg"}


@pytest.mark.parametrize(
    "path",
    ["%00", "%ff%fe", "%ED%A0%80", "a%2Fb", "..%2f..%2f", "%F0%9F%8E%A5", "x" * 8000],
)
async def test_odd_paths(client: Client, path: str) -> None:
    for below in ("devices/", "streams/", "credentials/codes/"):
        assert (await client("GET", below + path)).status_code in {400, 404, 405}
    assert (await client("GET", f"/gb/v1/devices/{path}/events")).status_code in {400, 404}


async def test_odd_numbers(client: Client, credential: str) -> None:
    ids = (await client.ok("POST", "devices", {"type": "IPC", "username": credential}))["device_id_list"]
    for before in (0, -1, 10**30, "x"):
        assert (await client("GET", f"/gb/v1/devices/{ids[0]}/events", before=before)).status_code == 400
    assert (await client("GET", "/gb/v1/channels", offset=10**30)).status_code == 400


async def test_deeply_nested_bodies(client: Client) -> None:
    for content in (b"[" * 100_000, b'{"auth":' * 10_000, json.dumps({"a" * 100_000: 1}).encode()):
        headers = {"X-Auth-Token": str(client.token), "Content-Type": "application/json"}
        for url in ("/v3/auth/tokens", f"/v1/{client.project_id}/devices"):
            answer = await client.http.post(url, content=content, headers=headers)
            assert 400 <= answer.status_code < 500, (url, content[:20], answer.status_code)
