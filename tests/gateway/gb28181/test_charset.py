"""Which characters the bytes of a body are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.gb28181.charset import Charset, decode, encode, for_version

CHINESE = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=1, max_size=30)


@given(CHINESE)
def test_utf8_is_known_by_its_bytes(text: str) -> None:
    assert decode(text.encode()).text == text


@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=1, max_size=30))
def test_gb18030_is_known_unless_its_bytes_are_utf8_as_well(text: str) -> None:
    data = text.encode("gb18030")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        assert decode(data).text == text


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(lambda t: not t.startswith("\ufeff")),
    st.sampled_from(Charset),
)
def test_an_override_decides(text: str, charset: Charset) -> None:
    text = text.rstrip("\0")
    assert decode(encode(text, charset), charset).text == text


@given(st.binary(max_size=300), st.none() | st.sampled_from(Charset))
def test_decoding_never_fails(data: bytes, override: Charset | None) -> None:
    assert isinstance(decode(data, override).text, str)


@pytest.mark.parametrize(
    ("version", "charset"),
    [(None, "GB2312"), ("1.0", "GB2312"), ("2.0", "GB2312"), ("3.0", "GB18030"), (" 3.1", "GB18030"), ("x", "GB2312"),
     ("", "GB2312"), ("9" * 5000, "GB18030")],
)  # fmt: skip
def test_what_is_sent_goes_by_the_peers_version(version: str | None, charset: str) -> None:
    assert for_version(version).value == charset
