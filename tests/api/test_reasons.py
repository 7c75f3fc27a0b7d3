"""Reasons as codes: what is told beside the words, and that the page knows no code that nobody tells."""

import re
from pathlib import Path
from typing import Any

import pytest
from litestar.exceptions import InternalServerException, NotFoundException

from api.reasons import reason_of
from gateway.accounts.errors import TooManyAttemptsError
from gateway.errors import GatewayError, InvalidError, NotFoundError, QuotaError, UnavailableError
from gateway.record_plans.errors import PlanInUseError
from gateway.streams.errors import UrlError
from gateway.streams.webrtc import SessionRefusedError, Why
from tests.api.conftest import Client

ROOT = Path(__file__).parents[2]
OPTIONS = "/gb/v1/streams/door/options"
NEW = {"name": "door", "access_type": "RTMP", "encode_type": "H264"}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PlanInUseError("words that may change"), "plan_in_use"),
        (UnavailableError("the database is away"), "unavailable"),
        (NotFoundError("record plan", "门&"), "not_found?kind=record+plan&name=%E9%97%A8%26"),
        (QuotaError("stream", 5), "quota?resource=stream&total=5"),
        (TooManyAttemptsError(0.2), "too_many_attempts?wait=1"),
        (InvalidError("day", "in the years 2000 to 2100"), "invalid?field=day"),
        (UrlError("url", "has no host", code="url.host"), "url.host?field=url"),
        (InvalidError("wait", "1 to 9", code="range", low=1, high=9), "range?field=wait&low=1&high=9"),
        (NotFoundError("stream", "x" * 999 + "\ud800"), f"not_found?kind=stream&name={'x' * 200}"),
        (NotFoundError("stream", "\ud800\r\n"), "not_found?kind=stream&name=%3F%0D%0A"),
        (SessionRefusedError(Why.CROWDED, "too many"), "session.crowded"),
        (NotFoundException(), "unknown_path"),
        (InternalServerException(), ""),
        (ValueError("a bug"), ""),
    ],
)
def test_an_error_has_a_code_and_values(error: Exception, told: str) -> None:
    assert reason_of(error) == told


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        (
            "PUT",
            OPTIONS,
            {"gop_bytes_max": 1 << 40},
            "at_most?field=gop_bytes_max&most=268435456",
        ),
        ("PUT", OPTIONS, {"viewers_max": 1.5}, "whole_number?field=viewers_max"),
        ("PUT", OPTIONS, {"merge_write": "soon"}, "number?field=merge_write"),
        ("PUT", "/gb/v1/streams/none/options", {}, "not_found?kind=stream&name=none"),
        ("POST", "/gb/v1/record-plans", {"name": "nights"}, "required?field=week"),
        ("POST", "streams", {**NEW, "name": "no blanks"}, "name.characters?field=name"),
        ("POST", "streams", NEW, "stream_name"),
        ("PUT", OPTIONS, [], "invalid?field=data"),
        ("GET", "nothing", None, "unknown_path"),
        ("GET", "/gb/v1/nothing", None, "unknown_path"),
        ("PATCH", "devices", None, "unknown_method"),
        ("POST", "streams", {**NEW, "name": "x" * 2_000_000}, "body_too_large"),
        ("POST", "/whep/default/none", {}, "session.unreadable"),
        ("DELETE", "/whip/default/none/nobody", None, "session.away"),
    ],
)
async def test_every_family_tells_it(client: Client, method: str, path: str, body: Any, told: str) -> None:
    await client.ok("POST", "streams", NEW)
    answer = await client(method, path, body)
    assert answer.is_error, answer.text
    assert answer.headers.get("X-Error-Reason", "") == told


async def test_a_body_that_cannot_be_read_has_a_reason_too(client: Client) -> None:
    headers = {"X-Auth-Token": str(client.token), "Content-Type": "application/json"}
    for body in (b"{", b"\xff\xfe", b"[" * 100_000):
        answer = await client.http.post(f"/v1/{client.project_id}/streams", content=body, headers=headers)
        assert answer.headers["X-Error-Reason"] == "malformed", answer.text


def kinds(kind: type[GatewayError]) -> set[str]:
    """Codes of a class and all below it."""
    own = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__.removesuffix("Error")).lower()
    return {own}.union(*(kinds(one) for one in kind.__subclasses__()))


def test_the_page_knows_no_code_that_nobody_tells() -> None:
    sources = [*(ROOT / "gateway").rglob("*.py"), ROOT / "api/reasons.py"]
    text = "".join(path.read_text() for path in sources)
    told = {*re.findall(r'code="([a-z0-9_.]+)"', text), *re.findall(r'\), "(\w+)"\)', text), *kinds(GatewayError)}
    page = (ROOT / "api/console/src/chineseReasons.ts").read_text()
    known = re.findall(r'^  "?([a-z0-9_. ]+)"?:', page, re.MULTILINE)
    assert len(known) > 60
    things = set(re.findall(r'(?:NotFoundError|QuotaError)\("([a-z ]+)"', text)) | {"stream", "active_stream"}
    for code in known:
        base, _, thing = code.partition(".")
        assert code in told or (base in {"not_found", "quota"} and thing in things), code
