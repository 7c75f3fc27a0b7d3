"""What may stand in the audit log."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.entry import made, masked


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "Password", "secret_key", "secret", "sk", "token", "access_token", "X-Auth-Token"],
)
def test_secrets_are_masked_wherever_they_stand(name: str) -> None:
    for value in ("hunter2", ["hunter2"], {"a": "hunter2"}, 12345):
        assert masked({"a": [{name: value}], name: value, "b": 1}) == {"a": [{name: "***"}], name: "***", "b": 1}


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://user:pass@host:80/live/a.flv?token=x#y", "http://host:80/live/a.flv"),
        ("rtmp://host/live?Token=x", "rtmp://host/live"),
        ("see https://a.example/?sign=1 and more", "see https://a.example/ and more"),
        ("gate 3, north", "gate 3, north"),
    ],
)
def test_addresses_lose_what_may_be_secret(url: str, kept: str) -> None:
    assert masked({"url": url}) == {"url": kept}


def test_what_is_long_is_cut() -> None:
    assert masked("x" * 300) == "x" * 200 + "…"
    assert masked(list(range(100)))[-2:] == [19, "… 100 in all"]
    assert len(masked({str(number): 0 for number in range(1000)})) == 50
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    assert masked(deep) == [[[["…"]]]]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_whatever_comes_is_bounded_and_can_be_kept(value: Any) -> None:
    assert len(msgspec.json.encode(repr(masked(value)))) < 100_000
    assert "\x00" not in repr(masked(value))


def test_answers_tell_ids_and_names_only() -> None:
    answer = {
        "device_id_list": ["1"],
        "access_key": "AK",
        "secret_key": "SK",
        "password": "x",
        "name": "li",
        "total": 3,
    }
    assert made(answer) == {"device_id_list": ["1"], "access_key": "AK", "name": "li"}
    assert made([1]) == {}
