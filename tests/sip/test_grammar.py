"""`sip.grammar` and `sip.names`: the rules that all headers share."""

import subprocess
import sys
from pathlib import Path

import pytest

from sip import SipParseError
from sip.grammar import format_params, parse_number, parse_params, quote, split, unquote
from sip.names import COMPACT, LONG, canonical


@pytest.mark.parametrize(
    ("text", "separator", "parts"),
    [
        ("a, b ,c", ",", ["a", "b", "c"]),
        ("", ",", [""]),
        ('"a,b" <sip:c,d>, e', ",", ['"a,b" <sip:c,d>', "e"]),
        ('"a\\",b",c', ",", ['"a\\",b"', "c"]),
        ('a;b="c;d";e', ";", ["a", 'b="c;d"', "e"]),
        ("a<b;c", ";", ["a<b", "c"]),
    ],
)
def test_lists_come_apart_outside_quotes(text: str, separator: str, parts: list[str]) -> None:
    assert split(text, separator) == parts


@pytest.mark.parametrize(("text", "separator"), [('"a', ","), ('a,"b\\"', ","), ("a,<b", ","), ('a;"', ";")])
def test_what_is_left_open_is_refused(text: str, separator: str) -> None:
    with pytest.raises(SipParseError, match="left open"):
        split(text, separator)


def test_quoted_strings() -> None:
    assert quote('a"\\b') == '"a\\"\\\\b"'
    assert unquote('"a\\"\\\\b\\c"') == 'a"\\bc'
    assert (unquote("a"), unquote('"'), unquote('""')) == ("a", '"', "")


def test_parameters() -> None:
    assert parse_params(';A=1; b ; c = "x;y" ;a=2;;d=;<e>=1') == {"a": "1", "b": None, "c": "x;y", "d": ""}
    assert format_params({"a": "1", "b": None, "c": "x;y", "d": ""}) == ';a=1;b;c="x;y";d='


def test_numbers_are_ascii_digits_within_a_bound() -> None:
    assert parse_number(" 0070\t", "§") == 70
    assert parse_number("2147483647", "§") == 2**31 - 1
    for text in ("", "-1", "+1", "1.0", "1_0", "0x10", "\u0661", "2147483648", "9" * 5000):
        with pytest.raises(SipParseError):
            parse_number(text, "§")


def test_every_name_is_known_in_every_case() -> None:
    for name in LONG:
        for spelling in (name, name.lower(), name.upper(), name.swapcase(), f"{name} "):
            assert canonical(spelling) == (name.lower(), name)
    for short, name in COMPACT.items():
        assert canonical(short) == canonical(short.upper()) == (name.lower(), name)
    assert canonical("X-GB-ver") == ("x-gb-ver", "X-GB-ver")


def test_reading_a_message_costs_neither_asyncio_nor_cryptography() -> None:
    check = "import sys, sip; sys.exit(not {'asyncio', 'cryptography', 'hashlib', 'socket'}.isdisjoint(sys.modules))"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", check], check=False, cwd=root).returncode == 0
