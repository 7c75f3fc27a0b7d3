"""Who may push: every refusal, and the token rule against another implementation of HMAC."""

import subprocess
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidError
from gateway.streams.model import AccessType, StreamState
from gateway.streams.push import (
    RULES,
    Push,
    Refusal,
    TokenPolicy,
    judge,
    push_address,
    signed,
    token_rule,
)
from tests.gateway.streams.samples import KEY, NOW, stream

HANDBOOK = Path(__file__).parents[3] / "docs/vis-api.md"
RULE = RULES["hmac-sha256"]
POLICY = TokenPolicy(rule=RULE)
AT = NOW.timestamp()
EXPIRES = int(AT) + 3600
LOCKED = stream(access_key=KEY.access_key)


def query(app: str = "default", name: str = "stream1", expires: int = EXPIRES, secret: str = KEY.secret_key) -> str:
    return f"Expires={expires}&AccessKeyId={KEY.access_key}&Token={RULE.token(secret, app, name, expires)}"


def push(query: str = "", app: str = "default", name: str = "stream1") -> Push:
    return Push(app=app, name=name, query=query)


def test_the_worked_example_of_the_handbook() -> None:
    token = RULE.token("TT1S1HXRQVS8ADCW9J", "default", "stream1", 1_472_201_595)
    command = ["openssl", "dgst", "-sha256", "-hmac", "TT1S1HXRQVS8ADCW9J"]
    done = subprocess.run(command, input=b"default/stream1\n1472201595", capture_output=True, check=True)
    assert done.stdout.decode().split()[-1] == token
    assert token == "b12d2d6db63039d7ebf1815d76eb30fd0256f231ae9e3060ac1f21e8c2ad13d3"
    assert token in HANDBOOK.read_text()


def test_a_right_token_is_taken() -> None:
    assert judge(push(query()), LOCKED, KEY, AT, POLICY) is None


def test_also_under_the_application_of_the_documents_example() -> None:
    assert judge(push(query(app="vis"), app="vis"), LOCKED, KEY, AT, POLICY) is None
    assert judge(push(query(app="default"), app="vis"), LOCKED, KEY, AT, POLICY) is Refusal.WRONG_TOKEN
    assert judge(push(app="vis"), stream(), None, AT, POLICY) is None


def test_without_a_key_nothing_is_asked_for() -> None:
    assert judge(push(), stream(), None, AT, POLICY) is None
    assert judge(push("Token=x&" * 500), stream(), None, AT, POLICY) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"access_type": AccessType.HTTP_FLV}, Refusal.OTHER_KIND),
        ({"state": StreamState.STOPPED}, Refusal.STOPPED),
        ({"app": "other"}, Refusal.UNKNOWN),
    ],
)
def test_streams_that_are_not_pushed(changes: dict[str, object], reason: Refusal) -> None:
    assert judge(push(query()), stream(access_key=KEY.access_key, **changes), KEY, AT, POLICY) is reason


def test_an_unknown_stream() -> None:
    assert judge(push(), None, None, AT, POLICY) is Refusal.UNKNOWN


@pytest.mark.parametrize(
    ("given_query", "reason"),
    [
        ("", Refusal.NO_TOKEN),
        (query().partition("&Token")[0], Refusal.NO_TOKEN),
        (query().replace("AccessKeyId", "Key"), Refusal.NO_TOKEN),
        (query().replace(KEY.access_key, "OTHER"), Refusal.OTHER_KEY),
        (query().replace(f"Expires={EXPIRES}", "Expires=soon"), Refusal.BAD_EXPIRES),
        (query().replace(f"Expires={EXPIRES}", "Expires=-1"), Refusal.BAD_EXPIRES),
        (query().replace(f"Expires={EXPIRES}", "Expires=" + "9" * 13), Refusal.BAD_EXPIRES),
        (query().replace(f"Expires={EXPIRES}", f"Expires={EXPIRES + 1}"), Refusal.WRONG_TOKEN),
        (query(secret="another"), Refusal.WRONG_TOKEN),
        (query(name="stream2"), Refusal.WRONG_TOKEN),
        (query()[:-1], Refusal.WRONG_TOKEN),
        (query() + "0", Refusal.WRONG_TOKEN),
        (query().replace("Token=", "Token=%F0%9F%98%80"), Refusal.WRONG_TOKEN),
        (query() + "&token=again", Refusal.UNREADABLE),
        (query() + "&x=" + "y" * 2048, Refusal.UNREADABLE),
        (query() + "&x=y" * 40, Refusal.UNREADABLE),
    ],
)
def test_tokens_that_are_refused(given_query: str, reason: Refusal) -> None:
    assert judge(push(given_query), LOCKED, KEY, AT, POLICY) is reason


def test_names_of_parameters_in_any_case_among_others_and_escaped() -> None:
    expires, key, token = query().split("&")
    lowered = (
        f"{token.replace('Token', 'token')}&bitrate=1&{key.lower().replace(KEY.access_key.lower(), KEY.access_key)}"
    )
    assert judge(push(f"{lowered}&{expires.replace('Expires', 'EXPIRES')}"), LOCKED, KEY, AT, POLICY) is None
    assert judge(push(query().replace("Token=0", "Token=%30")), LOCKED, KEY, AT, POLICY) is None


def test_a_key_that_is_gone() -> None:
    assert judge(push(query()), LOCKED, None, AT, POLICY) is Refusal.OTHER_KEY


@pytest.mark.parametrize(
    ("ahead", "reason"),
    [(-61, Refusal.EXPIRED), (-59, None), (0, None), (604_799, None), (604_801, Refusal.TOO_LONG)],
)
def test_the_time_of_a_token_is_bounded(ahead: int, reason: Refusal | None) -> None:
    assert judge(push(query(expires=int(AT) + ahead)), LOCKED, KEY, AT, POLICY) is reason


@given(st.text(max_size=300), st.sampled_from(["Expires=", "Token=", "AccessKeyId=", "&", "%", ""]))
def test_nothing_but_the_token_opens(text: str, more: str) -> None:
    refusal = judge(push(text + more + text), LOCKED, KEY, AT, POLICY)
    assert isinstance(refusal, Refusal)


@given(st.text(alphabet="abcXYZ09_-", min_size=1, max_size=32), st.integers(0, 3600))
def test_an_address_we_make_is_one_we_take(name: str, ahead: int) -> None:
    made = stream(name=name, access_key=KEY.access_key)
    address = push_address("rtmp://h:1935", made, signed(made, KEY, int(AT) + ahead, RULE))
    parts = urlsplit(address.whole)
    assert parts.path == f"/default/{name}"
    assert address.server == "rtmp://h:1935/default"
    assert judge(push(parts.query, name=name), made, KEY, AT, POLICY) is None


def test_an_address_without_a_key_is_plain() -> None:
    address = push_address("rtmp://h:1935", stream())
    assert address.whole == "rtmp://h:1935/default/stream1"
    assert address.rtsp("rtsps://h:322") == "rtsps://h:322/default/stream1"
    assert address.whip("https://h:8443") == "https://h:8443/whip/default/stream1"


OTHER_RULE = """
class Backwards:
    def token(self, secret_key, app, name, expires):
        return f"{secret_key[::-1]}+/={name}"
"""


def test_another_rule_is_named_in_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "house_rules.py").write_text(OTHER_RULE)
    monkeypatch.syspath_prepend(tmp_path)
    rule = token_rule("house_rules:Backwards")
    policy = TokenPolicy(rule=rule)
    address = push_address("rtmp://h:1935", LOCKED, signed(LOCKED, KEY, EXPIRES, rule))
    assert quote("+/=", safe="") in address.stream_key
    assert judge(push(address.stream_key.partition("?")[2]), LOCKED, KEY, AT, policy) is None
    assert judge(push(query()), LOCKED, KEY, AT, policy) is Refusal.WRONG_TOKEN


@pytest.mark.parametrize("name", ["md5", "", "nowhere:Rule", "gateway.streams.push:nothing", "json:dumps", ":x"])
def test_rules_that_are_none(name: str) -> None:
    with pytest.raises(InvalidError, match=r"rtmp\.token_rule"):
        token_rule(name)


def test_the_rule_built_in() -> None:
    assert token_rule("hmac-sha256") is RULE
