"""What all families share: ids, malformed requests, health, figures, the schema."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from litestar.testing import AsyncTestClient
from prometheus_client import CollectorRegistry

from api.application import create
from gateway.errors import UnavailableError
from tests.api.conftest import Client
from tests.api.world import World

REQUEST_ID = re.compile(r"[0-9a-f]{32}-\d{10}-.+")


async def test_every_answer_has_a_request_id(client: Client) -> None:
    seen = set()
    for path in ("/healthz", "devices", "/v1/x/unknown", "/nowhere", "/gb/v1/devices/unknown"):
        answer = await client("GET", path)
        assert REQUEST_ID.fullmatch(answer.headers["X-request-id"]), path
        seen.add(answer.headers["X-request-id"])
    assert len(seen) == 5


async def test_a_body_that_is_no_json_object_is_named(client: Client) -> None:
    for body in [b"", b"{", b"[]", b'"text"', b"{'a': 1}", b"\xff\xfe", b'{"type": "\\ud800"}']:
        headers = {"X-Auth-Token": str(client.token), "Content-Type": "application/json"}
        answer = await client.http.post(f"/v1/{client.project_id}/devices", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (404, "VIS.0005"), answer.text
        assert answer.json()["error_msg"]


async def test_a_body_too_long_is_refused(client: Client) -> None:
    answer = await client("POST", "devices", {"type": "IPC", "username": "x" * 2_000_000})
    assert answer.status_code == 413


async def test_unknown_methods(client: Client) -> None:
    for method, path in [("PATCH", "devices"), ("PATCH", "streams"), ("PUT", "subscription")]:
        answer = await client(method, path)
        assert (answer.status_code, answer.json().keys()) == (405, {"error_code", "error_msg"})


async def test_unknown_paths_answer_in_the_form_of_their_family(client: Client) -> None:
    answer = await client("GET", "nothing")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "VIS.0005")
    assert (await client("GET", "/v3/nothing")).json()["error"]["code"] == 404
    assert (await client("GET", "/gb/v1/nothing")).json()["status"] == 404


async def test_health(client: Client, world: World) -> None:
    client.token = None
    answer = await client("GET", "/healthz")
    assert (answer.status_code, answer.text) == (200, "ok")
    assert await client.ok("GET", "/readyz") == {"database": "ok", "sip": "ok"}
    world.health.found["sip"] = "port 5080 is taken"
    answer = await client("GET", "/readyz")
    assert (answer.status_code, answer.json()) == (503, {"database": "ok", "sip": "port 5080 is taken"})


async def test_figures(client: Client) -> None:
    await client.ok("GET", "devices")
    await client.refused("VIS.0302", "GET", "devices/unknown")
    text = (await client("GET", "/metrics")).text
    assert 'gateway_http_requests_total{family="vis",method="GET",status="200"} 1.0' in text
    assert 'gateway_http_requests_total{family="vis",method="GET",status="404"} 1.0' in text
    assert 'gateway_http_request_seconds_count{family="vis"} 2.0' in text


async def test_the_schema_is_there_without_a_token(client: Client) -> None:
    client.token = None
    for path in ("/schema", "/schema/openapi.json"):
        schema = await client.ok("GET", path)
        assert schema["openapi"].startswith("3.")
    assert "/v1/{project_id}/devices/{device_id}/channels/{channel_id}" in schema["paths"]


async def test_a_failing_database_is_503_and_tells_no_secrets(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_given: object) -> None:
        raise UnavailableError("the database at 192.0.2.9 failed")

    monkeypatch.setattr(world.store.devices, "list", fail)
    assert "192.0.2.9" not in await client.refused("VIS.0008", "GET", "devices")


async def test_a_bug_is_500_and_tells_nothing(client: Client, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_given: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(world.store.devices, "list", fail)
    assert "secret" not in await client.refused("VIS.0007", "GET", "devices")


async def test_the_page_is_served_beside_the_apis(world: World, tmp_path: Path) -> None:
    (tmp_path / "dist" / "assets").mkdir(parents=True)
    (tmp_path / "dist" / "index.html").write_text("<title>Channels</title>")
    (tmp_path / "dist" / "assets" / "main-1a2b.js").write_text("let x;")
    (tmp_path / "secret").write_text("not for you")
    async with AsyncTestClient(
        create(replace(world.gateway, metrics=CollectorRegistry()), console=tmp_path / "dist")
    ) as page:
        answer = await page.get("/")
        assert (answer.status_code, answer.text) == (200, "<title>Channels</title>")
        assert answer.headers["Content-Type"].startswith("text/html")
        script = await page.get("/assets/main-1a2b.js")
        assert (script.status_code, script.headers["Content-Type"].split(";")[0]) == (200, "text/javascript")
        for path in ("/../secret", "/%2e%2e/secret", "/assets/../../secret", "/assets/none.js"):
            assert "not for you" not in (await page.get(path)).text, path
        assert (await page.get("/healthz")).text == "ok"
        assert (await page.get("/v1/x/devices")).json()["error_code"] == "VIS.0001"
