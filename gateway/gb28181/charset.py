"""Bytes to text and back (GB/T 28181-2016 §9.9.2 asks GB2312, GB/T 28181-2022 §6.10 GB 18030).

Declarations lie, and one device mixes encodings from message to message, so the bytes decide: valid UTF-8 with a
sequence of three bytes is UTF-8; what is not UTF-8 is GB 18030, of which GBK and GB2312 are subsets. A setting per
device overrides.
"""

import codecs
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_DECLARATION: Final = re.compile(
    rb"""\s*<\?xml\b[^<>]{0,200}?(?:encoding\s*=\s*["']\s*([A-Za-z0-9._-]{1,40})\s*["'][^<>]{0,200}?)?\?>""",
    re.IGNORECASE,
)
_THREE_BYTES: Final = re.compile(rb"[\xe0-\xef][\x80-\xbf]{2}")
_UTF8_NAMES: Final = frozenset({"utf-8", "utf8"})


class Charset(StrEnum):
    """How a message's text is encoded; the value is what the XML declaration says."""

    GB2312 = "GB2312"
    """Declared GB2312; the bytes are GB 18030, so that rare characters survive."""
    GB18030 = "GB18030"
    UTF_8 = "UTF-8"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message's text without its XML declaration."""

    text: str
    charset: Charset
    deviations: tuple[str, ...] = ()


def decode(data: bytes, override: Charset | None = None) -> Decoded:
    """Decodes a body; never fails: what no encoding explains becomes U+FFFD and is counted."""
    body = data.removeprefix(codecs.BOM_UTF8).rstrip(b"\0")
    declared, body = _split_declaration(body)
    if override is not None:
        return _decode_as(body, override, ())
    if body.isascii():
        return Decoded(body.decode("ascii"), _named(declared), ())
    if _is_utf8(body, declared):
        lied = declared is not None and declared not in _UTF8_NAMES
        return Decoded(body.decode("utf-8"), Charset.UTF_8, ("charset-declaration-wrong",) if lied else ())
    lied = declared in _UTF8_NAMES
    return _decode_as(body, _named(None if lied else declared), ("charset-declaration-wrong",) if lied else ())


def encode(text: str, charset: Charset) -> bytes:
    """Encodes a document that we write, its declaration included in `text`."""
    return text.encode("utf-8" if charset is Charset.UTF_8 else "gb18030", "replace")


def for_version(gb_version: str | None) -> Charset:
    """What to send to a peer that declared `X-GB-ver`: GB18030 from 3.0 on, else GB2312."""
    major = (gb_version or "").strip().partition(".")[0]
    return Charset.GB18030 if major.isascii() and major.isdigit() and int(major[:4]) >= 3 else Charset.GB2312


def _split_declaration(body: bytes) -> tuple[str | None, bytes]:
    match = _DECLARATION.match(body)
    if match is None:
        return None, body
    name = match[1]
    return (name.decode("ascii").lower() if name else None), body[match.end() :]


def _named(declared: str | None) -> Charset:
    if declared in _UTF8_NAMES:
        return Charset.UTF_8
    return Charset.GB18030 if declared == "gb18030" else Charset.GB2312


def _is_utf8(body: bytes, declared: str | None) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return declared in _UTF8_NAMES or _THREE_BYTES.search(body) is not None


def _decode_as(body: bytes, charset: Charset, deviations: tuple[str, ...]) -> Decoded:
    codec = "utf-8" if charset is Charset.UTF_8 else "gb18030"
    try:
        return Decoded(body.decode(codec), charset, deviations)
    except UnicodeDecodeError:
        return Decoded(body.decode(codec, "replace"), charset, (*deviations, "charset-undecodable"))
