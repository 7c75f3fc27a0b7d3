"""Requests signed by the vendor's signer, over real HTTP."""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import DerivationAKSKSigner, Signer, SM3Signer

from gateway.accounts.errors import SignatureError
from gateway.accounts.keys import AccessKeys
from gateway.accounts.model import Role
from gateway.accounts.signing import SignedRequest
from tests.api.conftest import Client
from tests.api.world import World

HOST = "gateway.example"


class Signing:
    """A client that signs each request with the vendor's signer."""

    def __init__(self, http: httpx.AsyncClient, key: str, secret: str, now: Callable[[], datetime]) -> None:
        self.http = http
        self.credentials = BasicCredentials(key, secret)
        self.now = now
        self.headers: dict[str, str] = {}
        self.signer = Signer(self.credentials)

    def sign(
        self, method: str, path: str, body: Any = None, query: list[tuple[str, object]] | None = None
    ) -> httpx.Request:
        content = b"" if body is None else json.dumps(body).encode()
        date = f"{self.now():%Y%m%dT%H%M%SZ}"
        typed = {"Content-Type": "application/json"} if content else {}
        request = SdkRequest(
            method=method,
            schema="http",
            host=HOST,
            resource_path=path,
            query_params=query or [],
            header_params={"X-Sdk-Date": date, **typed, **self.headers},
            body=content,
        )
        done = self.signer.sign(request)
        return httpx.Request(method, f"http://{HOST}{done.uri}", headers=done.header_params, content=content)

    async def __call__(self, *given: Any) -> httpx.Response:
        return await self.http.send(self.sign(*given))


@pytest.fixture
async def signing(client: Client, world: World) -> Signing:
    answer = await client("POST", "/gb/v1/access-keys", {"description": "nightly"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    return Signing(client.http, made["access_key"], made["secret_key"], lambda: world.now)


def refused(answer: httpx.Response, told: str, status: int = 403) -> None:
    assert (answer.status_code, answer.json()["error_code"]) == (status, "VIS.0001"), answer.text
    assert told in answer.json()["error_msg"]


async def test_signed_calls_are_taken(signing: Signing, client: Client) -> None:
    base = f"/v1/{client.project_id}"
    answer = await signing("POST", f"{base}/credentials/codes", {"username": "gate1", "password": "Secret-1234"})
    assert answer.status_code == 200, answer.text
    answer = await signing("PUT", f"{base}/credentials/codes/gate1", {"description": "门口 é"})
    assert answer.status_code == 200, answer.text
    answer = await signing("GET", f"{base}/credentials/codes", None, [("limit", 10), ("offset", 1), ("username", "E1")])
    assert answer.json()["entries"][0]["description"] == "门口 é"
    answer = await signing("GET", f"{base}/streams", None, [("name", "a b+c~/*&=摄")])
    assert answer.json() == []
    assert (await signing("GET", f"{base}/streams/摄像 机")).json()["error_code"] == "VIS.0202"
    assert (await signing("GET", "/v3/projects")).json()["projects"][0]["id"] == client.project_id
    assert (await signing("GET", "/gb/v1/channels")).json()["total"] == 0
    assert (await signing("DELETE", f"{base}/credentials/codes/gate1")).status_code == 200


async def test_a_signature_counts_once(signing: Signing, client: Client, world: World) -> None:
    request = signing.sign("GET", f"/v1/{client.project_id}/streams")
    assert (await client.http.send(request)).status_code == 200
    refused(await client.http.send(request), "used before")
    world.now += timedelta(minutes=14, seconds=59)
    refused(await client.http.send(request), "used before")
    assert (await signing("GET", f"/v1/{client.project_id}/streams")).status_code == 200


@pytest.mark.parametrize("minutes", [-16, 16])
async def test_a_clock_that_is_wrong_is_told(signing: Signing, client: Client, world: World, minutes: int) -> None:
    signing.now = lambda: world.now + timedelta(minutes=minutes)
    refused(await signing("GET", f"/v1/{client.project_id}/streams"), "15 minutes from now, which is 20260301T080000Z")


async def test_what_was_changed_on_the_way_is_refused(signing: Signing, client: Client) -> None:
    path = f"/v1/{client.project_id}/credentials/codes"
    body = {"username": "gate1", "password": "Secret-1234"}

    def changed(**change: Any) -> httpx.Request:
        good = signing.sign("POST", path, body)
        given = {"method": good.method, "url": good.url, "headers": dict(good.headers), "content": good.content}
        return httpx.Request(**{**given, **change})

    good = signing.sign("POST", path, body)
    headers = dict(good.headers)
    for request in (
        changed(method="GET"),
        changed(url=f"http://{HOST}{path}?a=b"),
        changed(content=good.content.replace(b"gate1", b"gate3")),
        changed(headers={**headers, "host": "other.example"}),
        changed(headers={**headers, "content-type": "application/json;"}),
        changed(headers={**headers, "x-sdk-date": "20260301T080001Z"}),
    ):
        answer = await client.http.send(request)
        assert answer.json()["error_code"] == "VIS.0001", answer.text
        assert "signature is wrong" in answer.json()["error_msg"]
    assert await client.ok("GET", "credentials/codes") == []
    assert (await client.http.send(changed())).status_code == 200


async def test_other_kinds_of_signature_are_refused_by_name(signing: Signing, client: Client) -> None:
    signing.signer = SM3Signer(signing.credentials)
    refused(await signing("GET", f"/v1/{client.project_id}/streams"), "SDK-HMAC-SM3 is not supported")
    derived = DerivationAKSKSigner(signing.credentials)
    request = SdkRequest("GET", "http", HOST, f"/v1/{client.project_id}/streams", None, [], {})
    done = derived.sign(request, "vis", "north")
    answer = await client.http.get(done.uri, headers=done.header_params)
    refused(answer, "V11-HMAC-SHA256 is not supported")


async def test_keys_are_disabled_enabled_and_deleted(signing: Signing, client: Client, world: World) -> None:
    (key,) = (await client.ok("GET", "/gb/v1/access-keys"))["access_keys"]
    assert (key["description"], key["enabled"], key["last_used_at"]) == ("nightly", True, None)
    assert "secret_key" not in key
    url, path = f"/gb/v1/access-keys/{key['access_key']}", f"/v1/{client.project_id}/streams"
    assert (await signing("GET", path)).status_code == 200
    assert (await client.ok("GET", "/gb/v1/access-keys"))["access_keys"][0]["last_used_at"] == "2026-03-01T08:00:00Z"
    assert (await client.ok("PUT", url, {"enabled": False}))["enabled"] is False
    world.now += timedelta(seconds=1)
    refused(await signing("GET", path), "unknown or disabled")
    await client.ok("PUT", url, {"enabled": True, "description": ""})
    assert (await signing("GET", path)).status_code == 200
    assert (await client("DELETE", url)).status_code == 204
    assert (await client("DELETE", url)).status_code == 404
    world.now += timedelta(seconds=1)
    refused(await signing("GET", path), "unknown or disabled")
    signing.credentials.ak = "AKUNKNOWN"


async def test_a_user_has_ten_keys_at_most(client: Client) -> None:
    for number in range(11):
        answer = await client("POST", "/gb/v1/access-keys", {})
        assert answer.status_code == (201 if number < 10 else 400), answer.text


async def test_the_project_is_that_of_the_path_of_the_header_or_the_users_own(
    signing: Signing, client: Client, world: World
) -> None:
    other = await world.accounts.add_project("other", world.now)
    answer = await signing("GET", f"/v1/{other.project_id}/streams")
    assert (answer.status_code, answer.json()["error_code"]) == (403, "VIS.0006")
    assert (await signing("GET", "/v1/unknown/streams")).json()["error_code"] == "VIS.0002"
    signing.headers = {"X-Project-Id": client.project_id}
    assert (await signing("GET", f"/v1/{client.project_id}/streams")).status_code == 200
    assert (await signing("GET", "/gb/v1/channels")).status_code == 200
    signing.headers = {"X-Project-Id": other.project_id}
    assert (await signing("GET", "/gb/v1/channels")).status_code == 403
    answer = await signing("GET", f"/v1/{client.project_id}/streams")
    assert (answer.status_code, answer.json()["error_code"]) == (403, "VIS.0003")


async def test_a_viewers_key_only_reads(client: Client, world: World) -> None:
    password = await world.accounts.add_user("viewer", "default", Role.VIEWER, None, world.now)
    client.token, _ = await world.accounts.log_in("viewer", password, world.now)
    made = (await client("POST", "/gb/v1/access-keys", {})).json()
    signing = Signing(client.http, made["access_key"], made["secret_key"], lambda: world.now)
    assert (await signing("GET", f"/v1/{client.project_id}/devices")).status_code == 200
    answer = await signing("POST", f"/v1/{client.project_id}/subscription")
    assert (answer.status_code, answer.json()["error_code"]) == (403, "VIS.0006")


async def test_bodies_are_bounded(signing: Signing, client: Client) -> None:
    path = f"/v1/{client.project_id}/devices"
    answer = await signing("POST", path, {"type": "IPC", "username": "x" * 13_000_000})
    assert answer.status_code == 413
    answer = await signing("POST", path, {"type": "IPC", "username": "x" * 900_000})
    assert answer.json()["error_code"] == "VIS.0102"


async def test_a_restart_lets_no_signature_be_used_again(signing: Signing, client: Client, world: World) -> None:
    """What was signed before the start is refused; what was dated ahead of the clock is remembered in the database."""
    path = f"/v1/{client.project_id}/streams"
    past = signing.sign("GET", path)
    signing.now = lambda: world.now + timedelta(minutes=10)
    ahead = signing.sign("GET", path)
    for request in (past, ahead):
        assert (await client.http.send(request)).status_code == 200
    keys = world.gateway.keys
    world.now += timedelta(seconds=2)
    object.__setattr__(world.gateway, "keys", AccessKeys(world.store, started_at=world.now))
    await world.gateway.keys.load(world.now)
    refused(await client.http.send(past), "before this gateway started")
    refused(await client.http.send(ahead), "used before")
    signing.now = lambda: world.now
    assert (await signing("GET", path)).status_code == 200
    assert world.gateway.keys is not keys


async def test_a_body_that_is_held_back_lets_no_signature_be_used_again(
    signing: Signing, client: Client, world: World
) -> None:
    """A stranger who saw a request may begin it in time, and send its body when it has been forgotten."""
    path = f"/v1/{client.project_id}/streams"
    request = signing.sign("GET", path)
    keys = world.gateway.keys
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    begun = await keys.begin(SignedRequest("GET", path.encode(), b"", headers), world.now)
    assert (await client.http.send(request)).status_code == 200
    world.now += timedelta(minutes=20)
    assert (await signing("GET", path)).status_code == 200
    empty = hashlib.sha256(b"").hexdigest()
    with pytest.raises(SignatureError, match="aged out"):
        await keys.finish(begun, empty, is_empty=True, project_id=client.project_id, at=world.now)
