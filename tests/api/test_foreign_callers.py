"""Every route of the application, walked with the tokens of those who may not: new ones are covered as they come.

Two projects stand in one database. Whoever is refused must neither see anything of the other's, nor change it: the
rows of the database are compared, and what answers hold is looked for.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from litestar.routes import HTTPRoute

from api.auth.recorder import READING
from gateway.accounts.model import Role
from gateway.store.tables import metadata
from tests.api.conftest import Client
from tests.api.operator.test_users import enter, made
from tests.api.world import World

pytestmark = pytest.mark.timeout(300)  # each test makes all calls of the application

CHANNEL = "34020000001310000001"
OPEN = {"/healthz", "/readyz", "/metrics", "/v3/auth/tokens", "/", "/{file_path}"}
"""Open to everybody by intention: log-in and log-out share a path, and the last two are the page, where it is built."""
PASSING = {"token", "audit_entry", "serial", "seen_signature"}
"""Tables that every call may write to, or that belong to nobody."""


@dataclass
class Route:
    method: str
    path: str
    options: dict[str, Any]
    numbers: frozenset[str] = frozenset()
    """Parts of the path that are numbers."""

    def at(self, ids: dict[str, str]) -> str:
        if "/streams/{name}" in self.path:
            ids = {**ids, "name": ids["own_stream"]}
        if "/inputs" in self.path:
            ids = {**ids, "stream_name": ids["pulled_stream"]}
        unknown = dict.fromkeys(self.numbers, "7")
        parts = self.path.split("/")
        return "/".join((unknown | ids).get(part[1:-1], "x") if part.startswith("{") else part for part in parts)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Ours:
    """What the project has that others must not see."""

    project_id: str
    ids: dict[str, str]
    hidden: dict[str, str] = field(default_factory=dict)
    """The same of a device that is in no group."""


ASIDE = ("/schema", "/whep/", "/whip/")
"""Streams by WebRTC are played and published by the rights of addresses: tests/e2e/test_webrtc.py."""


def numbers(route: HTTPRoute) -> frozenset[str]:
    return frozenset(name for name, parameter in route.path_parameters.items() if parameter.type is int)


def routes(world: World) -> list[Route]:
    found = [
        Route(method, route.path_format, dict(handler.opt), numbers(route))
        for route in world.application.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
        if method != "OPTIONS"
    ]
    asked = [route for route in found if not route.path.startswith(ASIDE) and route.path not in OPEN]
    assert len(asked) > 60
    return sorted(asked, key=lambda route: (route.method == "DELETE", route.path))


def body(route: Route, world: World, ids: dict[str, str]) -> Any:
    """A body such as the schema asks for, with these ids in it."""
    operations = world.document
    operation = operations["paths"].get(route.path, {}).get(route.method.lower(), {})
    content = operation.get("requestBody", {}).get("content", {})
    schema = next(iter(content.values()), {}).get("schema")
    if schema is None:
        return None
    given = _value(operations, schema, "", ids)
    wanted = ((key.split(" "), urls) for key, urls in URLS.items())
    urls = next((urls for (method, end), urls in wanted if route.method == method and route.path.endswith(end)), {})
    return {**given, **urls} if urls else given


WORDS = {
    "type": "IPC", "state": "ACTIVE", "access_type": "RTMP", "encode_type": "H264", "role": "viewer",
    "timezone": "GMT+8:00", "store_type": "local", "start_time": "10:00", "end_time": "12:00", "name": "gate7",
    "password": "Secret-0000", "new_password": "Other-12345", "share_type": "PUBLIC", "random_strategy": "RANDOM",
    "periodicity": "DAY", "format": "FLV", "suffix": "s",
}  # fmt: skip
NUMBERS = {"total_length": 20, "slice_in_minute": 5, "retention_in_hour": 5, "quantity": 1}
LEFT_OUT = {"device_id_list", "url", "quotas", "groups", "tag", "enabled", "account_admin", "retention_for_ever"}


WEEK = {"week": [{"days": ["MON"], "start": "10:00", "end": "12:00"}]}
URLS = {
    "POST /pushes": {"url": "rtmp://live.example/app/key"},
    "PUT /inputs": {"inputs": [{"url": "http://camera.example/y"}]},
    "POST /inputs": {"url": "http://camera.example/z", "backup": "active"},
    "POST /record-plans": WEEK,
    "PUT /record-plans/{plan_id}": WEEK,
}
"""Bodies whose parts mean something that their names alone do not tell, by method and end of the path."""


def _value(document: dict[str, Any], schema: dict[str, Any], name: str, ids: dict[str, str]) -> Any:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for choice in schema.get("oneOf", schema.get("anyOf", [])):
        if choice.get("type") != "null":
            return _value(document, choice, name, ids)
    if name in NUMBERS:
        return NUMBERS[name]
    if schema.get("type") == "object":
        wanted = {one: part for one, part in schema.get("properties", {}).items() if one not in LEFT_OUT}
        return {one: _value(document, part, one, ids) for one, part in wanted.items()}
    if schema.get("type") == "array":
        return [ids["device_id"]]
    simple: dict[str, Any] = {"integer": 1, "number": 1, "boolean": True}
    kind = schema.get("type", "")
    if isinstance(kind, list):  # one of some words, or nothing
        return schema["enum"][0]
    return simple.get(kind, WORDS.get(name) or ids.get(name, "gate"))


async def rows(world: World, *, but_of: str = "") -> set[str]:
    """Every row of the database; those that name `but_of` are left out."""
    found = set()
    for table in metadata.sorted_tables:
        if table.name not in PASSING:
            for row in await world.store._database.all(sa.select(table)):
                text = f"{table.name}: {tuple(row)}"
                if not but_of or but_of not in text:
                    found.add(text)
    return found


def holds(answer: httpx.Response, ids: dict[str, str], given: Any, path: str) -> Iterator[str]:
    """What of these ids the answer holds, though nobody asked for it by name."""
    for value in ids.values():
        if value in answer.text and value not in json.dumps(given) and value not in path:
            yield value


@pytest.fixture
async def ours(client: Client, world: World, credential: str) -> Ours:
    """A project with one of everything."""
    answer = await client.ok("POST", "devices", {"type": "NVR", "username": credential, "quantity": 2})
    seen, hidden = answer["device_id_list"]
    for device_id in (seen, hidden):
        await world.register(device_id, client.project_id)
    pushed = {"name": "ourstream", "access_type": "RTMP", "encode_type": "H264"}
    await client.ok("POST", "streams", pushed)
    pulled = {"name": "ourpulled", "access_type": "HTTP-FLV", "encode_type": "H264", "url": "http://camera.example/x"}
    await client.ok("POST", "streams", pulled)
    kept = {"retention_in_hour": 1, "store_type": "local", "timezone": "GMT+8:00"}
    await client.ok("PUT", f"streams/channel_{seen}_{CHANNEL}/retention", kept)
    await client.ok("PUT", f"streams/channel_{hidden}_{CHANNEL}/retention", kept)
    week = {"name": "ourplan", "week": [{"days": ["SUN"], "start": "00:00", "end": "24:00"}]}
    plan = (await client("POST", "/gb/v1/record-plans", week)).json()["plan_id"]
    planned = [f"channel_{device_id}_{CHANNEL}" for device_id in (seen, hidden)]
    await client.ok("PUT", f"/gb/v1/record-plans/{plan}/streams", {"add": planned})
    key = await client.ok("POST", "credentials/aksks", {"name": "ourkey"})
    signing = (await client("POST", "/gb/v1/access-keys", {})).json()["access_key"]
    group = (await client("POST", "/gb/v1/groups", {"name": "ourgroup"})).json()["group_id"]
    await client.ok("PUT", f"/gb/v1/groups/{group}/devices", {"add": [seen]})
    await made(client, "ouruser", "operator", groups=[group])
    tokens = (await client.ok("GET", "/gb/v1/me/tokens"))["tokens"]
    ids = {
        "username": credential,
        "access_key": key["access_key"],
        "device_id": seen,
        "channel_id": CHANNEL,
        "stream_name": f"channel_{seen}_{CHANNEL}",
        "group_id": group,
        "plan_id": plan,
        "name": "ouruser",
        "token_id": tokens[0]["token_id"],
        "project": client.project_id,
        "project_id": client.project_id,
        "own_stream": "ourstream",
        "pulled_stream": "ourpulled",
        "signing": signing,
    }
    hidden_ids = {**ids, "device_id": hidden, "stream_name": f"channel_{hidden}_{CHANNEL}"}
    return Ours(client.project_id, ids, hidden_ids)


@pytest.fixture
async def stranger(client: Client, world: World) -> Client:
    """The administrator of another project."""
    await client("POST", "/gb/v1/projects", {"name": "other"})
    there = await enter(client, world, "admin", "other")
    await made(there, "stranger", "administrator")
    return await enter(client, world, "stranger")


async def test_nobody_gets_in_without_a_token(client: Client, world: World, ours: Ours) -> None:
    before, nobody = await rows(world), Client(client.http, ours.project_id, None)
    for route in routes(world):
        path = route.at(ours.ids)
        answer = await nobody(route.method, path, body(route, world, ours.ids))
        assert answer.status_code == 401, route
        assert not list(holds(answer, ours.ids, None, path)), route
    assert await rows(world) == before


async def test_another_projects_token_opens_and_changes_nothing(
    client: Client, world: World, ours: Ours, stranger: Client
) -> None:
    before = await rows(world, but_of=stranger.project_id)
    for route in routes(world):
        for ids in (ours.ids, {**ours.ids, "project_id": stranger.project_id}):
            path, given = route.at(ids), body(route, world, ids)
            answer = await stranger(route.method, path, given)
            assert answer.status_code < 500, (route, answer.text)
            if "{project_id}" in route.path and ids is ours.ids:
                assert (answer.status_code, answer.json()["error_code"]) == (403, "VIS.0006"), route
            if route.path == "/gb/v1/audit":  # it holds what the stranger tried, and nobody else
                assert {one["user_name"] for one in answer.json()["entries"]} <= {"admin", "stranger"}
                assert {one["project_id"] for one in answer.json()["entries"]} == {stranger.project_id}
            elif answer.is_success:
                assert not list(holds(answer, ours.ids, given, path)), (route, answer.text)
                named = {part[1:-1] for part in route.path.split("/") if part.startswith("{")} - {"project_id"}
                assert not named or route.path.startswith("/gb/v1/me"), f"{route} found what is another project's"
    assert not before - await rows(world)


async def test_a_viewer_changes_nothing(client: Client, world: World, ours: Ours) -> None:
    """But what is the viewer's own."""
    await made(client, "viewer", "viewer")
    viewer, before = await enter(client, world, "viewer"), await rows(world)
    for route in routes(world):
        needed = route.options.get("needs", Role.VIEWER)
        if needed is not Role.VIEWER or (route.method not in READING and not route.options.get("own")):
            answer = await viewer(route.method, route.at(ours.ids), body(route, world, ours.ids))
            assert answer.status_code == 403, (route, answer.text)
    assert await rows(world) == before


async def test_a_restricted_user_sees_and_changes_nothing_beyond_the_groups(
    client: Client, world: World, ours: Ours
) -> None:
    """Routes that do not say that they keep to the scope are shut; the others are asked for what is hidden."""
    li, hidden = await enter(client, world, "ouruser"), ours.hidden
    markers = {
        "device": hidden["device_id"],
        "stream": hidden["stream_name"],
        "own": "ourstream",
        "pulled": "ourpulled",
    }
    before = {row for row in await rows(world) if any(marker in row for marker in markers.values())}
    assert len(before) > 5
    for route in routes(world):
        path, given = route.at(hidden), body(route, world, hidden)
        if route.options.get("own"):
            continue
        answer = await li(route.method, path, given)
        if route.options.get("without_token"):  # a token counts for nothing there: addresses are signed
            assert answer.status_code == 401, (route, answer.text)
            continue
        if not route.options.get("scoped"):
            assert answer.status_code == 403, (route, answer.text)
            continue
        assert answer.status_code < 500, (route, answer.text)
        if answer.is_success:
            assert not list(holds(answer, markers, given, path)), (route, answer.text)
            assert "{device_id}" not in route.path, f"{route} found a hidden device"
            assert "/streams/{" not in route.path, f"{route} found a hidden stream"
    assert not before - await rows(world)


async def test_the_walk_asks_as_the_owner_does(client: Client, world: World, ours: Ours) -> None:
    """What is refused above is so for who asks, not for how: most of it is granted to the project's administrator."""
    granted, refused = [], []
    for route in routes(world):
        if route.method == "DELETE" or route.options.get("own") or route.options.get("without_token"):
            continue
        answer = await client(route.method, route.at(ours.ids), body(route, world, ours.ids), day="2026-03-01")
        (granted if answer.status_code < 400 or answer.status_code == 409 else refused).append(str(route))
    assert len(granted) > 4 * len(refused), refused
